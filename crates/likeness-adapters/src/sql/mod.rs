//! The catalog's SQL, in the part of the language that SQLite and PostgreSQL share.
//!
//! Parameters are `$1`, `$2`, …, and first occur in that order: SQLite numbers them by their
//! first occurrence, PostgreSQL by their name.

/// The schema, version by version: entry `n` leads from version `n` to `n + 1`.
pub(crate) const CATALOG_MIGRATIONS: [&str; 1] = [include_str!("catalog_1.sql")];

pub(crate) const SELECT_GENERATION: &str =
    "SELECT number, created_ms, fingerprint, parameters FROM generation WHERE fingerprint = $1";

pub(crate) const SELECT_GENERATIONS: &str =
    "SELECT number, created_ms, fingerprint, parameters FROM generation ORDER BY number";

/// To be run where no other writer can come between: the number is the next free one.
pub(crate) const INSERT_GENERATION: &str = "
    INSERT INTO generation (number, created_ms, fingerprint, parameters)
    SELECT COALESCE(MAX(number), 0) + 1, $1, $2, $3 FROM generation
    RETURNING number, created_ms, fingerprint, parameters";

pub(crate) const SELECT_SETTING: &str = "SELECT value FROM setting WHERE name = $1";

pub(crate) const INSERT_SETTING: &str =
    "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

pub(crate) const UPDATE_SETTING: &str =
    "UPDATE setting SET value = $1 WHERE name = $2 AND value = $3";

pub(crate) const DELETE_SETTING: &str = "DELETE FROM setting WHERE name = $1 AND value = $2";

/// Parameters: name, owner, when it would expire, now. No row: another owner holds it.
pub(crate) const ACQUIRE_LEASE: &str = "
    INSERT INTO lease (name, owner, token, expires_ms, held) VALUES ($1, $2, 1, $3, 1)
    ON CONFLICT (name) DO UPDATE SET
        token = CASE WHEN lease.held = 1 AND lease.owner = excluded.owner
                     THEN lease.token ELSE lease.token + 1 END,
        owner = excluded.owner, expires_ms = excluded.expires_ms, held = 1
    WHERE lease.held = 0 OR lease.owner = excluded.owner OR lease.expires_ms <= $4
    RETURNING name, owner, token, expires_ms";

pub(crate) const SELECT_LEASE: &str =
    "SELECT name, owner, token, expires_ms FROM lease WHERE name = $1";

pub(crate) const RENEW_LEASE: &str = "
    UPDATE lease SET expires_ms = $1
    WHERE name = $2 AND owner = $3 AND token = $4 AND held = 1
    RETURNING name, owner, token, expires_ms";

pub(crate) const RELEASE_LEASE: &str =
    "UPDATE lease SET held = 0 WHERE name = $1 AND owner = $2 AND token = $3";
