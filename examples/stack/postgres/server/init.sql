-- Once, when the cluster is made. The service's role owns nothing: it can use the tables, and not change them.
\set password `cat /run/secrets/database_password`

CREATE ROLE game LOGIN PASSWORD :'password';
CREATE DATABASE game;
REVOKE ALL ON DATABASE game FROM PUBLIC;
GRANT CONNECT ON DATABASE game TO game;

\connect game

-- What connect-pg-simple keeps.
CREATE TABLE session (
    sid varchar PRIMARY KEY,
    sess json NOT NULL,
    expire timestamp(6) NOT NULL
);
CREATE INDEX session_expire ON session (expire);

CREATE TABLE games (
    id text PRIMARY KEY,
    player text NOT NULL,
    ended text NOT NULL,
    milliseconds integer NOT NULL,
    score integer,
    played timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX games_score ON games (score DESC) WHERE score IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON session TO game;
GRANT SELECT, INSERT ON games TO game;
