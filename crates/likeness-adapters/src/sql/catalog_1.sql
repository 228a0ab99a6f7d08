-- Catalog, version 1. Plain SQL as SQLite and PostgreSQL both understand it.
-- Moments are milliseconds since 1970-01-01 UTC.

CREATE TABLE generation (
    number      INTEGER NOT NULL PRIMARY KEY,
    created_ms  BIGINT  NOT NULL,
    fingerprint TEXT    NOT NULL UNIQUE,
    -- JSON; text, so that it comes back as it was written.
    parameters  TEXT    NOT NULL
);

CREATE TABLE setting (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- A lease that was given back keeps its row, since tokens must go on growing.
CREATE TABLE lease (
    name       TEXT     NOT NULL PRIMARY KEY,
    owner      TEXT     NOT NULL,
    token      BIGINT   NOT NULL,
    expires_ms BIGINT   NOT NULL,
    held       SMALLINT NOT NULL
);
