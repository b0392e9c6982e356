//! The rules are compared with what Docker does.

use super::*;

fn text(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn image(entrypoint: &[&str], cmd: &[&str]) -> RootInfo {
    RootInfo {
        source: "image".to_owned(),
        config: ImageConfig { entrypoint: text(entrypoint), cmd: text(cmd), ..ImageConfig::default() },
        passwd: b"root:x:0:0::/root:\nwww:x:33:33::/var/www:\n".to_vec(),
        group: b"www:x:33:\nadm:x:4:www\n".to_vec(),
    }
}

/// The arguments after `overrides`, joined.
fn args_of(root: &RootInfo, overrides: &Overrides) -> String {
    let args = decide(root, overrides).unwrap().args;
    String::from_utf8(args.join(&b' ')).unwrap()
}

fn decide(root: &RootInfo, overrides: &Overrides) -> Result<Manifest, CommandError> {
    let mut root = root.clone();
    overrides.apply(&mut root.config)?;
    manifest(&root, &Session::default())
}

#[test]
fn entrypoint_and_command_combine_as_in_docker() {
    let root = image(&["/e", "x"], &["c", "d"]);
    let command = Overrides { command: text(&["f"]), ..Overrides::default() };
    let entrypoint = Overrides { entrypoint: Some("/o".to_owned()), ..Overrides::default() };
    let both = Overrides { command: text(&["f"]), ..entrypoint.clone() };
    let none = Overrides { entrypoint: Some(String::new()), ..command.clone() };
    assert_eq!(args_of(&root, &Overrides::default()), "/e x c d");
    assert_eq!(args_of(&root, &command), "/e x f");
    assert_eq!(args_of(&root, &entrypoint), "/o");
    assert_eq!(args_of(&root, &both), "/o f");
    assert_eq!(args_of(&root, &none), "f");
    assert_eq!(args_of(&image(&[], &[]), &none), "f");
    assert!(matches!(decide(&image(&[], &[]), &Overrides::default()), Err(CommandError::Nothing(_))));
}

#[test]
fn the_environment_is_the_images_with_defaults_below_and_the_users_above() {
    let mut root = image(&["/e"], &[]);
    root.config.env = text(&["A=image", "HOME=/h", "B=x=y", "ODD"]);
    let overrides = Overrides {
        env: vec![("A".into(), Some("user".into())), ("B".into(), None), ("C".into(), Some("new".into()))],
        ..Overrides::default()
    };
    let env = decide(&root, &overrides).unwrap().env;
    let expected = format!("PATH={DEFAULT_PATH} HOSTNAME=isopod HOME=/h A=user ODD= C=new");
    assert_eq!(String::from_utf8(env.join(&b' ')).unwrap(), expected);
    let env = environment(&[], "name", "/root", true);
    let expected = format!("PATH={DEFAULT_PATH} HOSTNAME=name HOME=/root TERM=xterm");
    assert_eq!(String::from_utf8(env.join(&b' ')).unwrap(), expected);
}

#[test]
fn user_directory_signal_and_ports_are_the_images_until_overridden() {
    let mut root = image(&["/e"], &[]);
    root.config.user = "www".to_owned();
    root.config.working_dir = "srv".to_owned();
    root.config.stop_signal = Some("SIGQUIT".to_owned());
    root.config.volumes = text(&["/data/", "/data", "/a"]);
    root.config.exposed_ports = text(&["53/udp", "80", "8000-8001/tcp", "80/tcp"]);
    let manifest = decide(&root, &Overrides::default()).unwrap();
    assert_eq!((manifest.user.uid, manifest.user.gid), (33, 33));
    assert_eq!(manifest.working_dir, b"/srv");
    assert_eq!(manifest.stop_signal, 3);
    assert_eq!(manifest.volumes, [b"/a".to_vec(), b"/data".to_vec()]);
    let numbers: Vec<_> = manifest.ports.iter().map(|port| port.number).collect();
    assert_eq!(numbers, [53, 80, 8000, 8001]);
    assert!(manifest.env.contains(&b"HOME=/var/www".to_vec()));

    let overrides = Overrides {
        user: Some("0:adm".to_owned()),
        working_dir: Some("/w".to_owned()),
        stop_signal: Some("9".to_owned()),
        ..Overrides::default()
    };
    let manifest = decide(&root, &overrides).unwrap();
    assert_eq!((manifest.user.uid, manifest.user.gid, manifest.stop_signal), (0, 4, 9));
}

#[test]
fn settings_that_cannot_be_obeyed_are_named() {
    let mut root = image(&["/e"], &[]);
    let error = |root: &RootInfo, overrides: Overrides| decide(root, &overrides).unwrap_err();
    let with = Overrides { working_dir: Some("w".to_owned()), ..Overrides::default() };
    assert!(matches!(error(&root, with), CommandError::WorkingDir(_)));
    let with = Overrides { stop_signal: Some("SIGFOO".to_owned()), ..Overrides::default() };
    assert!(matches!(error(&root, with), CommandError::Signal(_)));
    let with = Overrides { command: text(&["a\0b"]), ..Overrides::default() };
    assert!(matches!(error(&root, with), CommandError::Nul("the command")));
    for port in ["0", "80/xyz", "9-8", "http", "65536", "", "-"] {
        root.config.exposed_ports = text(&[port]);
        assert!(matches!(error(&root, Overrides::default()), CommandError::Port(_)), "{port}");
    }
}

#[test]
fn directories_that_no_system_call_takes_are_refused() {
    let mut root = image(&["/e"], &[]);
    root.config.working_dir = "/d".repeat(2048);
    let error = manifest(&root, &Session::default()).unwrap_err();
    assert!(matches!(error, CommandError::DirTooLong("the working directory")), "{error}");
    root.config.working_dir.pop();
    assert!(manifest(&root, &Session::default()).is_ok());
}

#[test]
fn of_several_variables_of_one_name_the_last_counts_and_the_users_above_all() {
    let mut root = image(&["/e"], &[]);
    root.config.env = text(&["A=1", "B=1", "A=2"]);
    let env = |root: &RootInfo, env: &[(&str, Option<&str>)]| {
        let env = env.iter().map(|&(name, value)| (name.to_owned(), value.map(str::to_owned))).collect();
        let mut config = root.config.clone();
        Overrides { env, ..Overrides::default() }.apply(&mut config).unwrap();
        config.env.join(" ")
    };
    assert_eq!(env(&root, &[("C", Some("1"))]), "A=2 B=1 C=1");
    assert_eq!(env(&root, &[("A", Some("3")), ("B", None)]), "A=3");
    assert_eq!(env(&root, &[("A", None), ("A", Some("4")), ("A", Some("5"))]), "B=1 A=5");
}

/// Linux's own limits, so that it is told here and not by a guest that cannot start its program.
#[test]
fn more_than_execve_takes_is_refused() {
    let with = |args: &[String], env: Vec<String>| {
        let mut root = image(&["/e"], &[]);
        root.config.cmd = args.to_vec();
        root.config.env = env;
        manifest(&root, &Session::default())
    };
    let variables = |count: usize| (0..count).map(|n| format!("V{n:06}=x")).collect::<Vec<_>>();
    // 10 bytes, a pointer of 8; the program and Docker's own variables take some, too.
    let fitting = STRINGS_MAX / 18 - 10;
    assert!(with(&[], variables(fitting)).is_ok());
    let error = with(&[], variables(fitting + 10)).unwrap_err();
    assert!(matches!(error, CommandError::ListTooLong { list: "the environment", .. }), "{error}");
    let error = with(&vec!["x".repeat(1000); 2100], variables(10)).unwrap_err();
    assert!(matches!(error, CommandError::ListTooLong { list: "the command", .. }), "{error}");
    let argument = |length: usize| with(&["x".repeat(length)], Vec::new());
    assert!(argument(STRING_MAX - 1).is_ok());
    let error = argument(STRING_MAX).unwrap_err().to_string();
    assert!(
        error.starts_with("the command is too long: `xxxxxxxxxxxxxxxxxxxx..` takes 131073 bytes"),
        "{error}"
    );
    let error = with(&[], vec![format!("A={}", "x".repeat(STRING_MAX))]).unwrap_err();
    assert!(matches!(error, CommandError::StringTooLong { list: "the environment", .. }), "{error}");
}

/// Twice the variables take twice the time, not four times: with a search for each this takes minutes.
#[test]
fn very_many_variables_are_merged_at_once() {
    let mut config =
        ImageConfig { env: (0..300_000).map(|n| format!("V{n}=x")).collect(), ..ImageConfig::default() };
    let env = (0..300_000).map(|n| (format!("V{}", n + 150_000), Some("y".to_owned()))).collect();
    Overrides { env, ..Overrides::default() }.apply(&mut config).unwrap();
    assert_eq!(config.env.len(), 450_000);
}
