#!/bin/sh
# As the official image of nginx begins: hooks in the order of their numbers, templates filled in from the environment, as many workers as there
# are processors, and then the server in place of the script.
set -e
mkdir -p /docker-entrypoint.d /etc/nginx/templates/sites /srv /var/log/nginx /var/lib/nginx
echo 'a page' > /srv/page

cat > /docker-entrypoint.sh <<'END'
#!/bin/sh
set -e
say() { if [ -z "${QUIET:-}" ]; then echo "$0: $*"; fi; }
if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
    if find /docker-entrypoint.d/ -mindepth 1 -maxdepth 1 -type f -print -quit 2> /dev/null | read -r _; then
        find /docker-entrypoint.d/ -follow -type f -print | sort -V | while read -r f; do
            case "$f" in
                *.envsh) if [ -x "$f" ]; then say "sources $f"; . "$f"; else say "leaves out $f"; fi ;;
                *.sh) if [ -x "$f" ]; then say "runs $f"; "$f"; else say "leaves out $f"; fi ;;
                *) say "does not know $f" ;;
            esac
        done
        say 'is ready'
    else
        say 'has nothing to do'
    fi
fi
exec "$@"
END

# The last in the order of numbers is sourced before it in the order of letters; what it exports reaches the hooks behind it.
cat > /docker-entrypoint.d/9-variables.envsh <<'END'
export NGINX_HOST=host.test NGINX_SOCKET=/run/nginx.sock
export NGINX_ENVSUBST_FILTER='^NGINX_'
END

cat > /docker-entrypoint.d/10-if-writable.sh <<'END'
#!/bin/sh
set -e
touch /etc/nginx/nginx.conf 2> /dev/null || { echo 'cannot write'; exit 0; }
echo '# untouched' > /etc/nginx/list
sum=$(md5sum /etc/nginx/list | cut -d ' ' -f 1)
echo "$sum  /etc/nginx/list" | md5sum -c -
sed -i -E 's,untouched,changed,' /etc/nginx/list
echo "$sum  /etc/nginx/list" | md5sum --status -c - || cat /etc/nginx/list
END

cat > /docker-entrypoint.d/20-envsubst-on-templates.sh <<'END'
#!/bin/sh
set -e
defined=$(printf '${%s} ' $(awk "END { for (name in ENVIRON) { print (name ~ /${NGINX_ENVSUBST_FILTER}/) ? name : \"\" } }" < /dev/null))
find /etc/nginx/templates -follow -type f -name '*.template' -print | sort | while read -r template; do
    relative="${template#/etc/nginx/templates/}"
    output="/etc/nginx/${relative%.template}"
    mkdir -p "/etc/nginx/$(dirname "$relative")"
    if [ ! -w "/etc/nginx/$(dirname "$relative")" ]; then echo 'not writable'; exit 0; fi
    echo "$template gives $output"
    envsubst "$defined" < "$template" > "$output"
done
END

cat > /docker-entrypoint.d/30-tune-worker-processes.sh <<'END'
#!/bin/sh
set -eu
online=$(getconf _NPROCESSORS_ONLN)
sed -i.old -E 's/^(worker_processes)(.*)$/# \1\2\n\1 '"$online"';/' /etc/nginx/nginx.conf
grep -c '^worker_processes' /etc/nginx/nginx.conf
grep '^# worker_processes' /etc/nginx/nginx.conf
END

# Asks the server once it is there, looks at its processes, and ends it.
cat > /docker-entrypoint.d/40-ask.sh <<'END'
#!/bin/sh
ask() {
    printf 'GET %s HTTP/1.0\r\nHost: anything\r\n\r\n' "$1" | socat -t 60 - UNIX-CONNECT:/run/nginx.sock | tr -d '\r' |
        grep -v -e '^Date' -e '^Last-Modified' -e '^ETag'
}
workers() { grep -la '^nginx: worker' /proc/[0-9]*/cmdline 2> /dev/null; }
(
    # A worker for each processor.
    until [ "$(workers | wc -l)" = "$(getconf _NPROCESSORS_ONLN)" ]; do sleep 0.1; done
    ask /page
    ask /variables
    tr '\0' ' ' < /proc/1/cmdline; echo
    worker=$(workers | head -n 1)
    grep -E '^(PPid|Uid|Gid|Groups|CapEff)' "${worker%cmdline}status"
    kill -QUIT 1
) &
END
chmod +x /docker-entrypoint.sh /docker-entrypoint.d/*
echo 'exit 1' > /docker-entrypoint.d/50-not-executable.sh
echo 'nothing' > /docker-entrypoint.d/README

cat > /etc/nginx/nginx.conf <<'END'
user app;
worker_processes auto;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events {}
http { access_log off; include /etc/nginx/sites/*.conf; }
END
cat > /etc/nginx/templates/sites/default.conf.template <<'END'
server {
    listen unix:${NGINX_SOCKET};
    server_name ${NGINX_HOST};
    root /srv;
    location /variables { return 200 "$server_name $uri\n"; }
}
END
exec /docker-entrypoint.sh nginx -g 'daemon off;'
