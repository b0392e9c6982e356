#!/bin/sh
# As the official images of redis, postgres and nginx begin.
set -e
echo "redis"
mkdir -p /data/sub; touch /data/sub/dump.rdb /data/a; chown -R root:root /data
if [ "$(id -u)" = '0' ]; then
    find /data \! -user 999 -exec chown 999 '{}' +
    ls -ldn /data /data/a /data/sub/dump.rdb | mawk '{print $1, $3, $4, $NF}'
    gosu 999:999 sh -c 'id; umask; echo $HOME; touch /data/mine && stat -c "%u %g %a" /data/mine; cat /proc/self/status | grep -E "^(Uid|Gid|Groups|CapEff|CapPrm|NoNewPrivs)"; (touch /etc/not 2>&1 || true)'
    setpriv --reuid=999 --regid=999 --clear-groups -- sh -c 'id -u; id -G; grep CapEff /proc/self/status'
    setpriv --reuid=999 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs id
fi
echo "postgres"
export PGDATA=/var/lib/postgresql/data; mkdir -p "$PGDATA" /var/run/postgresql; chmod 00700 "$PGDATA"; chmod 03775 /var/run/postgresql
find "$PGDATA" \! -user 998 -exec chown 998 '{}' +
find /var/run/postgresql \! -user 998 -exec chown 998 '{}' +
stat -c '%n %A %u' "$PGDATA" /var/run/postgresql
exec gosu 998:998 bash -c '
  _main() { printf "%s\n" "$@"; }
  ls -A "$PGDATA" | wc -l; file_env() { local var="$1"; local def="${2:-}"; export "$var"="${!var:-$def}"; }
  file_env POSTGRES_USER postgres; echo "$POSTGRES_USER"
  for f in $(printf "%s\n" 20-b.sh 10-a.sh | sort); do case "$f" in *.sh) echo "runs $f";; esac; done
  pid=; trap "kill -TERM \$pid; wait \$pid; echo stopped" TERM
  sleep 30 & pid=$!; (sleep 0.3; kill -TERM $$) & wait $pid || echo "server ended: $?"
  printf "%s\n" /docker-entrypoint.d/*.conf | head -1
  exec cat /proc/self/comm'
