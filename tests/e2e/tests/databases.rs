//! Databases in the guest, made by entrypoint scripts as their images have them, and their own clients beside the machine.

use anyhow::Result;
use isopod_e2e::cache;
use isopod_e2e::image;
use isopod_e2e::neighbour::{ADDRESSES, Neighbour};

/// Users that the packages' scripts would have made.
const USERS: &[u8] = b"root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n\
                       mysql:x:998:998::/nonexistent:/bin/false\n";
const GROUPS: &[u8] = b"root:x:0:\npostgres:x:999:\nmysql:x:998:\n";

/// Starts a database by the first of these scripts, with its clients in the same image.
fn start(packages: &[&str], scripts: &[&str]) -> Result<Neighbour> {
    let mut image = image::complete(&[packages, &["bash", "findutils", "gosu"]].concat())?
        .files(&[("etc/passwd", USERS), ("etc/group", GROUPS)]);
    for script in scripts {
        let text = std::fs::read(cache::workspace().join("tests/e2e/programs/scripts").join(script))?;
        image = image.files(&[(script, &text)]);
    }
    let layout = image.cached()?;
    let command = [format!("/{}", scripts[0])];
    Neighbour::start(&layout, &["-m", "1G", "--cpus", "2"], &[&command[0]], &layout)
}

#[test]
#[ignore = "takes long"]
fn postgresql_keeps_accounts_while_many_clients_move_money() -> Result<()> {
    let scripts = ["postgres-twice.sh", "postgres.sh"];
    let mut machine = start(&["postgresql-15", "diffutils", "grep"], &scripts)?;
    machine.server.line("listening on IPv4 address")?;
    // The sums of a run: whatever was moved is in the accounts, the branches and the tellers alike, and no transfer is lost or counted twice.
    let [four, six] = ADDRESSES;
    let transfers = machine.client(&format!(
        "PATH=$PATH:/usr/lib/postgresql/15/bin
        export PGHOST={four} PGUSER=postgres PGPASSWORD=secret PGDATABASE=bench
        quietly() {{ \"$@\" > /tmp/log 2>&1 || {{ cat /tmp/log; exit 1; }} }}
        until pg_isready -q; do sleep 0.2; done
        quietly pgbench -iqs 1
        quietly pgbench -c 8 -j 2 -t 50
        quietly env PGHOST={six} pgbench -n -c 4 -t 10
        quietly env PGHOST={six} pgbench -n -C -S -c 4 -t 5
        psql -Atc 'select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts),
            sum(delta) = (select sum(bbalance) from pgbench_branches),
            sum(delta) = (select sum(tbalance) from pgbench_tellers) from pgbench_history'
        seq 1 200000 > /tmp/rows
        psql -Atc 'copy (select generate_series(1, 200000)) to stdout' | cmp - /tmp/rows && echo all came"
    ))?;
    machine.server.expect_answer(&transfers, "440|t|t|t\nall came\n");
    // Nothing that it said was done is lost when it ends.
    let ended = machine.server.stop()?;
    for kept in ["ended with 0", "shut down", "kept = \"440\""] {
        assert!(ended.contains(kept), "{ended}");
    }
    Ok(())
}

#[test]
#[ignore = "takes long"]
fn mariadb_keeps_what_clients_write() -> Result<()> {
    let mut machine = start(&["mariadb-server", "mariadb-client", "grep", "sed"], &["mariadb.sh"])?;
    machine.server.line("socket: '/run/mysqld/mysqld.sock'  port: 3306")?;
    let [four, six] = ADDRESSES;
    let rows = machine.client(&format!(
        "sql() {{ mariadb -h {four} -u app -psecret -N shop -e \"$1\"; }}
        sql 'CREATE TABLE items (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20)) ENGINE=InnoDB'
        for client in 1 2 3 4; do
            (for row in 1 2 3 4 5 6 7 8; do echo \"INSERT INTO items (name) VALUES ('$client.$row');\"; done |
                mariadb -h {six} -u app -psecret shop) &
            clients=\"$clients $!\"
        done
        for client in $clients; do wait $client; done
        sql 'SELECT COUNT(*), COUNT(DISTINCT name), MAX(id) >= 32 FROM items'
        sql 'SELECT MD5(GROUP_CONCAT(seq SEPARATOR \",\")) FROM seq_1_to_10'
        sql 'SELECT REPEAT(\"x\", 1000000)' | wc -c
        mariadb-slap -h {four} -u app -psecret --concurrency=16 --iterations=2 --auto-generate-sql \
            --auto-generate-sql-load-type=mixed --number-of-queries=320 > /tmp/log 2>&1 || {{ cat /tmp/log; exit 1; }}
        grep -c 'Number of clients running queries: 16' /tmp/log"
    ))?;
    machine.server.expect_answer(&rows, "32\t32\t1\n6c2274983ce1ac0ffaa6344a06cdd6b7\n1000001\n1\n");
    machine.server.stop()?;
    Ok(())
}
