//! Clients in the guest, of servers on this host.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use isopod_e2e::image;
use isopod_e2e::isopod::Isopod;
use isopod_e2e::neighbour::{ADDRESSES, NEIGHBOURS, Neighbour};
use isopod_e2e::packages::DNSMASQ_ALONE;
use isopod_e2e::{cache, host, linux, succeed};
use sha2::{Digest as _, Sha256};

/// What a guest answered: its lines that begin so.
fn answers(said: &str) -> String {
    format!("{said}\n").split_inclusive('\n').filter_map(|line| line.strip_prefix("answer: ")).collect()
}

/// A package with a script, as its file's bytes, and its paragraph in the list of its repository.
fn package(name: &str, depends: &str, path: &str, content: &[u8]) -> Result<(Vec<u8>, String)> {
    let folder = tempfile::tempdir()?;
    let tree = folder.path().join("tree");
    let file = tree.join(path);
    fs::create_dir_all(tree.join("DEBIAN"))?;
    fs::create_dir_all(file.parent().unwrap_or(&tree))?;
    fs::write(&file, content)?;
    succeed(Command::new("chmod").arg("755").arg(&file))?;
    let control = format!(
        "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: none <none@invalid>\n{depends}Description: {name}\n"
    );
    fs::write(tree.join("DEBIAN/control"), &control)?;
    let script = tree.join("DEBIAN/postinst");
    fs::write(&script, format!("#!/bin/sh\necho {name} is configured by $(id -un)\n"))?;
    succeed(Command::new("chmod").arg("755").arg(script))?;
    let deb = folder.path().join("deb");
    succeed(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(tree).arg(&deb))?;
    let bytes = fs::read(deb)?;
    let (size, hash) = (bytes.len(), cache::hex(&Sha256::digest(&bytes)));
    Ok((bytes, format!("{control}Filename: ./{name}.deb\nSize: {size}\nSHA256: {hash}\n\n")))
}

#[test]
#[ignore = "takes long"]
fn apt_installs_packages() -> Result<()> {
    let data: Vec<_> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let script = b"#!/bin/sh\necho answer: greetings from $(wc -c < /usr/share/greeting) bytes\n";
    let (greeting, first) = package("greeting", "Depends: greeting-data\n", "usr/bin/greeting", script)?;
    let (greeting_data, second) = package("greeting-data", "", "usr/share/greeting", &data)?;
    let list = first + &second;
    let release = format!(
        "Origin: test\nSuite: test\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {} {} Packages\n",
        cache::hex(&Sha256::digest(&list)),
        list.len()
    );
    let files = [
        ("/./Packages", list.into_bytes()),
        ("/./Release", release.into_bytes()),
        ("/./greeting.deb", greeting),
        ("/./greeting-data.deb", greeting_data),
    ];
    let port = host::files(BTreeMap::from(files.map(|(path, content)| (path.to_owned(), content))))?;
    let users = b"root:x:0:0:root:/root:/bin/sh\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n";
    let image = image::complete(&["apt", "diffutils", "libc-bin", "sed"])?.files(&[("etc/passwd", users)]);
    let line = "mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial /var/log/apt
        touch /var/lib/dpkg/status
        echo \"deb [trusted=yes] http://10.0.2.2:$PORT ./\" > /etc/apt/sources.list
        apt-get update
        apt-get install -y greeting
        greeting
        dpkg-query -W | sed 's/^/answer: /'
        tr -d '\\r' < /var/log/apt/term.log | sed -n 's/^.* is configured by .*/answer: &/p'
        apt-get purge -y greeting-data
        dpkg-query -W | sed 's/^/answer: still /'";
    let reference = image.cached()?.reference();
    let port = format!("PORT={port}");
    let arguments = ["run", "-m", "512M", "-e", &port, &reference, "/bin/sh", "-ec", line];
    let server = Isopod::shared().serve(&arguments)?;
    let said = server.end()?;
    let expected = "greetings from 4000000 bytes\ngreeting\t1.0\ngreeting-data\t1.0\n\
                    greeting-data is configured by root\ngreeting is configured by root\n";
    ensure!(answers(&said) == expected, "{said}");
    Ok(())
}

