-- Run once, when the database is new: one role that owns the studies, and one that only reads.
\set ON_ERROR_STOP on
-- A statement that fails is logged with its text, and these hold passwords.
SET log_min_error_statement = panic;

\set batchfront `cat /run/secrets/batchfront`
\set reader `cat /run/secrets/reader`
SELECT '' IN (:'batchfront', :'reader') AS missing \gset
\if :missing
    DO $$ BEGIN
        RAISE 'secrets/batchfront or secrets/reader is empty or not readable by all'
        USING HINT = 'chmod 644 secrets/*, docker compose down --volumes, and up again';
    END $$;
\endif

CREATE ROLE batchfront LOGIN PASSWORD :'batchfront';
ALTER DATABASE batchfront OWNER TO batchfront;

CREATE ROLE reader LOGIN PASSWORD :'reader';
ALTER ROLE reader SET default_transaction_read_only = on;
GRANT pg_read_all_data TO reader;

REVOKE ALL ON DATABASE batchfront FROM PUBLIC;
GRANT CONNECT ON DATABASE batchfront TO reader;
