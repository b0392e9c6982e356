//! Programs of every kind boot, run, print what they print on Linux, and end as they end there.

use std::fs;

use anyhow::Result;
use isopod_e2e::image::{self, Image};
use isopod_e2e::isopod::{Isopod, Outcome};
use isopod_e2e::{packages, programs};

/// Runs an image with the tests' common cache.
fn run(image: &Image, arguments: &[&str]) -> Result<Outcome> {
    let reference = image.cached()?.reference();
    Isopod::shared().run(&[&["run", &reference], arguments].concat())
}

/// An image of one program, compiled from C with these flags.
fn compiled(compiler: &str, flags: &[&str], packages: &[&str]) -> Result<Image> {
    let program = programs::bytes(&programs::compile(compiler, "hello.c", flags)?)?;
    let image = if packages.is_empty() { Image::new() } else { image::debian(packages)? };
    Ok(image.files(&[("hello", &program)]).entrypoint(&["/hello"]))
}

/// Checks what `hello.c` prints.
fn expect_hello(image: &Image) -> Result<()> {
    run(image, &["one", "--two"])?
        .expect_stdout("hello from /hello with 2 arguments\none\n--two\n")
        .expect_status(0);
    Ok(())
}

#[test]
fn smallest_static_program() -> Result<()> {
    let program = programs::bytes(&programs::compile("gcc", "hello.S", &["-static", "-nostdlib"])?)?;
    let image = Image::new().files(&[("hello", &program)]).entrypoint(&["/hello"]);
    run(&image, &[])?.expect_stdout("hello\n").expect_status(0);
    Ok(())
}

#[test]
fn elf_source_needs_no_image() -> Result<()> {
    let program = programs::compile("gcc", "hello.S", &["-static", "-nostdlib"])?;
    Isopod::shared()
        .run(&["run", &format!("elf:{}", program.display())])?
        .expect_stdout("hello\n")
        .expect_status(0);
    Ok(())
}

#[test]
fn static_glibc_program() -> Result<()> {
    expect_hello(&compiled("gcc", &["-O2", "-static"], &[])?)
}

#[test]
fn static_pie_glibc_program() -> Result<()> {
    expect_hello(&compiled("gcc", &["-O2", "-static-pie"], &[])?)
}

#[test]
fn static_musl_program() -> Result<()> {
    expect_hello(&compiled("musl-gcc", &["-O2", "-static"], &[])?)
}

#[test]
fn dynamic_glibc_program() -> Result<()> {
    expect_hello(&compiled("gcc", &["-O2"], &["libc6"])?)
}

#[test]
fn dynamic_glibc_program_at_a_fixed_address() -> Result<()> {
    expect_hello(&compiled("gcc", &["-O2", "-no-pie"], &["libc6"])?)
}

#[test]
fn dynamic_musl_program() -> Result<()> {
    expect_hello(&compiled("musl-gcc", &["-O2"], &["musl"])?)
}

#[test]
fn rust_program_with_threads() -> Result<()> {
    let program = programs::bytes(&programs::compile("rustc", "threads.rs", &["-O"])?)?;
    let image =
        image::debian(&["libc6", "libgcc-s1"])?.files(&[("threads", &program)]).entrypoint(&["/threads"]);
    let counts: Vec<_> = (0..10).map(|digit| format!("{digit}: 600")).collect();
    let expected = format!(
        "sum 17997000\ncounts {{{}}}\ntotal 4000\nparked true\nparallelism true\npanicked true\n",
        counts.join(", ")
    );
    run(&image, &[])?.expect_stdout(&expected).expect_status(0).expect_stderr_contains("a thread may panic");
    Ok(())
}

/// What shells do without starting another program.
const SHELL_SCRIPT: &str = r#"
set -eu
greeting="hello from $1"
count=0
for word in a b c; do count=$((count + 1)); done
echo "$greeting $count"
case "$greeting" in hello*) printf 'case %s\n' ok ;; esac
square() { echo $(( $1 * $1 )) > /tmp/square; }
square 12
read -r number < /tmp/square
echo "square $number"
if [ -d /etc ] && [ ! -e /nonsense ]; then echo "tests ok"; fi
cd /tmp
echo "folder $PWD"
while read -r name rest; do echo "line $name"; done < /etc/passwd
trap 'echo "leaving"' EXIT
umask 027
echo secret > mode
[ -r mode ] && echo readable
exit 5
"#;

const SHELL_OUTPUT: &str = "hello from the shell 3\ncase ok\nsquare 144\ntests ok\nfolder /tmp\n\
    line root:x:0:0:root:/root:/bin/sh\nline nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
    line app:x:1000:1001:an\nreadable\nleaving\n";

/// Runs the script in a shell of a package.
fn expect_script(packages: &[&str], shell: &[&str]) -> Result<()> {
    let image = image::debian(packages)?;
    let words = [shell, &["-c", SHELL_SCRIPT, "script", "the shell"]].concat();
    run(&image, &words)?.expect_stdout(SHELL_OUTPUT).expect_status(5);
    Ok(())
}

#[test]
fn bash_script_of_builtins() -> Result<()> {
    expect_script(&["bash", "libc6", "libtinfo6"], &["/bin/bash"])
}

#[test]
fn dash_script_of_builtins() -> Result<()> {
    expect_script(&["dash", "libc6"], &["/bin/dash"])
}

