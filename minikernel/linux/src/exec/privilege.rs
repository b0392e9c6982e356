//! Who a program will be: capabilities(7), "Transformation of capabilities during `execve()`".

use alloc::sync::Arc;

use isopod_fs::file::OpenFile;
use isopod_fs::vfs::{Access, MountFlags};
use isopod_fs::{Capabilities, Errno, Error, S_ISGID, S_ISUID};

use super::file_capabilities::FileCapabilities;
use crate::process::{Identity, SecureBits, Thread, threads};
use crate::syscall::with_view;

/// What execve makes of its caller's rights.
#[derive(Debug)]
pub struct Privilege {
    /// Who the program acts for.
    pub identity: Identity,
    /// It may do what its real user could not: `AT_SECURE`.
    pub secure: bool,
    /// Its memory may be looked into, if the change of identity does not forbid it.
    pub dumpable: bool,
}

/// Who `file` runs as when `thread` executes it: set-id files change the effective ids, the capabilities of the file add to the caller's,
/// user 0 has all (`bprm_creds_from_file`). `interpreter` is the ELF interpreter, which must be readable, too, for the memory to be.
pub fn of(
    thread: &Arc<Thread>,
    file: &OpenFile,
    interpreter: Option<&OpenFile>,
) -> isopod_fs::Result<Privilege> {
    let old = thread.identity();
    let mut new = (*old).clone();
    let about = file.inode().metadata()?;
    let trusted = !file.path().mount().flags().contains(MountFlags::NOSUID);
    let honoured = trusted && !old.no_new_privileges;
    if honoured && about.mode & S_ISUID != 0 {
        new.users.effective = about.uid;
    }
    // Without the group's right to execute, the bit means something else.
    if honoured && about.mode & S_ISGID != 0 && about.mode & 0o010 != 0 {
        new.groups.effective = about.gid;
    }
    let given = if trusted { FileCapabilities::of(file)? } else { None };
    let guarded = || old.no_new_privileges || is_shared(thread) || is_watched(thread);
    let secure = transform(&old, &mut new, given, guarded)?;
    let alike = |identity: &Identity| {
        identity.users.real == identity.users.effective && identity.groups.real == identity.groups.effective
    };
    let mut dumpable = alike(&old);
    for file in [Some(file), interpreter].into_iter().flatten() {
        // What may be executed and not read shall not be read as memory either (`would_dump`).
        match with_view(thread, |view| view.access(file.path(), Access::READ)) {
            Ok(()) => {}
            Err(Error::Errno(Errno::EACCES)) => dumpable = false,
            Err(error) => return Err(error),
        }
    }
    Ok(Privilege { identity: new, secure, dumpable })
}

/// True while another process shares root and working directory, and could change them under a program that trusts them
/// (`check_unsafe_exec`).
fn is_shared(thread: &Thread) -> bool {
    let fs = thread.fs();
    let mut others = threads().filter(|other| !Arc::ptr_eq(other.process(), thread.process()));
    others.any(|other| Arc::ptr_eq(&other.fs(), &fs))
}

/// True while one traces the thread who could not trace the program that is to gain something (`ptracer_capable`).
fn is_watched(thread: &Thread) -> bool {
    let tracer = thread.trace.tracer().and_then(|tracer| tracer.first_thread());
    tracer.is_some_and(|tracer| !tracer.identity().capable(Capabilities::SYS_PTRACE))
}

/// Gives `new`, whose effective ids have been set, its other ids and its capabilities (`cap_bprm_creds_from_file`). `given` are those of the
/// file. When it is `guarded`, which is asked if it would get more than the caller had, it gets no more. True when the program must not trust its environment; `EPERM` for a program
/// that would not know that it lacks something.
fn transform(
    old: &Identity,
    new: &mut Identity,
    given: Option<FileCapabilities>,
    guarded: impl FnOnce() -> bool,
) -> Result<bool, Errno> {
    let changed = new.users.effective != old.users.effective || !in_groups(old, new.groups.effective);
    let sets = &mut new.capabilities;
    let mut in_force = given.is_some_and(|given| given.effective);
    sets.permitted = match given {
        Some(given) => sets.bounding & given.permitted | sets.inheritable & given.inheritable,
        None => Capabilities::empty(),
    };
    if given.is_some_and(|given| given.effective && !sets.permitted.contains(given.permitted)) {
        return Err(Errno::EPERM);
    }
    let (real, effective) = (new.users.real == 0, new.users.effective == 0);
    // A set-user-ID program of the superuser's that has capabilities of its own gets no others.
    let by_file_alone = given.is_some() && !real && effective;
    if !new.secure_bits.contains(SecureBits::NO_ROOT) && !by_file_alone {
        if real || effective {
            sets.permitted = sets.inheritable | sets.bounding;
        }
        in_force |= effective;
    }
    if (changed || !old.capabilities.permitted.contains(sets.permitted)) && guarded() {
        if new.no_new_privileges || !old.capable(Capabilities::SETUID) {
            new.users.effective = new.users.real;
            new.groups.effective = new.groups.real;
        }
        sets.permitted &= old.capabilities.permitted;
    }
    if changed || given.is_some() {
        sets.ambient = Capabilities::empty();
    }
    sets.permitted |= sets.ambient;
    sets.effective = if in_force { sets.permitted } else { sets.ambient };
    let gained = in_force || !sets.ambient.contains(sets.permitted);
    let (users, groups) = (&mut new.users, &mut new.groups);
    (users.saved, users.file) = (users.effective, users.effective);
    (groups.saved, groups.file) = (groups.effective, groups.effective);
    new.secure_bits -= SecureBits::KEEP_CAPS;
    Ok(changed
        || users.effective != users.real
        || groups.effective != groups.real
        || users.real != 0 && gained)
}

