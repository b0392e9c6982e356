//! The user that an image names, as the numbers that the kernel knows.
//!
//! This does what `GetExecUser` of `github.com/moby/sys/user` does, which Docker, containerd and runc share, down to which of several
//! matching lines counts and what becomes of lines that are malformed.

/// Ids above this are refused, as there.
const ID_MAX: i64 = i32::MAX as i64;
/// What a process can be in (`NGROUPS_MAX`, credentials(7)).
const GROUPS_MAX: usize = 65_536;

/// Who the application runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids; the primary one is the first, as Docker has it. An id may be there twice.
    pub groups: Vec<u32>,
    /// Home directory: the value of `HOME` where the image sets none.
    pub home: String,
}

/// Why a user is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such name in the image's `/etc/passwd`.
    #[error("the image has no user `{0}`")]
    UnknownUser(String),
    /// No such name in the image's `/etc/group`.
    #[error("the image has no group `{0}`")]
    UnknownGroup(String),
    /// An id below 0 or above 2147483647.
    #[error("user and group ids must be in the range 0 to 2147483647, `{0}` is not")]
    Range(String),
    /// More supplementary groups than a process can have.
    #[error("user `{0}` is in more than {GROUPS_MAX} groups of the image")]
    Groups(String),
}

impl UserError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let (file, kind) = match self {
            Self::UnknownUser(_) => ("passwd", "user"),
            Self::UnknownGroup(_) => ("group", "group"),
            Self::Range(_) => return "give another number or a name with -u USER[:GROUP]".to_owned(),
            Self::Groups(_) => return "name the one group that counts with -u USER:GROUP".to_owned(),
        };
        format!("names are looked up in the image's own /etc/{file}; give the {kind}'s number instead")
    }
}

/// Resolves `spec`: nothing (root), `user`, `uid`, `user:group`, `uid:gid`, .. with the contents of the image's `/etc/passwd` and
/// `/etc/group`, empty where it has none.
///
/// # Errors
/// A name that is not in them, a number out of range, or too many groups. Numbers need not be in them.
pub fn resolve(spec: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, UserError> {
    let mut parts = spec.split(':');
    let user = parts.next().unwrap_or_default();
    let wanted_group = parts.next().unwrap_or_default();
    let uid = number(user);
    let entry = lines(passwd).map(User::parse).find(|entry| match (user, uid) {
        ("", _) => entry.uid == 0,
        (_, Some(uid)) => entry.uid == uid,
        _ => entry.name == user.as_bytes(),
    });
    let mut identity = Identity { uid: 0, gid: 0, groups: Vec::new(), home: "/".to_owned() };
    let mut name: &[u8] = b"";
    if let Some(entry) = entry {
        name = entry.name;
        identity.uid = id(entry.uid, user)?;
        identity.gid = id(entry.gid, user)?;
        identity.home = String::from_utf8_lossy(entry.home).into_owned();
    } else if !user.is_empty() {
        identity.uid = id(uid.ok_or_else(|| UserError::UnknownUser(user.to_owned()))?, user)?;
    }
    let mut supplementary = Vec::new();
    if !wanted_group.is_empty() {
        let gid = number(wanted_group);
        let entry = lines(group).map(Group::parse).find(|entry| match gid {
            Some(gid) => entry.gid == gid,
            None => entry.name == wanted_group.as_bytes(),
        });
        let gid = entry.map(|entry| entry.gid).or(gid);
        identity.gid =
            id(gid.ok_or_else(|| UserError::UnknownGroup(wanted_group.to_owned()))?, wanted_group)?;
    } else if !name.is_empty() {
        for entry in lines(group).map(Group::parse).filter(|entry| entry.has_member(name)) {
            supplementary.push(id(entry.gid, user)?);
        }
    }
    identity.groups = [vec![identity.gid], supplementary].concat();
    if identity.groups.len() > GROUPS_MAX {
        return Err(UserError::Groups(user.to_owned()));
    }
    Ok(identity)
}

/// One line of passwd(5). What is missing is empty or 0.
struct User<'a> {
    name: &'a [u8],
    uid: i64,
    gid: i64,
    home: &'a [u8],
}

impl<'a> User<'a> {
    fn parse(line: &'a [u8]) -> Self {
        let mut fields = line.split(|&byte| byte == b':');
        let mut field = || fields.next().unwrap_or_default();
        let (name, _password, uid, gid, _comment, home) =
            (field(), field(), field(), field(), field(), field());
        Self { name, uid: number_or_zero(uid), gid: number_or_zero(gid), home }
    }
}

/// One line of group(5). What is missing is empty or 0.
struct Group<'a> {
    name: &'a [u8],
    gid: i64,
    members: &'a [u8],
}

