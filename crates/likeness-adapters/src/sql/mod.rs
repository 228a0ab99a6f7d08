//! The catalog's SQL, in the part of the language that SQLite and PostgreSQL share.
//!
//! Parameters are `$1`, `$2`, …, and first occur in that order: SQLite numbers them by their
//! first occurrence, PostgreSQL by their name.

pub(crate) mod tables;

/// The schema, version by version: entry `n` leads from version `n` to `n + 1`.
pub(crate) const CATALOG_MIGRATIONS: [&str; 2] =
    [include_str!("catalog_1.sql"), include_str!("catalog_2.sql")];

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

pub(crate) const NEXT_RUN: &str = "SELECT COALESCE(MAX(id), 0) + 1 FROM job_run";

/// Parameters: id, version, job, state, due, end of the interval or null, body. No row: there is one of the schedule.
pub(crate) const INSERT_RUN: &str = "
    INSERT INTO job_run (id, version, job, state, due_ms, scheduled, body)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (job, scheduled) DO NOTHING";

/// Parameters: the new version, state, due and body, id, the version that was read.
pub(crate) const UPDATE_RUN: &str = "
    UPDATE job_run SET version = $1, state = $2, due_ms = $3, body = $4 WHERE id = $5 AND version = $6";

pub(crate) const SELECT_RUN: &str = "SELECT id, body FROM job_run WHERE id = $1";

/// Parameters: job or null, state or null, smallest number not to return, most rows.
pub(crate) const SELECT_RUNS: &str = "
    SELECT id, body FROM job_run
    WHERE ($1 IS NULL OR job = $1) AND ($2 IS NULL OR state = $2) AND id < $3
    ORDER BY id DESC LIMIT $4";

/// Parameters: job, state, now.
pub(crate) const SELECT_DUE_RUN: &str = "
    SELECT id, body FROM job_run WHERE job = $1 AND state = $2 AND due_ms <= $3
    ORDER BY due_ms, id LIMIT 1";

pub(crate) const SELECT_LAST_SCHEDULED: &str = "
    SELECT id, body FROM job_run WHERE job = $1 AND scheduled IS NOT NULL
    ORDER BY scheduled DESC LIMIT 1";