#[test]
#[ignore = "takes long"]
fn dig_and_resolvers_ask_a_name_server() -> Result<()> {
    let server = image::complete(&["dnsmasq-base"])?.cached()?;
    let [four, six] = NEIGHBOURS;
    let line = format!(
        "until dig +time=1 +tries=1 +short name.test @{four} > /dev/null; do sleep 0.2; done
        ask() {{ dig +short \"$@\" | sed \"s/^/answer: $1 $2 /\"; }}
        ask @{four} name.test
        ask @{four} name.test AAAA
        ask @{six} name.test
        ask @{six} +tcp name.test
        ask @{four} -x 192.0.2.7
        ask @{four} +tcp alias.test MX
        dig @{four} +short +bufsize=512 large.test TXT | tr -d '\" ' | wc -c | sed 's/^/answer: large /'
        dig @{four} missing.test | sed -n 's/.*status: \\([A-Z]*\\),.*/answer: \\1/p'
        getent ahosts name.test | cut -d ' ' -f 1 | sort -u | sed 's/^/answer: /'"
    );
    let image = image::complete(&["bind9-dnsutils", "libc-bin", "sed"])?.cached()?;
    let machine = Neighbour::start(
        &image,
        &["-m", "256M", "--cpus", "2", "--dns", four],
        &["/bin/sh", "-ec", &line],
        &server,
    )?;
    let texts: Vec<_> = (0..8).map(|number| number.to_string().repeat(200)).collect();
    let large = format!("--txt-record=large.test,{}", texts.join(","));
    let names = [
        "--address=/name.test/192.0.2.7",
        "--address=/name.test/2001:db8::7",
        "--ptr-record=7.2.0.192.in-addr.arpa,name.test",
        "--mx-host=alias.test,name.test,10",
        "--address=/missing.test/",
        &large,
    ];
    let names = machine.serve(&[&DNSMASQ_ALONE[..], &names].concat())?;
    let said = machine.server.end()?;
    let expected = "@10.1.0.1 name.test 192.0.2.7\n@10.1.0.1 name.test 2001:db8::7\n@fd00::1 name.test 192.0.2.7\n\
                    @fd00::1 +tcp 192.0.2.7\n@10.1.0.1 -x name.test.\n@10.1.0.1 +tcp 10 name.test.\n\
                    large 1601\nNXDOMAIN\n192.0.2.7\n2001:db8::7\n";
    ensure!(answers(&said) == expected, "{said}\nand the name server\n{}", names.log());
    Ok(())
}

/// Starts a server of secure shells, in the guest and beside it alike: for the owner of the key that is in `$KEY`.
const SSHD: &str = "mkdir -p /run/sshd /root/.ssh /home/app /var/log
    touch /var/log/lastlog /var/log/wtmp /run/utmp
    chmod 700 /root/.ssh
    chown app /home/app
    echo \"$KEY\" > /root/.ssh/id_ed25519
    chmod 600 /root/.ssh/id_ed25519
    ssh-keygen -yf /root/.ssh/id_ed25519 > /etc/ssh/keys
    ssh-keygen -qt ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
    printf 'StrictHostKeyChecking no\\nLogLevel ERROR\\nUserKnownHostsFile /dev/null\\n' > /root/.ssh/config
    exec /usr/sbin/sshd -De -f /dev/null -o AuthorizedKeysFile=/etc/ssh/keys -o PasswordAuthentication=no \\
        -o 'Subsystem sftp /usr/lib/openssh/sftp-server'";

/// What a client of secure shells at these hosts does: a command and its status, another user, a terminal, and ten megabytes each way.
fn ssh(hosts: &[&str], options: &str, copy: &str) -> String {
    let hosts = hosts.join(" ");
    format!(
        "head -c 10000000 /dev/urandom > /tmp/sent
        for host in {hosts}; do
            name=${{host#[}} name=${{name%]}}
            until ssh {options} $name true 2> /dev/null; do sleep 0.2; done
            ssh {options} $name 'echo answer: forty $((40 + 2)); exit 7' || echo answer: status $?
            ssh {options} app@$name 'echo answer: $(id -u) $HOME'
            echo 'echo answer: from standard input' | ssh {options} $name sh
            ssh {options} -tt $name 'test -t 0 && tty' < /dev/null | sed 's/[0-9]*\\r*$//; s/^/answer: /'
            scp -q {copy} /tmp/sent root@$host:/tmp/there
            scp -q {copy} root@$host:/tmp/there /tmp/back
            cmp /tmp/sent /tmp/back && echo answer: ten megabytes
        done"
    )
}

/// What [`ssh`] prints for each host.
const SHELLS: &str = "forty 42\nstatus 7\n1000 /home/app\nfrom standard input\n/dev/pts/\nten megabytes\n";

#[test]
#[ignore = "takes long"]
fn secure_shells_lead_out_and_in() -> Result<()> {
    let packages = ["openssh-client", "openssh-server", "diffutils", "sed"];
    let users = b"root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n\
                  app:x:1000:1001::/home/app:/bin/sh\n";
    let image = image::complete(&packages)?.files(&[("etc/passwd", users)]).cached()?;
    let make = "ssh-keygen -qt ed25519 -N '' -f /tmp/key && cat /tmp/key";
    let key = linux::run(&image, &["/bin/sh", "-ec", make])?;
    let key = format!("KEY={}", String::from_utf8(key.stdout)?);
    let [four, six] = NEIGHBOURS;
    let out = ssh(&["10.0.2.2", four, &format!("[{six}]")], "-p 22", "-P 22");
    let line = format!("(until test -f /etc/ssh/keys; do sleep 0.2; done\n{out}\necho all done) &\n{SSHD}");
    let options = ["-m", "256M", "--cpus", "2", "-p", "127.0.0.1::22", "-e", &key];
    let mut machine = Neighbour::start(&image, &options, &["/bin/sh", "-ec", &line], &image)?;
    let host = machine.serve(&["/usr/bin/env", &key, "/bin/sh", "-ec", SSHD])?;
    machine.server.line("all done")?;
    let said = machine.server.log();
    ensure!(answers(&said) == SHELLS.repeat(3), "{said}\nand the other server\n{}", host.log());

    let port = machine.server.address("22/tcp")?.port();
    let [four, six] = ADDRESSES;
    let published = ssh(&["127.0.0.1"], &format!("-p {port}"), &format!("-P {port}"));
    let near = ssh(&[four, &format!("[{six}]")], "-p 22", "-P 22");
    let said = machine.client(&format!("{published}\n{near}"))?;
    machine.server.expect_answer(&answers(&said), &SHELLS.repeat(3));
    machine.server.stop()?;
    Ok(())
}
