//! Programs that watch files, share memory, and say how they want to be run.

use anyhow::Result;
use isopod_e2e::image;
use isopod_e2e::isopod::{Isopod, Outcome};

/// Runs a script in busybox's shell, with these packages beside it.
fn script(packages: &[&str], script: &str) -> Result<Outcome> {
    let image = image::debian(&[&["busybox-static", "libc6"], packages].concat())?;
    let applets = format!(
        "for applet in awk cat chmod grep mkdir mv rm sleep; do busybox ln -s /bin/busybox /bin/$applet; done\n{script}"
    );
    Isopod::shared().run(&["run", &image.cached()?.reference(), "/bin/busybox", "sh", "-ec", &applets])
}

#[test]
fn inotifywait_tells_of_every_change() -> Result<()> {
    let events =
        "CREATE a\nOPEN a\nMODIFY a\nCLOSE_WRITE,CLOSE a\nMOVED_FROM a\nMOVED_TO b\nATTRIB b\nDELETE b\n";
    script(
        &["inotify-tools", "libinotifytools0"],
        r"
        mkdir /tmp/watched
        inotifywait -q -m --format '%e %f' /tmp/watched > /tmp/events &
        watcher=$!
        until grep -q '^inotify wd:' /proc/$watcher/fdinfo/3 2> /dev/null; do sleep 0.05; done
        echo one > /tmp/watched/a
        mv /tmp/watched/a /tmp/watched/b
        chmod 600 /tmp/watched/b
        rm /tmp/watched/b
        until grep -q DELETE /tmp/events; do sleep 0.05; done
        kill $watcher
        cat /tmp/events
        ",
    )?
    .expect_stdout(events)
    .expect_status(0);
    Ok(())
}

#[test]
fn the_tools_of_system_v_ipc_make_list_and_remove() -> Result<()> {
    script(
        &["util-linux", "util-linux-extra"],
        r"
        ipcmk -M 8192 -p 640
        ipcmk -S 3
        ipcmk -Q
        ipcs -m | awk 'NR > 3 && NF { print $2, $3, $4, $5, $6 }'
        ipcs -s | awk 'NR > 3 && NF { print $2, $3, $4, $5 }'
        ipcs -q | awk 'NR > 3 && NF { print $2, $3, $4, $5, $6 }'
        ipcs -m -l | grep segments
        ipcrm -m 0 -s 0 -q 0
        ipcs -m -s -q | grep -c root || true
        ",
    )?
    .expect_stdout(
        "Shared memory id: 0\nSemaphore id: 0\nMessage queue id: 0\n0 root 640 8192 0\n0 root 644 3\n0 root 644 0 0\n\
         max number of segments = 4096\n0\n",
    )
    .expect_status(0);
    Ok(())
}

#[test]
fn perl_processes_share_memory_semaphores_and_messages() -> Result<()> {
    let image = image::debian(&["perl-base", "libc6", "libcrypt1"])?;
    let script = r#"
        my ($memory, $ready, $queue) = (shmget(0, 64, 0600), semget(0, 1, 0600), msgget(0, 0600));
        if (!fork) {
            shmwrite($memory, "from the child", 0, 14) or die;
            msgsnd($queue, pack("l! a*", 5, "goodbye"), 0) or die;
            semop($ready, pack("s3", 0, 1, 0)) or die;
            exit 0;
        }
        semop($ready, pack("s3", 0, -1, 0)) or die;
        shmread($memory, my $text, 0, 14) or die;
        msgrcv($queue, my $message, 64, 5, 0) or die;
        my ($type, $body) = unpack("l! a*", $message);
        wait;
        print "$text, $type: $body\n";
        shmctl($memory, 0, 0) && semctl($ready, 0, 0, 0) && msgctl($queue, 0, 0) or die;
        for ("shm", "sem", "msg") {
            open(my $list, "<", "/proc/sysvipc/$_") or die;
            my @lines = <$list>;
            print scalar(@lines), "\n";
        }"#;
    Isopod::shared()
        .run(&["run", &image.cached()?.reference(), "/usr/bin/perl", "-e", script])?
        .expect_stdout("from the child, 5: goodbye\n1\n1\n1\n")
        .expect_status(0);
    Ok(())
}

#[test]
fn wishes_about_scheduling_and_randomisation_are_kept() -> Result<()> {
    script(
        &["util-linux", "util-linux-extra"],
        r#"
        stack() { "$@" busybox awk '/\[stack\]/ { print $1 }' /proc/self/maps; }
        [ "$(stack setarch x86_64 -R)" = "$(stack setarch x86_64 -R)" ] && echo fixed
        [ "$(stack env)" = "$(stack env)" ] || echo random
        setarch linux32 busybox uname -m
        chrt -f 5 busybox sh -c 'chrt -p $$' | awk '{ print $NF }'
        ionice -c 2 -n 3 ionice
        "#,
    )?
    .expect_stdout("fixed\nrandom\ni686\nSCHED_FIFO\n5\nbest-effort: prio 3\n")
    .expect_status(0);
    Ok(())
}
