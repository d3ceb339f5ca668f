-- The platforms that sessions are logged in to, and the credentials with which they are called.

CREATE TABLE session_platform (
    session_id uuid NOT NULL,
    platform varchar NOT NULL,
    url varchar NOT NULL,
    version varchar,
    unique_name varchar NOT NULL,
    groups text NOT NULL,
    PRIMARY KEY (session_id),
    FOREIGN KEY (session_id) REFERENCES session (session_id) ON DELETE CASCADE
);

CREATE TABLE platform_credential (
    session_id uuid NOT NULL,
    key_id integer NOT NULL,
    generation integer NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (session_id),
    FOREIGN KEY (session_id) REFERENCES session (session_id) ON DELETE CASCADE
);

CREATE INDEX session_platform_by_platform ON session_platform (platform, session_id);
-- For credentials that are sealed under an older key.
CREATE INDEX platform_credential_by_key ON platform_credential (key_id);