#[test]
fn busybox_script_of_builtins() -> Result<()> {
    expect_script(&["busybox-static"], &["/bin/busybox", "sh"])
}

#[test]
fn busybox_applets() -> Result<()> {
    let image = image::debian(&["busybox-static"])?;
    run(&image, &["busybox", "cat", "/etc/group"])?
        .expect_stdout("root:x:0:\nnogroup:x:65534:\napp:x:1001:\nextra:x:2002:app\n")
        .expect_status(0);
    run(&image, &["busybox", "sha256sum", "/etc/group"])?
        .expect_stdout("0e7a4732af5ef4613ac16811994dff85977d4ceffda11183d099f831050f76e4  /etc/group\n")
        .expect_status(0);
    run(&image, &["busybox", "sort", "-r", "/etc/group"])?
        .expect_stdout("root:x:0:\nnogroup:x:65534:\nextra:x:2002:app\napp:x:1001:\n")
        .expect_status(0);
    run(&image, &["busybox", "uname", "-s"])?.expect_stdout("Linux\n").expect_status(0);
    Ok(())
}

#[test]
fn script_file_with_an_interpreter_line() -> Result<()> {
    let image = image::debian(&["dash", "libc6"])?
        .files(&[("entry.sh", b"#!/bin/dash -e\necho \"$0 $1\"\nfalse\necho not reached\n")])
        .entrypoint(&["/entry.sh"]);
    run(&image, &["word"])?.expect_stdout("/entry.sh word\n").expect_status(1);
    Ok(())
}

#[test]
fn python_script() -> Result<()> {
    let script = fs::read(isopod_e2e::cache::workspace().join("tests/e2e/programs/script.py"))?;
    let image = image::debian(&packages::PYTHON)?.files(&[("script.py", &script)]);
    let expected = "json [0, 1, 2, 3, 4] grüße\nthreads ['5feceb66', '6b86b273', 'd4735e3a'] 8\nslept True True\n\
                    md5 08b87d4eb00a405b84c3374825a837e6\nfiles True True 1\nurandom 16\n";
    let reference = image.cached()?.reference();
    Isopod::shared()
        .run(&["run", "-m", "64M", &reference, "/usr/bin/python3.11", "/script.py"])?
        .expect_stdout(expected)
        .expect_status(17);
    Ok(())
}

#[test]
fn perl_script() -> Result<()> {
    let script = r#"
        my %count; $count{$_}++ for split //, "isopod";
        print join(",", map { "$_$count{$_}" } sort keys %count), "\n";
        open(my $file, ">", "/tmp/perl") or die; print $file "line $_\n" for 1..3; close $file;
        open($file, "<", "/tmp/perl") or die; my @lines = <$file>; print scalar(@lines), " ", $lines[1];
        print sprintf("%.3f %s\n", 22/7, ucfirst("done")); exit 6;"#;
    let image = image::debian(&["perl-base", "libc6", "libcrypt1"])?;
    run(&image, &["/usr/bin/perl", "-e", script])?
        .expect_stdout("d1,i1,o2,p1,s1\n3 line 2\n3.143 Done\n")
        .expect_status(6);
    Ok(())
}

#[test]
fn lua_script() -> Result<()> {
    let script = r#"
        local t = {}
        for word in string.gmatch("one two three", "%a+") do t[#t + 1] = word end
        table.sort(t)
        print(table.concat(t, " "), #t, 7 // 2)
        local f = assert(io.open("/tmp/lua", "w")) f:write("text\n") f:close()
        print(io.open("/tmp/lua"):read("l"), os.time() > 1700000000)
        local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
        print(co(), co(), co())
        os.exit(8)"#;
    let image = image::debian(&["lua5.4", "liblua5.4-0", "libc6", "libreadline8", "libtinfo6"])?;
    run(&image, &["/usr/bin/lua5.4", "-e", script])?
        .expect_stdout("one three two\t3\t3\ntext\ttrue\n1\t2\t3\n")
        .expect_status(8);
    Ok(())
}

/// Statements that exercise files, locks, syncs and memory; `NAME` is the database.
const SQL: &str = "create table t(id integer primary key, name text);
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)
    insert into t select i, 'name ' || i from n;
    begin; delete from t where id % 2 = 0; rollback;
    create index names on t(name);
    select count(*), sum(id), max(name) from t;
    select name from t where name like '%49' order by id limit 2;
    pragma integrity_check;";

const SQL_OUTPUT: &str = "500|125250|name 99\nname 49\nname 149\nok\n";

#[test]
fn sqlite_in_memory_and_on_the_overlay() -> Result<()> {
    let image = image::debian(&["sqlite3", "libsqlite3-0", "libc6", "libreadline8", "libtinfo6", "zlib1g"])?;
    for database in [":memory:", "/root/data.db"] {
        run(&image, &["/usr/bin/sqlite3", database, SQL])?.expect_stdout(SQL_OUTPUT).expect_status(0);
    }
    let journal = format!("pragma journal_mode=wal; {SQL}");
    run(&image, &["/usr/bin/sqlite3", "/tmp/wal.db", &journal])?
        .expect_stdout(&format!("wal\n{SQL_OUTPUT}"))
        .expect_status(0);
    Ok(())
}
