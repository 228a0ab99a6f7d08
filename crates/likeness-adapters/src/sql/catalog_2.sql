-- Catalog, version 2: history and queue of jobs.

CREATE TABLE job_run (
    id        BIGINT NOT NULL PRIMARY KEY,
    version   BIGINT NOT NULL,
    job       TEXT   NOT NULL,
    state     TEXT   NOT NULL,
    due_ms    BIGINT NOT NULL,
    -- End of the interval if it is of a schedule; null otherwise, and nulls are distinct.
    scheduled BIGINT,
    -- JSON; text, so that it comes back as it was written.
    body      TEXT   NOT NULL,
    UNIQUE (job, scheduled)
);

CREATE INDEX job_run_due ON job_run (job, state, due_ms, id);
