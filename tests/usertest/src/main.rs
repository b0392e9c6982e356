//! Small cases of what Linux answers to a program, each printed as one line `group.case: result`.
//!
//! The program decides nothing: it prints what the kernel said, in words that are the same on every run. Run on Linux
//! it makes the yardstick, run in a guest its output must be equal, byte for byte. It makes its system calls
//! itself, without the C library between, so that what is seen is the kernel's answer.
//!
//! `usertest` runs all groups, `usertest NAME..` the groups named, `usertest --list` names them. It works in a new
//! folder below `$TMPDIR` or `/tmp`, expects to be root, and needs no network and no other process; on Linux it makes itself a network of its own.
//! `usertest --tree FOLDER` describes every file in a folder instead, `usertest --fuzz SEED MILLISECONDS` makes random
//! calls ([`fuzz`]).

// First, so that the macro `sys!` is known to the others.
#[macro_use]
mod sys;

mod cases;
mod fuzz;
mod network;
mod report;
mod tree;

use report::Report;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == cases::exec::MARK) {
        return cases::exec::after(&mut Report::new("exec"), &arguments[1..]);
    }
    if let [option, case] = arguments.as_slice()
        && option == cases::capabilities::MARK
    {
        return cases::capabilities::after(case);
    }
    if arguments == ["--probe"] {
        return cases::seccomp::after();
    }
    if arguments.first().is_some_and(|word| word == "--list") {
        for (name, _) in cases::GROUPS {
            println!("{name}");
        }
        return;
    }
    if let [option, folder] = arguments.as_slice()
        && option == "--tree"
    {
        return tree::print(folder);
    }
    if let [option, seed, milliseconds] = arguments.as_slice()
        && option == "--fuzz"
    {
        let number = |word: &String| word.parse().expect("a number");
        std::process::exit(fuzz::run(number(seed), number(milliseconds)));
    }
    // Descriptors that a starter left open would shift the numbers that cases print.
    let _ = sys!(SYS_close_range, 3, u32::MAX, 0);
    network::isolate();
    let directory = enter_new_directory();
    let _ = sys!(SYS_umask, 0o022);
    for (name, run) in cases::GROUPS {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            std::fs::create_dir(directory.join(name)).expect("a new folder can be made for each group");
            std::env::set_current_dir(directory.join(name)).expect("the folder is there");
            // What a group stands on may be missing; the others are asked all the same.
            if std::panic::catch_unwind(|| run(&mut Report::new(name))).is_err() {
                Report::new(name).show("end", "broke off");
            }
        }
    }
    std::env::set_current_dir("/").expect("the root is there");
    let _ = std::fs::remove_dir_all(&directory);
    // Last, because it replaces the program.
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "exec") {
        cases::exec::replace();
    }
}

/// A folder of this run's own, made and entered.
fn enter_new_directory() -> std::path::PathBuf {
    let parent = std::env::temp_dir();
    let directory = parent.join(format!("usertest-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", directory.display()));
    std::env::set_current_dir(&directory).expect("the folder is there");
    directory
}
