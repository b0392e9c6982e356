//! mount(2) and umount2(2): options of tmpfs, what is mounted below, and whole subtrees.

use std::ffi::{CStr, CString};
use std::os::unix::fs::MetadataExt;

use libc::*;

use super::helpers::{get, leave, open, put, status_of};
use crate::report::Report;
use crate::sys;
use crate::sys::Errno;

/// Runs the group.
pub fn run(t: &mut Report) {
    std::fs::create_dir("m").expect("a folder");
    let base = std::env::current_dir().expect("a folder");
    t.call("tmpfs", tmpfs(c"m", c"size=4m,uid=5,gid=6,mode=700,nr_inodes=100"));
    let about = std::fs::metadata("m").expect("it is there");
    t.show("tmpfs_root", format!("{} {} {:o}", about.uid(), about.gid(), about.mode()));
    std::env::set_current_dir("m").expect("root may enter");
    sys!(SYS_mount, 0, c".", 0, MS_PRIVATE, 0).expect("nobody else shall see the mounts");
    for folder in ["a", "b", "c"] {
        std::fs::create_dir(folder).expect("a folder");
    }
    options(t);
    changed(t);
    expired(t);
    recursive(t);
    detached(t);
    refused(t);
    std::env::set_current_dir(base).expect("it is there");
    t.show("left", shown());
    t.call("all_away", sys!(SYS_umount2, c"m", MNT_DETACH));
}

fn tmpfs(place: &CStr, options: &CStr) -> Result<usize, Errno> {
    sys!(SYS_mount, c"none", place, c"tmpfs", 0, options)
}

fn change(place: &CStr, flags: c_ulong, options: &CStr) -> Result<usize, Errno> {
    sys!(SYS_mount, c"none", place, c"tmpfs", MS_REMOUNT | flags, options)
}

fn bind(from: &CStr, to: &CStr, flags: c_ulong) -> Result<usize, Errno> {
    sys!(SYS_mount, from, to, 0, MS_BIND | flags, 0)
}

/// The mounts below the working folder: root, place, restrictions, kind, source and options of each.
fn shown() -> String {
    let folder = std::env::current_dir().expect("a folder");
    let folder = folder.to_str().expect("a plain name");
    let text = get("/proc/self/mountinfo");
    let mut lines: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let place = words[4].strip_prefix(folder)?.strip_prefix('/')?;
            Some(format!("{} {place} {} {}", words[3], words[5], words[7..].join(" ")))
        })
        .collect();
    lines.sort();
    lines.join("; ")
}

/// Pages and inodes of the file system at a place.
fn room(place: &CStr) -> String {
    let mut about = sys::zeroed::<statfs>();
    match sys!(SYS_statfs, place, &mut about) {
        Ok(_) => format!("{} {}", about.f_blocks, about.f_files),
        Err(errno) => errno.to_string(),
    }
}

fn options(t: &mut Report) {
    for text in [
        "inode64",
        "inode32",
        "huge=never",
        "huge=bad",
        "huge",
        "noswap",
        "noswap=1",
        "mpol=default",
        "mpol=local",
        "mpol=bad",
        "mpol=bind",
        "uid=-1",
        "gid=x",
        "size",
        "size=",
        "size=4m5",
        "mode=9",
        "unknown",
        "unknown=1",
    ] {
        let given = CString::new(text).expect("no NUL");
        let made = tmpfs(c"a", &given);
        let away = made.is_ok().then(|| sys!(SYS_umount2, c"a", 0).is_ok());
        t.call(&format!("option_{text}"), made);
        t.is(&format!("option_{text}_mounted"), away == Some(true));
    }
    for text in
        ["size=1m,,nr_inodes=9", "nr_blocks=7,nr_inodes=2k", "size=1G,nr_inodes=1", "uid=7,gid=8,mode=17777"]
    {
        let given = CString::new(text).expect("no NUL");
        t.call(&format!("mount_{text}"), tmpfs(c"a", &given));
        t.show(&format!("shown_{text}"), shown());
        t.call(&format!("umount_{text}"), sys!(SYS_umount2, c"a", 0));
    }
}

fn changed(t: &mut Report) {
    t.call("mount", tmpfs(c"a", c"size=1m,nr_inodes=50"));
    put("a/f", vec![1; 20_000]);
    for text in
        ["size=2m", "size=bad", "unknown", "nr_inodes=5", "nr_inodes=1", "size=4k", "mode=711", "uid=7", ""]
    {
        let given = CString::new(text).expect("no NUL");
        t.call(&format!("remount_{text}"), change(c"a", 0, &given));
        t.show(&format!("remount_{text}_room"), room(c"a"));
    }
    let about = std::fs::metadata("a").expect("it is there");
    t.show("remount_root", format!("{} {} {:o}", about.uid(), about.gid(), about.mode()));
    t.call("remount_bind_ignores_options", change(c"a", MS_BIND, c"size=bad"));
    t.call("remount_no_root", change(c"b", 0, c"size=1m"));
    t.call("remount_nothing", change(c"nothing", 0, c"size=1m"));
    put("a/g", [1; 100]);
    t.call("remount_read_only", change(c"a", MS_RDONLY, c"size=24k"));
    t.show("remount_read_only_room", room(c"a"));
    t.ok("write_read_only", open(c"a/h", O_CREAT | O_WRONLY));
    t.call("remount_writable", change(c"a", 0, c""));
    t.show(
        "write_too_much",
        std::fs::write("a/h", [1; 4096]).map_or_else(|e| e.to_string(), |()| "ok".into()),
    );
    t.call("umount", sys!(SYS_umount2, c"a", 0));
}

