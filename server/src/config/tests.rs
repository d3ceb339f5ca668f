use std::fs;
use std::time::Duration;

use super::*;

/// Loads `text` as the file and `variables` as the environment.
fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("lanyard.toml");
    fs::write(&path, text).expect("the file is written");
    Config::load(Some(&path), variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn the_defaults_are_valid_and_safe() {
    let config = Config::default();
    assert!(config.server.listen.ip().is_loopback());
    assert!(config.cache_is_on(), "SQLite is the default and has one server");
    let policy = config.policy(DEFAULT_APP).expect("the app `default`");
    assert_eq!((policy.idle, policy.absolute), (Duration::from_mins(30), Duration::from_hours(12)));
    assert_eq!(config.policy("no-such-app"), None);
    let shorter = load("[apps.CRM]\nabsolute = '5m'", &[]).expect("valid").policy("CRM").expect("the app");
    assert_eq!((shorter.idle, shorter.absolute), (Duration::from_mins(5), Duration::from_mins(5)));
    Config::dev(Path::new("elsewhere")).validate().expect("`--dev` is valid too");
}

/// `config.default.toml` has every key, set or commented out.
#[test]
fn every_key_is_documented() {
    let full = "
        [server]\nlisten = '0.0.0.0:1'\n[server.tls]\ncert = 'c'\nkey = 'k'\nclient_ca = 'a'\n
        [admin]\nlisten = '127.0.0.1:2'\n[password]\nmax_age = '90d'\n
        [apps.default]\nidle = '1m'\nabsolute = '1h'\nquota = 1\nquota_policy = 'deny'\naddress_binding = 'exact'
        [platforms.micetro]\nkind = 'micetro'\nurl = 'https://h'\nca_file = 'a'\nexpiry = 'fixed'\nexpires_after = '1h'
        [telemetry]\nendpoint = 'http://h'\nheaders = 'a=b'\nheaders_file = 'f'\nca_file = 'a'\nclient_cert = 'c'\nclient_key = 'k'";
    let shown: toml::Table = load(full, &[]).expect("valid").show().parse().expect("TOML");
    let documented = |key: &str| {
        let is_key = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
        DEFAULT.lines().any(is_key)
    };
    for (section, table) in &shown {
        for (key, value) in table.as_table().expect("sections are tables") {
            let inner = value.as_table().into_iter().flat_map(|table| table.keys());
            let keys: Vec<&String> = if value.is_table() { inner.collect() } else { vec![key] };
            for key in keys {
                assert!(documented(key), "{section}.{key} is not in config.default.toml");
            }
        }
    }
}

#[test]
fn what_is_shown_reads_back_as_the_same() {
    let config = Config::dev(Path::new("data"));
    let shown = config.show();
    assert_eq!(load(&shown, &[]).expect("valid").show(), shown);
}

#[test]
fn the_environment_is_over_the_file_and_the_file_over_the_defaults() {
    let file = "[server]\nworkers = 3\nmax_deadline = '1s'\n[apps.CRM]\nidle = '10m'\n[apps.'shop.eu']";
    let variables = [
        ("LANYARD__SERVER__WORKERS", "5"),
        ("LANYARD__APPS__CRM__IDLE", "2m"),
        ("LANYARD__APPS__DEFAULT__LOGIN", "false"),
        ("LANYARD__SERVER__MAX_DEADLINE", ""),
        ("LANYARD__SERVER__TLS__CERT", "c.pem"),
        ("LANYARD__SERVER__TLS__KEY", "k.pem"),
        ("PATH", "/bin"),
    ];
    let config = load(file, &variables).expect("valid");
    assert_eq!(config.server.workers, 5);
    assert_eq!(config.server.max_deadline, Duration::from_secs(1));
    assert_eq!(config.server.tls.cert, Some("c.pem".into()));
    assert_eq!(config.policy("CRM").map(|policy| policy.idle), Some(Duration::from_mins(2)));
    assert_eq!(config.policy(DEFAULT_APP).map(|policy| policy.login), Some(false));
    assert_eq!(config.apps.keys().collect::<Vec<_>>(), ["CRM", "default", "shop.eu"]);
}

#[test]
fn the_password_of_the_database_is_never_shown() {
    for (url, shown) in [
        ("postgres://u:se:cr@et/s@db:5432/lanyard", "postgres://u:[redacted]@db:5432/lanyard"),
        ("postgres://db/lanyard?user=u&password=secret", "postgres://db/lanyard?user=u&password=[redacted]"),
        ("postgres://u@db/lanyard", "postgres://u@db/lanyard"),
        ("sqlite://lanyard.db", "sqlite://lanyard.db"),
    ] {
        let config = load("", &[("LANYARD__DATABASE__URL", url)]).expect("valid");
        assert_eq!(config.database.url.to_string(), shown);
        assert_eq!(config.database.url.expose(), url);
        assert!(config.show().contains(shown) && format!("{config:?}").contains(shown));
        let everything = format!("{config:?}{}", config.show());
        assert!(!everything.contains("secret") && !everything.contains("cr@et"), "{everything}");
    }
}

#[test]
fn a_path_with_odd_characters_is_one_path_in_the_url() {
    assert_eq!(DatabaseUrl::sqlite(Path::new("/a b/50%?#/x.db")).expose(), "sqlite:///a b/50%25%3F%23/x.db");
}

#[test]
fn a_platform_has_safe_defaults_and_the_environment_is_over_its_section() {
    let file = platform("url = 'https://Micetro.example.org'\naliases = ['ipam']");
    let config = load(&file, &[("LANYARD__PLATFORMS__M__TIMEOUT", "3s")]).expect("valid");
    let platform = &config.platforms["m"];
    assert_eq!((platform.credential, platform.keep_password), (CredentialMode::Bearer, false));
    assert_eq!((platform.users, platform.super_users), (PlatformUsers::MustExist, false));
    assert_eq!((platform.required_role_prefix.as_str(), platform.expiry), ("GW_", PlatformExpiry::None));
    assert_eq!(platform.timeout, Duration::from_secs(3));
    assert_eq!(load(&config.show(), &[]).expect("valid").show(), config.show());
}

/// A configuration with the platform `m`.
fn platform(keys: &str) -> String {
    format!("[platforms.m]\nkind = 'micetro'\n{keys}")
}

#[test]
fn what_cannot_be_is_refused_with_the_key_and_the_reason() {
    for (file, said) in [
        ("[server]\nlisten = '0.0.0.0:50051'", "server.listen: listens beyond loopback without TLS"),
        ("[server.tls]\ncert = 'c'", "server.tls.key: `cert` and `key` go together"),
        ("[server.tls]\nclient_ca = 'c'", "server.tls.client_ca: needs"),
        ("[server]\nworkers = 1025", "server.workers: at most"),
        ("[server]\nmax_in_flight = 0", "server.max_in_flight: must be more than 0"),
        ("[server]\nmax_in_flight_per_caller = 0", "server.max_in_flight_per_caller: must be more than 0"),
        ("[server]\nmax_deadline = '0s'", "server.max_deadline: must be more than 0"),
        ("[server]\nmax_connection_age = '1ms'", "server.max_connection_age: at least 1s"),
        ("[server]\nmax_request_bytes = 10", "server.max_request_bytes: between"),
        ("[server]\nmax_header_bytes = 10", "server.max_header_bytes: between"),
        (
            "[server.unauthenticated]\nmax_connections = 0",
            "server.unauthenticated.max_connections: must be more than 0",
        ),
        (
            "[server.unauthenticated]\nmax_connections_per_peer = 1000",
            "server.unauthenticated.max_connections_per_peer: more than 0, at most `max_connections`",
        ),
        (
            "[server.unauthenticated]\nfirst_call_timeout = '0s'",
            "server.unauthenticated.first_call_timeout: must be more",
        ),
        (
            "[server.unauthenticated]\nmax_refused_calls = 0",
            "server.unauthenticated.max_refused_calls: must be more than 0",
        ),
        ("[server.unauthenticated]\nmax_age = '1s'", "server.unauthenticated.max_age: at least `first_call_timeout`"),
        ("[server.public_services]\nmax_request_bytes = 10", "server.public_services.max_request_bytes: between"),
        ("[server.public_services]\nmax_calls = 0", "server.public_services.max_calls: must be more than 0"),
        (
            "[server.public_services]\nmax_calls_per_connection = 1000",
            "server.public_services.max_calls_per_connection: more than 0, at most `max_calls`",
        ),
        (
            "[server.public_services]\nmax_stream_age = '0s'",
            "server.public_services.max_stream_age: must be more than 0",
        ),
        ("[server]\nmax_concurrent_streams = 0", "server.max_concurrent_streams: must be more than 0"),
        ("[database]\nurl = 'mysql://x'", "database.url: must begin with"),
        ("[database]\nurl = 'postgres://u:p@a:5432,b:5432/x'", "database.url: names several hosts"),
        ("[database]\nurl = 'postgres://u@/x?host=a,b'", "database.url: names several hosts"),
        ("[database]\nurl = 'postgres://u@/x?host=a&host=b%2Cc'", "database.url: names several hosts"),
        ("[database]\nurl = 'postgres://a/x?target_session_attrs=primary'", "database.url: has `target_session_attrs`"),
        ("[database]\nmax_connections = 0", "database.max_connections: must be more than 0"),
        ("[database]\nacquire_timeout = '0s'", "database.acquire_timeout: must be more than 0"),
        ("[database]\nstatement_timeout = '0s'", "database.statement_timeout: must be more than 0"),
        ("[database]\nready_within = '1s'", "database.ready_within: at least 2s"),
        ("[keys]\nfile = ''", "keys.file: must name a file"),
        ("[session]\nabsolute = '0s'", "session.absolute: must be more than 0"),
        ("[session]\nabsolute = '31d'", "session.absolute: at most 30d"),
        ("[session]\nidle = '0s'", "session.idle: must be more than 0"),
        ("[session]\nidle = '13h'", "session.idle: must not be more than `absolute`"),
        ("[session]\nrotation_grace = '61s'", "session.rotation_grace: at most 60s"),
        ("[session]\nactivity_granularity = '0s'", "session.activity_granularity: must be more than 0"),
        ("[session]\nactivity_flush = '0s'", "session.activity_flush: must be more than 0"),
        ("[session]\ncache_for = '30m'", "session.cache_for: must be less than `session.idle`"),
        ("[session]\nquota = 0", "session.quota: must be more than 0"),
        ("[session]\nretention = '1h'", "session.retention: must be more than 1h"),
        ("[apps.'a b']", "apps.a b: the name must be"),
        ("[apps.CRM]\nidle = '31m'", "apps.CRM.idle: an app can only shorten `session.idle`"),
        ("[apps.CRM]\nabsolute = '13h'", "apps.CRM.absolute: an app can only shorten `session.absolute`"),
        ("[apps.CRM]\nabsolute = '0s'", "apps.CRM.absolute: must be more than 0"),
        ("[apps.CRM]\nidle = '10m'\nabsolute = '5m'", "apps.CRM.idle: must not be more than `absolute`"),
        ("[apps.CRM]\nquota = 21", "apps.CRM.quota: an app can only lower `session.quota`"),
        ("[apps.CRM]\nquota = 0", "apps.CRM.quota: must be more than 0"),
        ("[password]\nmin_length = 0", "password.min_length: must be more than 0"),
        ("[password]\nmax_length = 63", "password.max_length: at least 64"),
        ("[password]\nmax_age = '0s'", "password.max_age: must be more than 0"),
        ("[password]\nmax_age = '14d'", "password.warn_before: must be less than"),
        ("[password]\nmemory_kib = 7", "password.memory_kib: at least 8"),
        ("[password]\niterations = 0", "password.iterations: must be more than 0"),
        ("[password]\nparallelism = 0", "password.parallelism: between"),
        ("[password]\nhash_threads = 1025", "password.hash_threads: at most"),
        ("[password]\nhash_queue = 0", "password.hash_queue: must be more than 0"),
        ("[throttle]\nfree_failures = 0", "throttle.free_failures: must be more than 0"),
        ("[throttle]\nbase_delay = '0s'", "throttle.base_delay: must be more than 0"),
        ("[throttle]\nmax_delay = '1ms'", "throttle.max_delay: at least"),
        ("[throttle]\naddress_free_failures = 1", "throttle.address_free_failures: at least"),
        ("[jwt]\njwks_timeout = '0s'", "jwt.jwks_timeout: must be more than 0"),
        ("[jwt]\njwks_max_bytes = 1000", "jwt.jwks_max_bytes: between"),
        ("[jwt]\njwks_max_age = '0s'", "jwt.jwks_max_age: must be more than 0"),
        ("[jwt]\njwks_max_age = '25h'", "jwt.jwks_max_age: at most 1d"),
        ("[jwt]\njwks_min_refresh = '0s'", "jwt.jwks_min_refresh: must be more than 0"),
        ("[jwt]\njwks_min_refresh = '11m'", "jwt.jwks_min_refresh: at most"),
        ("[jwt]\njwks_stale = '8d'", "jwt.jwks_stale: at most 7d"),
        ("[cache]\ncapacity = 0", "cache.capacity: must be more than 0"),
        ("[cache]\nmax_revocation_lag = '99ms'", "cache.max_revocation_lag: must be 100ms to 1h"),
        ("[cache]\nmax_revocation_lag = '61m'", "cache.max_revocation_lag: must be 100ms to 1h"),
        ("[purge]\ninterval = '0s'", "purge.interval: must be more than 0"),
        ("[purge]\nbatch = 0", "purge.batch: between"),
        ("[log]\nlevel = 'lanyard=loud'", "log.level: is neither"),
    ] {
        let error = load(file, &[]).expect_err(file).to_string();
        assert!(error.starts_with(said), "{file:?} gave {error:?}");
    }
}

#[test]
fn what_a_platform_cannot_be_is_refused_with_the_key_and_the_reason() {
    for (file, said) in [
        ("[platforms.'a b']\nkind = 'micetro'\nurl = 'https://h'", "platforms.a b: the name must be"),
        (platform("url = 'h'").as_str(), "platforms.m.url: must be a URL"),
        (platform("url = 'https://u:p@h'").as_str(), "platforms.m.url: must not have a username"),
        (platform("url = 'https://h/mmws'").as_str(), "platforms.m.url: must be scheme, host and port only"),
        (platform("url = 'http://h'").as_str(), "platforms.m.url: must begin with https://"),
        (platform("url = 'http://127.0.0.1:1'\nca_file = 'f'").as_str(), "platforms.m.ca_file: needs"),
        (platform("url = 'https://h'\naliases = ['']").as_str(), "platforms.m.aliases: each must be"),
        (platform("url = 'https://h'\naliases = ['m']").as_str(), "platforms.m.aliases: names a platform"),
        (platform("url = 'https://h'\naliases = ['x', 'x']").as_str(), "platforms.m.aliases: names a platform"),
        (
            platform("url = 'https://h'\ncredential = 'basic'\nkeep_password = true").as_str(),
            "platforms.m.keep_password: means nothing",
        ),
        (
            platform("url = 'https://h'\nrequired_role_prefix = \"\\t\"").as_str(),
            "platforms.m.required_role_prefix: at most",
        ),
        (platform("url = 'https://h'\nexpiry = 'fixed'").as_str(), "platforms.m.expires_after: goes with"),
        (platform("url = 'https://h'\nexpires_after = '1h'").as_str(), "platforms.m.expires_after: goes with"),
        (
            platform("url = 'https://h'\nexpiry = 'fixed'\nexpires_after = '31d'").as_str(),
            "platforms.m.expires_after: at most 30d",
        ),
        (
            platform("url = 'https://h'\nexpiry = 'activity'\nexpires_after = '0s'").as_str(),
            "platforms.m.expires_after: must be more than 0",
        ),
        (
            platform("url = 'https://h'\nauth_valid_for = '0s'").as_str(),
            "platforms.m.auth_valid_for: must be more than 0",
        ),
        (platform("url = 'https://h'\nauth_valid_for = '2h'").as_str(), "platforms.m.auth_valid_for: at most 1h"),
        (
            platform("url = 'https://h'\nconnect_timeout = '0s'").as_str(),
            "platforms.m.connect_timeout: must be more than 0",
        ),
        (platform("url = 'https://h'\ntimeout = '1s'").as_str(), "platforms.m.connect_timeout: must not be more than"),
        (platform("url = 'https://h'\ntimeout = '61s'").as_str(), "platforms.m.timeout: at most 60s"),
        (platform("url = 'https://h'\nmax_response_bytes = 1").as_str(), "platforms.m.max_response_bytes: between"),
        (platform("url = 'https://h'\nmax_attempts = 0").as_str(), "platforms.m.max_attempts: between"),
        (
            platform("url = 'https://h'\nmax_idle_connections = 1025").as_str(),
            "platforms.m.max_idle_connections: at most",
        ),
        (
            platform("url = 'https://h'\nidle_connection_timeout = '0s'").as_str(),
            "platforms.m.idle_connection_timeout: must be more than 0",
        ),
    ] {
        let error = load(file, &[]).expect_err(file).to_string();
        assert!(error.starts_with(said), "{file:?} gave {error:?}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_the_key() {
    for (file, said) in [
        ("[server]\nlissten = '127.0.0.1:1'", "lissten"),
        ("[sever]", "sever"),
        ("[apps.CRM]\nidel = '5m'", "idel"),
        ("[server]\nlisten = 'here'", "server.listen"),
        ("[server]\nworkers = -1", "server.workers"),
        ("[session]\nidle = '15'", "session.idle"),
        ("[session]\nquota_policy = 'maybe'", "session.quota_policy"),
        ("[session]\naddress_binding = 'loose'", "session.address_binding"),
        ("[platforms.m]\nurl = 'https://h'", "kind"),
        ("[platforms.m]\nkind = 'micetro'", "url"),
        ("[platforms.m]\nkind = 'other'\nurl = 'https://h'", "platforms.m.kind"),
        ("[platforms.m]\nkind = 'micetro'\nurl = 'https://h'\ntoken = 'x'", "token"),
        ("[cache]\nmode = 'maybe'", "cache.mode"),
        ("[audit]\nreads = 'some'", "audit.reads"),
        ("[log]\nformat = 'xml'", "log.format"),
        ("not toml", "TOML"),
    ] {
        let error = load(file, &[]).expect_err(file).to_string();
        assert!(error.contains(said), "{file:?} gave {error:?}");
    }
    let error = Config::load(Some(Path::new("no/such/file.toml")), []).expect_err("no file").to_string();
    assert!(error.contains("no/such/file.toml"), "{error}");
}

#[test]
fn a_variable_that_means_nothing_is_refused_with_its_name() {
    for (name, said) in [
        ("LANYARD__SERVER", "LANYARD__SERVER: the name must be"),
        ("LANYARD____X", "LANYARD____X: the name must be"),
        ("LANYARD__APPS__CRM__IDLE", "LANYARD__APPS__CRM__IDLE: no such app"),
        ("LANYARD__PLATFORMS__M__TIMEOUT", "LANYARD__PLATFORMS__M__TIMEOUT: no such platform"),
        ("LANYARD__SERVER__LISSTEN", "lissten"),
    ] {
        let error = load("", &[(name, "1m")]).expect_err(name).to_string();
        assert!(error.contains(said), "{name} gave {error:?}");
    }
    let twice = [("LANYARD__LOG__LEVEL", "info"), ("LANYARD__Log__level", "debug")];
    let error = load("", &twice).expect_err("said twice").to_string();
    assert!(error.contains("another variable"), "{error}");
}

#[test]
fn the_data_folder_goes_before_the_defaults_and_after_what_is_said() {
    let load = |is_dev, set: &[(&str, &str)]| {
        let environment = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load_in(Path::new("/srv/it's"), is_dev, None, environment).expect("valid")
    };
    let below = load(false, &[]);
    assert_eq!(below.database.url.expose(), "sqlite:///srv/it's/lanyard.db");
    assert_eq!(below.keys.file, Path::new("/srv/it's/keys.json"));
    assert_eq!(load(false, &[("LANYARD__KEYS__FILE", "k")]).keys.file, Path::new("k"));
    assert_eq!((below.policy("CRM"), below.server.drain_delay), (None, Duration::from_secs(5)));
    let dev = load(true, &[("LANYARD__APPS__CRM__IDLE", "2m")]);
    assert_eq!(dev.policy("CRM").map(|policy| policy.idle), Some(Duration::from_mins(2)));
    assert_eq!(dev.server.drain_delay, Duration::ZERO);
}
