//! A database as Zato 3.2 makes it, with rows of every kind: those that are fine and those that are not.

use lanyard_tests::support::server::{Database, in_background};
use lanyard_tests::support::store::Raw;
use lanyard_tests::support::{postgres, temporary_folder};

/// A database to import from.
pub(super) struct Zato {
    pub(super) url: String,
    pub(super) raw: Raw,
    database: Database,
    folder: tempfile::TempDir,
    _postgres: Option<postgres::Database>,
}

/// The columns and their order are those of Zato; only what nothing refers to (indexes, sequences) is left out.
const USER: &str = "CREATE TABLE zato_sso_user (
    id INTEGER PRIMARY KEY, user_id VARCHAR(191) NOT NULL UNIQUE, is_active BOOLEAN NOT NULL, is_internal BOOLEAN NOT NULL,
    is_super_user BOOLEAN NOT NULL, is_locked BOOLEAN NOT NULL, locked_time {TIME}, creation_ctx TEXT NOT NULL,
    locked_by VARCHAR(191), approval_status VARCHAR(191) NOT NULL, approval_status_mod_time {TIME} NOT NULL,
    approval_status_mod_by VARCHAR(191) NOT NULL, username VARCHAR(191) NOT NULL UNIQUE, password TEXT NOT NULL,
    password_is_set BOOLEAN NOT NULL, password_must_change BOOLEAN NOT NULL, password_last_set {TIME} NOT NULL,
    password_expiry {TIME} NOT NULL, sign_up_status VARCHAR(191) NOT NULL, sign_up_time {TIME} NOT NULL,
    sign_up_confirm_time {TIME}, sign_up_confirm_token VARCHAR(191) NOT NULL UNIQUE, email TEXT,
    display_name VARCHAR(191), first_name VARCHAR(191), middle_name VARCHAR(191), last_name VARCHAR(191),
    display_name_upper VARCHAR(191), first_name_upper VARCHAR(191), middle_name_upper VARCHAR(191),
    last_name_upper VARCHAR(191), is_rate_limit_active BOOLEAN, rate_limit_type VARCHAR(40), rate_limit_def TEXT,
    rate_limit_check_parent_def BOOLEAN, is_totp_enabled BOOLEAN NOT NULL DEFAULT FALSE, totp_key TEXT, totp_label TEXT,
    opaque1 TEXT)";
const DEFINITION: &str = "CREATE TABLE sec_base (
    id INTEGER PRIMARY KEY, name VARCHAR(200) NOT NULL, username VARCHAR(200), password VARCHAR(1000),
    password_type VARCHAR(45), is_active BOOLEAN NOT NULL, sec_type VARCHAR(45) NOT NULL, opaque1 TEXT,
    cluster_id INTEGER NOT NULL, UNIQUE (cluster_id, name), UNIQUE (cluster_id, username, sec_type))";
const LINK: &str = "CREATE TABLE zato_sso_linked_auth (
    id INTEGER PRIMARY KEY, is_active BOOLEAN NOT NULL, is_internal BOOLEAN NOT NULL, creation_time {TIME} NOT NULL,
    last_modified {TIME}, has_ext_principal BOOLEAN NOT NULL, auth_type TEXT NOT NULL, auth_id INTEGER, auth_principal TEXT,
    auth_source TEXT NOT NULL, opaque1 TEXT, user_id VARCHAR(191) NOT NULL)";

/// What nobody may see of a user: Zato's own encryption does not make it fit to be shown.
pub(super) const PASSWORD: &str = "gAAAAABkPasswordOfZato";

/// A user who is approved, has signed up, and is nothing special.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) id: u32,
    pub(super) username: String,
    pub(super) is_super_user: bool,
    pub(super) is_locked: bool,
    pub(super) is_totp_enabled: bool,
    pub(super) approval_status: &'static str,
    pub(super) sign_up_status: &'static str,
    pub(super) sign_up_time: &'static str,
    pub(super) email: &'static str,
    pub(super) names: [&'static str; 3],
}

