-- The roles of docker-compose.yml: `batchfront` owns the tables, `worker` changes what is in them,
-- and `reader` only reads. Run when the database is new; it may be run again, over what is there.
\set ON_ERROR_STOP on
-- A statement that fails is logged with its text, and these hold passwords.
SET log_min_error_statement = panic;
SET client_min_messages = warning;

\set batchfront `cat /run/secrets/batchfront`
\set worker `cat /run/secrets/worker`
\set reader `cat /run/secrets/reader`
SELECT '' IN (:'batchfront', :'worker', :'reader') AS missing \gset
\if :missing
    DO $$ BEGIN
        RAISE 'secrets/batchfront, worker or reader is missing, empty or not readable by all'
        USING HINT = 'make it, chmod 644 secrets/*, docker compose down --volumes, and up again';
    END $$;
\endif

SELECT format('CREATE ROLE %I LOGIN', role)
FROM unnest(ARRAY['batchfront', 'worker', 'reader']) AS role
WHERE role NOT IN (SELECT rolname FROM pg_roles) \gexec
ALTER ROLE batchfront PASSWORD :'batchfront';
ALTER ROLE worker PASSWORD :'worker';
ALTER ROLE reader PASSWORD :'reader';

ALTER DATABASE batchfront OWNER TO batchfront;
REVOKE ALL ON DATABASE batchfront FROM PUBLIC;
GRANT CONNECT ON DATABASE batchfront TO worker, reader;

GRANT USAGE ON SCHEMA public TO worker;
-- Of the tables there are, and of those that the owner will make.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO worker;
ALTER DEFAULT PRIVILEGES FOR ROLE batchfront IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO worker;
ALTER DEFAULT PRIVILEGES FOR ROLE batchfront IN SCHEMA public GRANT USAGE ON SEQUENCES TO worker;

ALTER ROLE reader SET default_transaction_read_only = on;
GRANT pg_read_all_data TO reader;