/// A tree of mounts below `a`: `a`, `a/x`, `a/x/z` and `a/y`.
fn tree() {
    for (place, options) in
        [(c"a", c"size=1m"), (c"a/x", c"size=2m"), (c"a/x/z", c"size=3m"), (c"a/y", c"size=4m")]
    {
        let _ = std::fs::create_dir(place.to_str().expect("a plain name"));
        tmpfs(place, options).expect("root may mount");
    }
    put("a/x/z/file", "found");
}

/// What nobody has used between two calls goes with the second (`MNT_EXPIRE`).
fn expired(t: &mut Report) {
    let expire = |flags| sys!(SYS_umount2, c"a", MNT_EXPIRE | flags);
    t.call("expire_no_mount", expire(0));
    tmpfs(c"a", c"").expect("a mount");
    t.call("expire_detach", expire(MNT_DETACH));
    t.call("expire_force", expire(MNT_FORCE));
    t.call("expire_first", expire(0));
    put("a/file", "");
    t.call("expire_after_use", expire(0));
    let fd = super::helpers::must_open(c"a/file", O_RDONLY);
    t.call("expire_in_use", expire(0));
    super::helpers::close(fd);
    t.call("expire_closed", expire(0));
    t.call("expire_unused", expire(0));
    t.is("expire_is_gone", std::fs::metadata("a/file").is_err());
}

fn recursive(t: &mut Report) {
    tree();
    t.call("bind_alone", bind(c"a", c"b", 0));
    t.show("bind_alone_shown", shown());
    t.is("bind_alone_below", std::fs::metadata("b/x/z").is_ok());
    t.call("umount_alone", sys!(SYS_umount2, c"b", 0));
    t.call("bind_all", bind(c"a", c"b", MS_REC));
    t.show("bind_all_shown", shown());
    t.show("bind_all_below", get("b/x/z/file"));
    t.call("umount_covered", sys!(SYS_umount2, c"b", 0));
    t.call("umount_covered_below", sys!(SYS_umount2, c"b/x", 0));
    t.call("detach_all", sys!(SYS_umount2, c"b", MNT_DETACH));
    t.show("detach_all_shown", shown());
    t.call("bind_part", bind(c"a/x", c"b", MS_REC));
    t.show("bind_part_shown", shown());
    t.call("detach_part", sys!(SYS_umount2, c"b", MNT_DETACH));
    t.call("bind_own", bind(c".", c"b", MS_REC));
    t.show("bind_own_shown", shown());
    t.call("detach_own", sys!(SYS_umount2, c"b", MNT_DETACH));
    std::fs::create_dir("a/folder").expect("a folder");
    std::fs::create_dir("a/folder/deep").expect("a folder");
    tmpfs(c"a/folder/deep", c"size=5m").expect("root may mount");
    t.call("bind_folder", bind(c"a/folder", c"b", MS_REC));
    t.show("bind_folder_shown", shown());
    t.call("umount_deep", sys!(SYS_umount2, c"b/deep", 0));
    t.call("umount_folder", sys!(SYS_umount2, c"b", 0));
    t.show("umount_folder_shown", shown());
}

fn detached(t: &mut Report) {
    std::env::set_current_dir("a").expect("it is there");
    let held = open(c"x/z/file", O_RDONLY).expect("it is there");
    t.call("umount_used", sys!(SYS_umount2, c".", 0));
    t.call("detach_used", sys!(SYS_umount2, c".", MNT_DETACH));
    t.is("detached_has_names", std::fs::metadata("folder").is_ok());
    t.is("detached_has_no_mounts", std::fs::metadata("x/z").is_err());
    let mut text = [0u8; 5];
    t.call("detached_is_read", sys!(SYS_read, held, &mut text, 5));
    t.call("detached_mount", tmpfs(c"x", c""));
    t.call("detached_bind", bind(c"x", c"../b", 0));
    t.call("detached_remount", change(c".", 0, c"size=1m"));
    t.call("detached_umount", sys!(SYS_umount2, c".", 0));
    sys!(SYS_close, held).expect("it is open");
}

fn refused(t: &mut Report) {
    t.call("bind_unnamed", bind(c"", c"/tmp", 0));
    t.call("bind_null", sys!(SYS_mount, 0, c"/tmp", 0, MS_BIND, 0));
    t.call("move_unnamed", sys!(SYS_mount, c"", c"/tmp", 0, MS_MOVE, 0));
    t.call("bind_nothing", bind(c"/nothing", c"/tmp", 0));
    let user = |run: &dyn Fn() -> Result<usize, Errno>| {
        Errno(status_of(|| {
            if sys!(SYS_setresuid, 5, 5, 5).is_err() {
                leave(99);
            }
            run().err().map_or(0, |errno| errno.0)
        }))
    };
    t.show("user_mount", user(&|| tmpfs(c"/", c"")));
    t.show("user_mount_nothing", user(&|| tmpfs(c"/nothing", c"")));
    t.show("user_umount", user(&|| sys!(SYS_umount2, c"/", 0)));
    t.show("user_umount_nothing", user(&|| sys!(SYS_umount2, c"/nothing", 0)));
    t.show("user_umount_flags", user(&|| sys!(SYS_umount2, c"/nothing", 64)));
}