impl Person {
    pub(super) fn new(id: u32, username: &str) -> Self {
        Self {
            id,
            username: username.to_owned(),
            is_super_user: false,
            is_locked: false,
            is_totp_enabled: false,
            approval_status: "approved",
            sign_up_status: "final",
            sign_up_time: "2020-01-02 03:04:05.678901",
            email: "",
            names: ["", "", ""],
        }
    }
}

impl Zato {
    /// A database without tables.
    pub(super) async fn empty(database: Database) -> Self {
        let folder = temporary_folder();
        let postgres = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(in_background(|| postgres::shared().database()).await),
        };
        let file = folder.path().join("zato.db");
        let url = postgres.as_ref().map_or_else(|| format!("sqlite:{}", file.display()), |own| own.url().to_owned());
        let raw = if postgres.is_some() { url.clone() } else { format!("{url}?mode=rwc") };
        let raw = Raw::connect(&raw).await;
        Self { url, raw, database, folder, _postgres: postgres }
    }

    /// One with Zato's tables, which are empty.
    pub(super) async fn new(database: Database) -> Self {
        let zato = Self::empty(database).await;
        for table in [USER, DEFINITION, LINK] {
            zato.create(table).await;
        }
        zato
    }

    /// One with users and links only.
    pub(super) async fn without_definitions(database: Database) -> Self {
        let zato = Self::new(database).await;
        zato.raw.execute("DROP TABLE sec_base").await;
        zato
    }

    pub(super) async fn create(&self, table: &str) {
        let time = if self.database == Database::Sqlite { "DATETIME" } else { "TIMESTAMP" };
        self.raw.execute(&table.replace("{TIME}", time)).await;
    }

    /// The file of SQLite.
    pub(super) fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("zato.db")
    }

    pub(super) async fn user(&self, user: Person) {
        let Person { id, username, approval_status, sign_up_status, sign_up_time, email, names, .. } = user;
        let (is_super_user, is_locked, is_totp_enabled) = (user.is_super_user, user.is_locked, user.is_totp_enabled);
        let [display_name, first_name, last_name] = names;
        let sql = format!(
            "INSERT INTO zato_sso_user (id, user_id, is_active, is_internal, is_super_user, is_locked, creation_ctx,
                approval_status, approval_status_mod_time, approval_status_mod_by, username, password, password_is_set,
                password_must_change, password_last_set, password_expiry, sign_up_status, sign_up_time,
                sign_up_confirm_token, email, display_name, first_name, last_name, is_totp_enabled, totp_key)
             VALUES ({id}, 'zusr{id}', TRUE, FALSE, {is_super_user}, {is_locked}, '{{}}', '{approval_status}',
                '2020-01-02 03:04:05', 'auto', '{username}', '{PASSWORD}', TRUE, FALSE, '2020-01-02 03:04:05',
                '2030-01-02 03:04:05', '{sign_up_status}', '{sign_up_time}', 'token{id}', nullif('{email}', ''),
                nullif('{display_name}', ''), nullif('{first_name}', ''), nullif('{last_name}', ''), {is_totp_enabled},
                'gAAAAABkKeyOfTotp')"
        );
        self.raw.execute(&sql).await;
    }

    /// `username`: none if it is empty.
    pub(super) async fn definition(&self, id: u32, sec_type: &str, name: &str, username: &str, is_active: bool) {
        let sql = format!(
            "INSERT INTO sec_base (id, name, username, password, is_active, sec_type, cluster_id)
             VALUES ({id}, '{name}', nullif('{username}', ''), '{PASSWORD}', {is_active}, '{sec_type}', {id})"
        );
        self.raw.execute(&sql).await;
    }

    /// A link of user `zusrN`, made in a year; `auth_id` 0: to an account outside Zato.
    pub(super) async fn link(&self, id: u32, user: u32, auth_type: &str, auth_id: u32, year: u32) {
        let sql = format!(
            "INSERT INTO zato_sso_linked_auth (id, is_active, is_internal, creation_time, has_ext_principal, auth_type,
                auth_id, auth_principal, auth_source, user_id)
             VALUES ({id}, TRUE, FALSE, '{year}-05-06 07:08:09.5', {auth_id} = 0, '{auth_type}', nullif({auth_id}, 0),
                'reserved', 'reserved', 'zusr{user}')"
        );
        self.raw.execute(&sql).await;
    }

    pub(super) async fn users(&self) {
        let user = Person::new;
        self.user(Person { email: "ann@example.org", names: ["Ann A.", "", ""], ..user(1, "ann") }).await;
        self.user(Person { is_locked: true, names: ["", "Bob", "Stone"], ..user(2, "Bob") }).await;
        self.user(Person { is_super_user: true, ..user(3, "carol") }).await;
        self.user(Person { email: "gAAAAABkEmail", ..user(4, "dave") }).await;
        self.user(user(5, "ANN")).await;
        self.user(user(6, "eve smith")).await;
        self.user(Person { sign_up_status: "before_confirmation", ..user(7, "frank") }).await;
        self.user(Person { approval_status: "rejected", ..user(8, "gina") }).await;
        self.user(Person { approval_status: "before_decision", is_totp_enabled: true, ..user(9, "hugo") }).await;
        self.user(user(10, "alice")).await;
        self.user(user(11, "root")).await;
        self.user(Person { email: "zato.secf.Email", ..user(12, "ida") }).await;
        self.user(user(13, &"x".repeat(129))).await;
        self.user(Person { approval_status: "perhaps", ..user(14, "jack") }).await;
        self.user(Person { sign_up_time: "2999-01-02 03:04:05", ..user(15, "kim") }).await;
        self.user(Person { email: "a\tb", ..user(16, "leo") }).await;
        self.user(user(17, "m\u{1b}a")).await;
    }

    pub(super) async fn definitions(&self) {
        self.definition(1, "apikey", "api key", "", true).await;
        self.definition(2, "basic_auth", "crm", "crm.user", true).await;
        self.definition(3, "jwt", "mobile", "mobile.user", true).await;
        self.definition(5, "basic_auth", "colon", "co:lon", true).await;
        self.definition(6, "basic_auth", "nameless", "", true).await;
        self.definition(7, "basic_auth", "old", "old.user", false).await;
        self.definition(8, "basic_auth", "portal", "portal.user", true).await;
        self.definition(9, "basic_auth", "crm of another cluster", "crm.user", true).await;
        self.definition(10, "basic_auth", "portal", "portal.other", true).await;
        self.definition(11, "basic_auth", "shop", "shop.user", true).await;
        self.definition(12, "basic_auth", "nobodys", "nobody", true).await;
    }

    pub(super) async fn links(&self) {
        self.link(1, 1, "zato.basic_auth", 2, 2021).await;
        self.link(2, 2, "zato.basic_auth", 2, 2020).await;
        self.link(3, 1, "zato.basic_auth", 7, 2021).await;
        self.link(4, 99, "zato.basic_auth", 8, 2020).await;
        self.link(5, 1, "zato.basic_auth", 99, 2021).await;
        self.link(6, 1, "zato.jwt", 3, 2021).await;
        self.link(7, 3, "zato.basic_auth", 8, 2021).await;
        self.link(8, 3, "zato.basic_auth", 8, 2022).await;
        self.link(9, 11, "zato.basic_auth", 10, 2021).await;
        self.link(10, 6, "zato.basic_auth", 11, 2021).await;
        self.link(11, 4, "zato.jwt", 8, 2020).await;
        self.link(12, 4, "zato.basic_auth", 0, 2021).await;
        self.link(13, 4, "zato.apikey", 1, 2021).await;
        self.link(14, 10, "basic_auth", 11, 2022).await;
        self.link(15, 1, "zato.basic_auth", 9, 2021).await;
        self.raw.execute("UPDATE zato_sso_linked_auth SET is_active = FALSE WHERE id = 3").await;
        self.raw.execute("UPDATE zato_sso_linked_auth SET is_internal = TRUE WHERE id = 7").await;
    }

    /// With rows of every kind.
    pub(super) async fn full(database: Database) -> Self {
        let zato = Self::new(database).await;
        zato.users().await;
        zato.definitions().await;
        zato.links().await;
        zato
    }
}