impl<'a> Group<'a> {
    fn parse(line: &'a [u8]) -> Self {
        let mut fields = line.split(|&byte| byte == b':');
        let mut field = || fields.next().unwrap_or_default();
        let (name, _password, gid, members) = (field(), field(), field(), field());
        Self { name, gid: number_or_zero(gid), members }
    }

    fn has_member(&self, name: &[u8]) -> bool {
        self.members.split(|&byte| byte == b',').any(|member| member == name)
    }
}

/// The lines that are not blank, without blanks around them.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

/// A number as Go's `strconv.Atoi` takes it.
fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn number_or_zero(text: &[u8]) -> i64 {
    str::from_utf8(text).ok().and_then(number).unwrap_or(0)
}

fn id(number: i64, given: &str) -> Result<u32, UserError> {
    match number {
        0..=ID_MAX => Ok(number as u32),
        _ => Err(UserError::Range(given.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n\n  daemon:x:1:1::/usr/sbin:\nwww:x:33:33:www:/var/www:/bin/false\n\
        twin:x:33:34::/twin:\nbroken\n12:x:500:501::/twelve:\n";
    const GROUP: &[u8] = b"root:x:0:root\nwww:x:33:\nadm:x:4:daemon,www\naudio:x:29:www,twin\n+:::\n";

    fn resolved(spec: &str) -> (u32, u32, Vec<u32>, String) {
        let identity = resolve(spec, PASSWD, GROUP).unwrap();
        (identity.uid, identity.gid, identity.groups, identity.home)
    }

    #[test]
    fn names_and_numbers_resolve_as_docker_does() {
        for (spec, expected) in [
            ("", (0, 0, vec![0, 0], "/root")),
            ("root", (0, 0, vec![0, 0], "/root")),
            ("www", (33, 33, vec![33, 4, 29], "/var/www")),
            // A number is looked up too, and the first of two matches counts.
            ("33", (33, 33, vec![33, 4, 29], "/var/www")),
            ("twin", (33, 34, vec![34, 29], "/twin")),
            // A group that is given leaves no supplementary groups.
            ("www:adm", (33, 4, vec![4], "/var/www")),
            ("www:4", (33, 4, vec![4], "/var/www")),
            ("www:4:ignored", (33, 4, vec![4], "/var/www")),
            (":adm", (0, 4, vec![4], "/root")),
            ("1000", (1000, 0, vec![0], "/")),
            ("+1000", (1000, 0, vec![0], "/")),
            ("1000:2000", (1000, 2000, vec![2000], "/")),
            ("2147483647", (i32::MAX as u32, 0, vec![0], "/")),
            // A name of digits is a number.
            ("12", (12, 0, vec![0], "/")),
            // Go reads what is missing as zero.
            ("broken", (0, 0, vec![0], "")),
        ] {
            let (uid, gid, groups, home) = expected;
            assert_eq!(resolved(spec), (uid, gid, groups, home.to_owned()), "{spec}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = |spec: &str| resolve(spec, PASSWD, GROUP).unwrap_err();
        assert_eq!(error("nobody"), UserError::UnknownUser("nobody".into()));
        assert_eq!(error("www:nobody"), UserError::UnknownGroup("nobody".into()));
        assert_eq!(error("-1"), UserError::Range("-1".into()));
        assert_eq!(error("2147483648"), UserError::Range("2147483648".into()));
        assert_eq!(error("0:2147483648"), UserError::Range("2147483648".into()));
        assert_eq!(error("1 2"), UserError::UnknownUser("1 2".into()));
    }

    #[test]
    fn more_groups_than_a_process_can_have_are_refused() {
        let passwd = b"www:x:33:33::/var/www:/bin/sh\n";
        let groups =
            |count: usize| (0..count).map(|gid| format!("g{gid}:x:{gid}:www\n")).collect::<Vec<_>>().concat();
        let resolved = |count| resolve("www", passwd, groups(count).as_bytes());
        assert_eq!(resolved(GROUPS_MAX - 1).unwrap().groups.len(), GROUPS_MAX);
        assert_eq!(resolved(GROUPS_MAX), Err(UserError::Groups("www".into())));
        assert_eq!(resolve("www:5", passwd, groups(GROUPS_MAX).as_bytes()).unwrap().groups, [5]);
    }

    #[test]
    fn an_image_without_the_files_has_numbers_only() {
        let numeric = resolve("7:8", b"", b"").unwrap();
        assert_eq!((numeric.uid, numeric.gid, numeric.groups), (7, 8, vec![8]));
        assert_eq!(resolve("", b"", b"").unwrap().home, "/");
        assert_eq!(resolve("root", b"", b""), Err(UserError::UnknownUser("root".into())));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(spec: String, passwd: Vec<u8>, group: Vec<u8>) {
            let _ = resolve(&spec, &passwd, &group);
        }
    }
}