fn in_groups(identity: &Identity, group: u32) -> bool {
    group == identity.groups.file || identity.supplementary.binary_search(&group).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u32) -> Identity {
        Identity::first(id, id, alloc::vec![])
    }

    const NET_BIND: Capabilities = Capabilities::from_bits_retain(1 << 10);
    /// `cap_chown,cap_net_bind_service=p`, or `=ep`.
    fn file(effective: bool) -> FileCapabilities {
        let permitted = Capabilities::CHOWN | NET_BIND;
        FileCapabilities { permitted, inheritable: Capabilities::KILL, effective }
    }

    #[test]
    fn a_program_of_the_superuser_has_all_capabilities_and_is_secure() {
        let old = user(33);
        let mut new = old.clone();
        new.users.effective = 0;
        assert_eq!(transform(&old, &mut new, None, || false), Ok(true));
        assert_eq!(new.capabilities.effective, new.capabilities.bounding);
        assert_eq!((new.users.saved, new.users.file), (0, 0));
    }

    #[test]
    fn an_ordinary_program_is_not_secure_and_gains_nothing() {
        for id in [0, 33] {
            let old = user(id);
            let mut new = old.clone();
            assert_eq!(transform(&old, &mut new, None, || false), Ok(false));
            assert_eq!(new.capabilities, old.capabilities);
        }
    }

    #[test]
    fn without_new_privileges_dropped_capabilities_stay_dropped() {
        let mut old = user(0);
        old.no_new_privileges = true;
        old.capabilities.permitted = Capabilities::CHOWN;
        old.capabilities.effective = Capabilities::CHOWN;
        let mut new = old.clone();
        transform(&old, &mut new, None, || true).unwrap();
        assert_eq!(new.capabilities.permitted, Capabilities::CHOWN);
    }

    #[test]
    fn a_files_capabilities_are_bounded_and_inherited() {
        let mut old = user(33);
        old.capabilities.bounding = NET_BIND | Capabilities::KILL;
        let run = |old: &Identity, given| {
            let mut new = old.clone();
            transform(old, &mut new, given, || false).map(|secure| (secure, new.capabilities))
        };
        let (secure, sets) = run(&old, Some(file(false))).unwrap();
        assert_eq!((secure, sets.permitted, sets.effective.bits()), (true, NET_BIND, 0));
        // What it was promised and lacks it cannot know.
        assert_eq!(run(&old, Some(file(true))), Err(Errno::EPERM));
        old.capabilities.bounding |= Capabilities::CHOWN;
        old.capabilities.inheritable = Capabilities::KILL;
        old.capabilities.ambient = Capabilities::KILL;
        let (_, sets) = run(&old, Some(file(true))).unwrap();
        assert_eq!(sets.effective, NET_BIND | Capabilities::CHOWN | Capabilities::KILL);
        assert!(sets.ambient.is_empty());
        // Without them the ambient ones stay.
        let (secure, sets) = run(&old, None).unwrap();
        assert_eq!((secure, sets.permitted, sets.effective), (false, Capabilities::KILL, Capabilities::KILL));
    }

    #[test]
    fn a_set_id_program_with_capabilities_gets_only_these() {
        let old = user(33);
        let mut new = old.clone();
        new.users.effective = 0;
        assert_eq!(transform(&old, &mut new, Some(file(true)), || false), Ok(true));
        assert_eq!(new.capabilities.effective, NET_BIND | Capabilities::CHOWN);
    }

    #[test]
    fn without_a_root_user_0_is_as_any_other() {
        let mut old = user(0);
        old.secure_bits = SecureBits::NO_ROOT | SecureBits::KEEP_CAPS;
        let mut new = old.clone();
        assert_eq!(transform(&old, &mut new, None, || false), Ok(false));
        assert!(new.capabilities.permitted.is_empty());
        assert_eq!(new.secure_bits, SecureBits::NO_ROOT);
    }

    #[test]
    fn who_is_watched_gains_nothing() {
        let old = user(33);
        let mut new = old.clone();
        new.users.effective = 0;
        assert_eq!(transform(&old, &mut new, Some(file(true)), || true), Ok(true));
        assert_eq!((new.users.effective, new.capabilities.permitted.bits()), (33, 0));
    }
}
