#!/bin/bash
# Makes a data folder and runs its server, as the entrypoint of the official image does: started as root it becomes the database's user, and the
# first server, which answers on a socket of the file system alone, gives way to the one that answers everybody.
set -Eeuo pipefail
if [ "$(id -u)" = 0 ]; then
    mkdir -p /run/mysqld /var/lib/mysql
    find /run/mysqld /var/lib/mysql \! -user mysql -exec chown mysql: '{}' +
    exec gosu mysql "$BASH_SOURCE"
fi
mariadb-install-db --datadir=/var/lib/mysql --skip-test-db --auth-root-authentication-method=normal > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
mariadbd --skip-networking &
server=$!
until mariadb-admin ping > /dev/null 2>&1; do sleep 0.2; done
mariadb -uroot <<SQL
CREATE DATABASE shop;
CREATE USER app IDENTIFIED BY 'secret';
GRANT ALL ON *.* TO app;
SQL
kill "$server"
wait "$server"
exec mariadbd --bind-address='*' --skip-name-resolve
