#!/bin/sh
# Makes the databases and their roles, when PostgreSQL's volume is new. Passwords come by the environment, not by
# arguments, so that no list of processes shows them.
set -eu

# database NAME OWNER PASSWORD_VARIABLE: OWNER may make tables in it, and nobody else may even enter it.
database() {
    psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 -v name="$1" -v owner="$2" -U postgres -d postgres <<SQL
\getenv password $3
CREATE ROLE :"owner" LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE DATABASE :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"name" TO :"owner";
\connect :"name"
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
SQL
}

# guest NAME ROLE PASSWORD_VARIABLE RIGHTS: ROLE has these rights on the tables that NAME's owner will make.
guest() {
    psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 -v name="$1" -v role="$2" -U postgres -d "$1" <<SQL
\getenv password $3
CREATE ROLE :"role" LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE;
GRANT CONNECT ON DATABASE :"name" TO :"role";
GRANT USAGE ON SCHEMA public TO :"role";
ALTER DEFAULT PRIVILEGES FOR ROLE manifold_owner IN SCHEMA public GRANT $4 ON TABLES TO :"role";
SQL
}

psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 -U postgres -d postgres \
    -c 'REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC'
database airflow airflow AIRFLOW_DB_PASSWORD
database celery celery CELERY_DB_PASSWORD
database manifold manifold_owner LEDGER_OWNER_PASSWORD
guest manifold manifold LEDGER_PASSWORD 'SELECT, INSERT, UPDATE, DELETE'
guest manifold manifold_reader LEDGER_READER_PASSWORD 'SELECT'
database manifold_store manifold_store STORE_PASSWORD
