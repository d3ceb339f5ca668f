//! Where this machine has PostgreSQL, and as whom it runs.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Where Debian and its relatives put the programs: `<major>/bin` below this.
const DEBIAN: &str = "/usr/lib/postgresql";

/// PostgreSQL refuses to run as root; these accounts are tried, in this order.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The folder with `initdb`, `pg_ctl` and the server: the newest of Debian's, else the one on the search path.
pub(crate) fn server_programs() -> Result<PathBuf, String> {
    newest_of_debian().or_else(|| on_path("initdb")).ok_or_else(|| {
        format!(
            "its server programs are not installed. Install your system's package (Debian: `apt-get install postgresql`), \
             or name a server in {}",
            crate::URL_VARIABLE
        )
    })
}

/// The client `psql`.
pub(crate) fn psql() -> Result<PathBuf, String> {
    let folder = newest_of_debian().filter(|folder| folder.join("psql").exists()).or_else(|| on_path("psql"));
    folder
        .map(|folder| folder.join("psql"))
        .ok_or_else(|| "the client `psql` is not installed (Debian: `apt-get install postgresql-client`)".to_owned())
}

fn newest_of_debian() -> Option<PathBuf> {
    let entries = fs::read_dir(DEBIAN).ok()?;
    let majors = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut folders: Vec<_> =
        majors.map(|major| (major, Path::new(DEBIAN).join(major.to_string()).join("bin"))).collect();
    folders.retain(|(_, folder)| folder.join("initdb").exists());
    folders.into_iter().max().map(|(_, folder)| folder)
}

#[expect(clippy::disallowed_methods, reason = "the search path is in the environment")]
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).find(|folder| folder.join(program).is_file())?;
    // A link leads to the folder that has the other programs too.
    fs::canonicalize(found.join(program)).ok()?.parent().map(Path::to_path_buf)
}

/// The account that a cluster runs as.
#[derive(Clone, Copy)]
pub(crate) enum Account {
    /// Our own.
    Own,
    /// We are root: somebody with fewer rights.
    Other { uid: u32, gid: u32 },
}

impl Account {
    pub(crate) fn choose() -> Result<Self, String> {
        // Whose a new file is tells who we are.
        let probe =
            tempfile::tempfile().and_then(|file| file.metadata()).map_err(|e| format!("a temporary file: {e}"))?;
        if probe.uid() != 0 {
            return Ok(Self::Own);
        }
        let accounts = fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
        let found = UNPRIVILEGED.iter().find_map(|name| ids_of(&accounts, name));
        let (uid, gid) =
            found.ok_or_else(|| format!("it refuses to run as root, and there is none of {UNPRIVILEGED:?}"))?;
        Ok(Self::Other { uid, gid })
    }

    /// A new folder of this account that nobody else may enter.
    pub(crate) fn folder(self) -> Result<tempfile::TempDir, String> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("lanyard-postgres-");
        let folder = match self {
            Self::Own => builder.tempdir(),
            // Root's own TMPDIR may lie where others cannot reach it.
            Self::Other { .. } => builder.tempdir_in("/tmp"),
        };
        let folder = folder.map_err(|e| format!("a temporary folder: {e}"))?;
        self.give(folder.path()).map_err(|e| format!("chown: {e}"))?;
        Ok(folder)
    }

    /// Makes this account the owner of a file or folder of ours.
    pub(crate) fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => std::os::unix::fs::chown(path, Some(uid), Some(gid)),
        }
    }

    /// `command`, to be run as this account.
    pub(crate) fn apply(self, command: &mut Command) -> &mut Command {
        match self {
            Self::Own => command,
            Self::Other { uid, gid } => command.uid(uid).gid(gid),
        }
    }
}

/// The user and group number of `name` in the text of `/etc/passwd`.
fn ids_of(accounts: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = accounts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::ids_of;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "postgresql:x:9:9::/:\npostgres:x:101:104:Administrator,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(ids_of(accounts, "postgres"), Some((101, 104)));
        assert_eq!(ids_of(accounts, "nobody"), None);
    }
}
