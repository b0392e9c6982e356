#!/bin/bash
# Makes a cluster and runs its server, as the entrypoint of the official image does: started as root it becomes the database's user, and the first
# server, which answers on a socket of the file system alone, gives way to the one that answers everybody.
set -Eeuo pipefail
PATH=$PATH:/usr/lib/postgresql/15/bin
export PGDATA=/var/lib/postgresql/data PGUSER=postgres
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chmod 00700 "$PGDATA"
    chmod 03775 /var/run/postgresql
    find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
    find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
    exec gosu postgres "$BASH_SOURCE"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username=postgres --pwfile=<(printf '%s\n' secret) --auth-local=trust --auth-host=scram-sha-256
    printf '%s\n' 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl -o "-c listen_addresses='' -p 5432" -w start
    psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --set db=bench <<< 'CREATE DATABASE :"db";'
    pg_ctl -m fast -w stop
fi
exec postgres -c listen_addresses='*'
