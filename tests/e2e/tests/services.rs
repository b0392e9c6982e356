//! More servers in the guest: what is large, and takes minutes to make.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use anyhow::{Result, ensure};
use isopod_e2e::neighbour::{ADDRESSES, NEIGHBOURS, Neighbour};
use isopod_e2e::server::get;
use isopod_e2e::{host, image};

/// Starts a shell's line in an image of these packages and all that they depend on, beside clients by both families.
fn serve(packages: &[&str], line: &str) -> Result<Neighbour> {
    let image = image::complete(packages)?.files(&[("srv/page", b"a page\n")]).cached()?;
    Neighbour::alone(&image, &["-m", "512M", "--cpus", "2"], &["/bin/sh", "-ec", line])
}

#[test]
#[ignore = "takes long"]
fn memcached_keeps_values() -> Result<()> {
    let mut machine = serve(&["memcached"], "exec memcached -u root -t 4")?;
    for address in ADDRESSES {
        machine.ask(address, 11211, |stream| {
            stream.write_all(b"set key 0 0 5\r\nvalue\r\nget key\r\nincr key 1\r\n")?;
            let mut lines = BufReader::new(stream).lines();
            for expected in ["STORED", "VALUE key 0 5", "value", "END"] {
                let line = lines.next().transpose()?;
                ensure!(line.as_deref() == Some(expected), "{line:?} in place of {expected}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "takes long"]
fn lighttpd_serves_files() -> Result<()> {
    let line = "printf 'server.document-root = \"/srv\"\nserver.port = 80\n$SERVER[\"socket\"] == \"[::]:80\" {}\n' > /tmp/conf
        exec lighttpd -D -f /tmp/conf";
    let mut machine = serve(&["lighttpd"], line)?;
    for address in ADDRESSES {
        machine.ask(address, 80, |stream| {
            for _ in 0..20 {
                ensure!(get(stream, "/page")?.body == b"a page\n");
            }
            ensure!(get(stream, "/missing")?.status == 404);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "takes long"]
fn haproxy_passes_requests_on() -> Result<()> {
    let [four, six] = NEIGHBOURS;
    let line = format!(
        "printf 'defaults\n mode http\n timeout connect 60s\n timeout client 60s\n timeout server 60s\n\
         frontend front\n bind :80\n bind :::80 v6only\n use_backend six if {{ path /six }}\n default_backend four\n\
         backend four\n server up {four}:8080\n\
         backend six\n server up [{six}]:8080\n' > /tmp/conf
        exec haproxy -db -f /tmp/conf"
    );
    let mut machine = serve(&["haproxy"], &line)?;
    machine.beside(|| {
        host::page_at((four, 8080), b"by IPv4\n")?;
        host::page_at((six, 8080), b"by IPv6\n")
    })?;
    for address in ADDRESSES {
        assert_eq!(machine.get(address, 80, "/four")?.text(), "by IPv4\n");
        assert_eq!(machine.get(address, 80, "/six")?.text(), "by IPv6\n");
    }
    Ok(())
}

#[test]
#[ignore = "takes long"]
fn unbound_answers_datagrams_and_streams() -> Result<()> {
    let line = "printf 'server:\n interface: 0.0.0.0\n interface: ::0\n access-control: 0.0.0.0/0 allow\n access-control: ::0/0 allow\n\
        username: \"\"\n chroot: \"\"\n pidfile: \"\"\n num-threads: 2\n\
        local-zone: test. static\n local-data: \"name.test. A 192.0.2.7\"\n' > /tmp/conf
        exec unbound -d -c /tmp/conf";
    let mut machine = serve(&["unbound"], line)?;
    // A question (RFC 1035, section 4) for the address of name.test.
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04name\x04test\0\0\x01\0\x01";
    for address in ADDRESSES {
        let answer = machine.datagram(address, 53, question, |answer| answer.starts_with(b"\x12\x34"))?;
        assert!(answer.ends_with(&[192, 0, 2, 7]), "{answer:?}");
        // On a stream a message's length goes before it (section 4.2.2), and many may go along.
        machine.ask(address, 53, |stream| {
            for _ in 0..20 {
                stream.write_all(&[&[0, question.len() as u8][..], question].concat())?;
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                let mut answer = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut answer)?;
                ensure!(answer.ends_with(&[192, 0, 2, 7]), "{answer:?}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "takes long"]
fn redis_counts_for_many_clients_by_either_family() -> Result<()> {
    let image = image::complete(&["redis-server", "redis-tools"])?.cached()?;
    let command = ["/usr/bin/redis-server", "--bind", "* -::*", "--protected-mode", "no", "--save", ""];
    let mut machine = Neighbour::start(&image, &["-m", "128M", "--cpus", "2"], &command, &image)?;
    machine.server.line("Ready to accept connections")?;
    for (address, sum) in ADDRESSES.into_iter().zip(["5600\n", "11200\n"]) {
        let out = machine.client(&format!(
            "redis-benchmark -h {address} -q -c 64 -n 4000 -t incr > /dev/null
            redis-benchmark -h {address} -q -c 16 -P 16 -n 1600 -t incr > /dev/null
            redis-cli -h {address} get counter:__rand_int__"
        ))?;
        machine.server.expect_answer(&out, sum);
    }
    machine.server.stop()?;
    Ok(())
}

#[test]
#[ignore = "takes long"]
fn nginx_serves_by_tls_and_http2() -> Result<()> {
    let config = b"daemon off; user root; worker_processes 2; error_log /dev/stderr notice; pid /tmp/pid; events {} http { access_log off;
        server { listen 443 ssl http2; listen [::]:443 ssl http2; listen 80; listen [::]:80;
            ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate /tmp/cert; ssl_certificate_key /tmp/key; root /srv; } }";
    let line = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=guest -keyout /tmp/key -out /tmp/cert 2> /tmp/log
        head -c 3000000 /dev/zero > /srv/large
        mkdir -p /var/log/nginx /var/lib/nginx
        exec nginx -c /conf";
    let image = image::complete(&["nginx", "openssl"])?
        .files(&[("conf", config), ("srv/page", b"a page\n")])
        .set("StopSignal", "SIGQUIT");
    let clients = image::complete(&["curl", "openssl", "nghttp2-client", "grep", "sed"])?.cached()?;
    let options = ["-m", "256M", "--cpus", "2"];
    let mut machine = Neighbour::start(&image.cached()?, &options, &["/bin/sh", "-ec", line], &clients)?;
    machine.server.line("start worker processes")?;
    for address in ADDRESSES {
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let out = machine.client(&format!(
            "url=https://{host}
            curl -gsSk --retry-all-errors --retry 9 -o /dev/null $url/page
            curl -gsSk --http2 -w '%{{http_version}} %{{response_code}}\n' $url/page
            curl -gsSk --http1.1 -w '%{{http_version}} %{{response_code}}\n' $url/page
            curl -gsSk --http2 --parallel --parallel-immediate -w '%{{http_code}} %{{size_download}}\n' \
                $url/large -o /dev/null $url/large -o /dev/null $url/large -o /dev/null
            curl -gsSk --http2 -d posted -o /dev/null -w '%{{http_code}}\n' $url/page
            for version in tls1_2 tls1_3; do
                openssl s_client -connect {host}:443 -alpn h2 -$version < /dev/null 2> /dev/null |
                    grep -aE '^(subject|ALPN)|^ *New,' | cut -d, -f1,2
            done
            h2load -n 800 -c 16 -m 10 $url/page | sed -n 's/^Application protocol/&/p; s/^requests/&/p; s/^status codes/&/p'
            h2load -n 8 -c 2 -m 4 $url/large | sed -n 's/^requests/&/p'
            h2load --h1 -n 400 -c 32 http://{host}/page | sed -n 's/^Application protocol/&/p; s/^requests/&/p'
            h2load --h1 -n 200 -c 8 $url/page | sed -n 's/^Application protocol/&/p; s/^requests/&/p'"
        ))?;
        let tls = |version| format!("subject=CN = guest\nNew, {version}\nALPN protocol: h2\n");
        let requests = |count| {
            format!(
                "requests: {count} total, {count} started, {count} done, {count} succeeded, 0 failed, 0 errored, 0 timeout\n"
            )
        };
        let expected = [
            "a page\n2 200\na page\n1.1 200\n200 3000000\n200 3000000\n200 3000000\n405\n",
            &tls("TLSv1.2"),
            &tls("TLSv1.3"),
            "Application protocol: h2\n",
            &requests(800),
            "status codes: 800 2xx, 0 3xx, 0 4xx, 0 5xx\n",
            &requests(8),
            "Application protocol: http/1.1\n",
            &requests(400),
            "Application protocol: http/1.1\n",
            &requests(200),
        ];
        machine.server.expect_answer(&out, &expected.concat());
    }
    machine.server.stop()?;
    Ok(())
}
