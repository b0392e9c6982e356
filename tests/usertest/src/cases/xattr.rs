//! Extended attributes.

use libc::*;

use super::helpers::{CLOSED, NOWHERE, close, long_name, must_open, put};
use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    put("file", "");
    let mut buffer = [0u8; 256];
    t.call("set", sys!(SYS_setxattr, c"file", c"user.one", b"value", 5, 0));
    t.call("get", sys!(SYS_getxattr, c"file", c"user.one", &mut buffer, 256));
    t.show("get_value", String::from_utf8_lossy(&buffer[..5]));
    t.call("get_size", sys!(SYS_getxattr, c"file", c"user.one", 0, 0));
    t.call("get_small", sys!(SYS_getxattr, c"file", c"user.one", &mut buffer, 2));
    t.call("get_missing", sys!(SYS_getxattr, c"file", c"user.two", &mut buffer, 256));
    t.call("get_fault", sys!(SYS_getxattr, c"file", c"user.one", NOWHERE, 256));
    t.call("get_unknown_space", sys!(SYS_getxattr, c"file", c"nonsense.x", &mut buffer, 256));
    t.call("set_unknown_space", sys!(SYS_setxattr, c"file", c"nonsense.x", b"v", 1, 0));
    t.call("set_empty_name", sys!(SYS_setxattr, c"file", c"", b"v", 1, 0));
    t.call("set_bare_prefix", sys!(SYS_setxattr, c"file", c"user.", b"v", 1, 0));
    t.call("set_long_name", sys!(SYS_setxattr, c"file", long_name(256).as_c_str(), b"v", 1, 0));
    t.call("set_create_exists", sys!(SYS_setxattr, c"file", c"user.one", b"v", 1, XATTR_CREATE));
    t.call("set_replace_missing", sys!(SYS_setxattr, c"file", c"user.two", b"v", 1, XATTR_REPLACE));
    t.call("set_bad_flag", sys!(SYS_setxattr, c"file", c"user.two", b"v", 1, 4));
    t.call("set_too_big", sys!(SYS_setxattr, c"file", c"user.two", b"v", 65537, 0));
    t.call("set_empty_value", sys!(SYS_setxattr, c"file", c"user.two", 0, 0, 0));
    t.call("get_empty_value", sys!(SYS_getxattr, c"file", c"user.two", &mut buffer, 256));
    t.call("list_size", sys!(SYS_listxattr, c"file", 0, 0));
    let length = sys!(SYS_listxattr, c"file", &mut buffer, 256).unwrap_or(0);
    let mut names: Vec<_> = buffer[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    names.sort();
    t.show("list", names.join(" "));
    t.call("list_small", sys!(SYS_listxattr, c"file", &mut buffer, 3));
    t.call("remove", sys!(SYS_removexattr, c"file", c"user.one"));
    t.call("remove_again", sys!(SYS_removexattr, c"file", c"user.one"));
    t.call("trusted_set", sys!(SYS_setxattr, c"file", c"trusted.t", b"v", 1, 0));
    t.call("trusted_get", sys!(SYS_getxattr, c"file", c"trusted.t", &mut buffer, 256));
    let fd = must_open(c"file", O_RDONLY);
    t.call("fset", sys!(SYS_fsetxattr, fd, c"user.f", b"abc", 3, 0));
    t.call("fget", sys!(SYS_fgetxattr, fd, c"user.f", &mut buffer, 256));
    t.call("flist", sys!(SYS_flistxattr, fd, 0, 0));
    t.call("fremove", sys!(SYS_fremovexattr, fd, c"user.f"));
    close(fd);
    t.call("fget_closed", sys!(SYS_fgetxattr, CLOSED, c"user.f", &mut buffer, 256));
    sys!(SYS_symlink, c"file", c"link").expect("a link");
    t.call("lset_on_link", sys!(SYS_lsetxattr, c"link", c"user.l", b"v", 1, 0));
    t.call("lget_on_link", sys!(SYS_lgetxattr, c"link", c"user.two", &mut buffer, 256));
    t.call("get_follows_link", sys!(SYS_getxattr, c"link", c"user.two", &mut buffer, 256));
    t.call("device_user", sys!(SYS_setxattr, c"/dev/null", c"user.x", b"v", 1, 0));
}
