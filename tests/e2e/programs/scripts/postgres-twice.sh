#!/bin/bash
# Runs the server until this is asked to end, then stops it as its image says, and looks at what it has left.
/postgres.sh &
server=$!
trap 'kill -INT $server' TERM
wait $server
trap '' TERM
wait $server
echo "ended with $?"
PATH=$PATH:/usr/lib/postgresql/15/bin
pg_controldata /var/lib/postgresql/data | grep 'cluster state'
gosu postgres postgres --single -D /var/lib/postgresql/data bench <<< 'select count(*) as kept from pgbench_history'
