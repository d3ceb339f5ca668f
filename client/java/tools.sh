# What the scripts here have in common. Read by them, not run.
# Needs a JDK of 17 or newer and Maven; both are installed by the system's package manager where they are missing.

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; elif have sudo; then sudo "$@"; else return 1; fi
}

# And says so where buf, which comes from elsewhere, is missing.
install_java() {
    if ! have buf; then
        echo "buf is not there: tests/run installs it, and so does npm install --global @bufbuild/buf" >&2
        return 1
    fi
    if have javac && have mvn; then return; fi
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends
        openjdk-17-jdk-headless maven)
    # A machine that has never asked does not know the names.
    as_root "${install[@]}" >&2 || { as_root apt-get update --quiet >&2 && as_root "${install[@]}" >&2; }
}

# tests/run installs buf here.
PATH="$(git rev-parse --show-toplevel)/.tools/bin:$PATH"

maven() { mvn --batch-mode --quiet "$@"; }

# A server to try things on, in a folder of its own; sets LANYARD_ENDPOINT, LANYARD_CALLER_KEY, LANYARD_USERNAME and
# LANYARD_PASSWORD (of the demo user), and server_pid. The caller removes the folder.
start_lanyard() { # FOLDER
    local log=$1/server.log credentials=$1/lanyard-data/credentials.json
    LANYARD__SERVER__LISTEN=127.0.0.1:0 "$LANYARD_BIN" serve --dev --data-dir "$1/lanyard-data" >"$log" 2>&1 &
    server_pid=$!
    local tries=0
    until LANYARD_ENDPOINT=$(sed -n 's/^Lanyard serves at \(http:[^ ]*[0-9]\)\.$/\1/p' "$log") && [ -n "$LANYARD_ENDPOINT" ]; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ] || ! kill -0 "$server_pid" 2>/dev/null; then
            echo "the server does not start:" >&2
            cat "$log" >&2
            return 1
        fi
        sleep 0.1
    done
    LANYARD_CALLER_KEY=$(sed -n 's/^  "caller_key": "\(.*\)",$/\1/p' "$credentials")
    LANYARD_USERNAME=demo
    LANYARD_PASSWORD=$(sed -n '/"demo_user"/,/}/s/^    "password": "\(.*\)".*$/\1/p' "$credentials")
    export LANYARD_ENDPOINT LANYARD_CALLER_KEY LANYARD_USERNAME LANYARD_PASSWORD
}

# Puts the built artefact into a local repository of its own, beside all that was downloaded already: who builds against it
# gets what others would get. Prints its folder.
install_artefact() {
    local repository=$PWD/target/repository downloads=${MAVEN_REPOSITORY:-$HOME/.m2/repository}
    rm -rf "$repository"
    cp -a --reflink=auto "$downloads" "$repository"
    rm -rf "$repository/dev/lanyard"
    maven -Dmaven.repo.local="$repository" install:install-file -Dfile=target/lanyard-client-0.1.0.jar -DpomFile=pom.xml \
        -Dsources=target/lanyard-client-0.1.0-sources.jar >&2
    printf '%s\n' "$repository"
}
