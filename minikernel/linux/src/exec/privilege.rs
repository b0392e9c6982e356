//! Who a program will be: capabilities(7), "Transformation of capabilities during `execve()`".

use alloc::sync::Arc;

use isopod_fs::file::OpenFile;
use isopod_fs::vfs::{Access, MountFlags};
use isopod_fs::{Capabilities, Errno, S_ISGID, S_ISUID};

use crate::process::{Identity, Thread};
use crate::syscall::with_view;
use crate::wait::retry;

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

/// Who `file` runs as when `thread` executes it: set-id files change the effective ids, user 0 has all capabilities
/// (`bprm_creds_from_file`). `interpreter` is the ELF interpreter, which must be readable, too, for the memory to be.
pub async fn of(
    thread: &Arc<Thread>,
    file: &OpenFile,
    interpreter: Option<&OpenFile>,
) -> Result<Privilege, Errno> {
    let old = thread.identity();
    let mut new = (*old).clone();
    let about = retry(|| file.inode().metadata()).await?;
    let honoured = !old.no_new_privileges && !file.path().mount().flags().contains(MountFlags::NOSUID);
    if honoured && about.mode & S_ISUID != 0 {
        new.users.effective = about.uid;
    }
    // Without the group's right to execute, the bit means something else.
    if honoured && about.mode & S_ISGID != 0 && about.mode & 0o010 != 0 {
        new.groups.effective = about.gid;
    }
    let secure = transform(&old, &mut new);
    let alike = |identity: &Identity| {
        identity.users.real == identity.users.effective && identity.groups.real == identity.groups.effective
    };
    let mut dumpable = alike(&old);
    for file in [Some(file), interpreter].into_iter().flatten() {
        let readable = retry(|| {
            // What may be executed and not read shall not be read as memory either (`would_dump`).
            with_view(thread, |view| view.access(file.path(), Access::READ))
        });
        match readable.await {
            Ok(()) => {}
            Err(Errno::EACCES) => dumpable = false,
            Err(errno) => return Err(errno),
        }
    }
    Ok(Privilege { identity: new, secure, dumpable })
}

/// Gives `new`, whose effective ids have been set, its other ids and its capabilities (`cap_bprm_creds_from_file`). True when the program
/// must not trust its environment.
fn transform(old: &Identity, new: &mut Identity) -> bool {
    let changed = new.users.effective != old.users.effective || !in_groups(old, new.groups.effective);
    let sets = &mut new.capabilities;
    let root = new.users.real == 0 || new.users.effective == 0;
    sets.permitted = if root { sets.inheritable | sets.bounding } else { Capabilities::empty() };
    if new.no_new_privileges && (changed || !old.capabilities.permitted.contains(sets.permitted)) {
        new.users.effective = new.users.real;
        new.groups.effective = new.groups.real;
        sets.permitted &= old.capabilities.permitted;
    }
    let all_in_force = root && new.users.effective == 0;
    if changed {
        sets.ambient = Capabilities::empty();
    }
    sets.permitted |= sets.ambient;
    sets.effective = if all_in_force { sets.permitted } else { sets.ambient };
    let gained = all_in_force || !sets.ambient.contains(sets.permitted);
    let (users, groups) = (&mut new.users, &mut new.groups);
    (users.saved, users.file) = (users.effective, users.effective);
    (groups.saved, groups.file) = (groups.effective, groups.effective);
    new.keep_capabilities = false;
    changed || users.effective != users.real || groups.effective != groups.real || users.real != 0 && gained
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

    #[test]
    fn a_program_of_the_superuser_has_all_capabilities_and_is_secure() {
        let old = user(33);
        let mut new = old.clone();
        new.users.effective = 0;
        assert!(transform(&old, &mut new));
        assert_eq!(new.capabilities.effective, new.capabilities.bounding);
        assert_eq!((new.users.saved, new.users.file), (0, 0));
    }

    #[test]
    fn an_ordinary_program_is_not_secure_and_gains_nothing() {
        for id in [0, 33] {
            let old = user(id);
            let mut new = old.clone();
            assert!(!transform(&old, &mut new));
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
        transform(&old, &mut new);
        assert_eq!(new.capabilities.permitted, Capabilities::CHOWN);
    }
}
