//! From the machine to the first process, and from its end to power-off.

use alloc::string::String;
use alloc::sync::Arc;

use isopod_drivers::{Devices, probe};
use isopod_fs::Errno;
use isopod_hal::boot::BootInfo;
use isopod_hal::{clock, cpu, log, panic, power, timer};
use isopod_linux::host;
use isopod_linux::kernel::{self, Kernel};
use isopod_linux::socket::vsock;
use isopod_linux::wait::retry;
use isopod_linux::{dev, process, sched, syscall};
use isopod_manifest::channel::Kind;
use isopod_manifest::{Channel, Manifest};

use crate::network::{self, Cards};
use crate::{manifest, root};

/// The exit status of Isopod's own errors, as container engines have it.
const OWN_ERROR: u8 = 125;

/// The kernel's main function.
pub fn start(boot: &'static BootInfo) -> ! {
    panic::set_hook(last_words);
    timer::set_handler(sched::timer_interrupt);
    let manifest = match manifest::find(boot) {
        Ok(manifest) => manifest,
        Err(reason) => {
            log!("isopod: {reason}");
            power::off(OWN_ERROR)
        }
    };
    let mut cards = Cards::new();
    let devices = probe(boot, &mut |card| cards.push(card));
    let cpus = devices.cpus.min(cpu::MOST);
    if cpus > 1 && cpu::start_others(cpus, sched::run).is_err() {
        log!("isopod: no memory for {cpus} processors");
    }
    host::connect(devices.consoles.first().cloned(), manifest.channel == Channel::Framed, manifest.stdin);
    log::set_sink(host::log);
    sched::spawn(async move {
        let status = match run(boot, manifest, devices, cards, cpus).await {
            Ok(status) => status,
            Err(reason) => {
                log!("isopod: {reason}");
                OWN_ERROR
            }
        };
        end(status).await;
    });
    sched::run()
}

/// Mounts the root and runs the manifest's command; its exit status, or what stands in the way and what to do about it.
async fn run(
    boot: &'static BootInfo,
    mut manifest: Manifest,
    mut devices: Devices,
    cards: Cards,
    cpus: usize,
) -> Result<u8, String> {
    let root = root::mount(manifest.root, boot, &mut devices.disks).await?;
    let mut place = "/dev";
    let namespace = retry(|| dev::namespace(Arc::clone(&root.files), &mut place)).await;
    kernel::install(Kernel {
        namespace: namespace.map_err(|errno| {
            let hint = match errno {
                Errno::EEXIST | Errno::ENOTDIR => {
                    "hint: the image has something else in its place: build it again without"
                }
                _ => root::DAMAGED,
            };
            alloc::format!("cannot mount {place}: {errno}\n{hint}")
        })?,
        page_cache: root.page_cache,
        random: devices.random,
        log: host::log,
        hostname: manifest.hostname.clone().into_bytes(),
        command_line: boot.command_line,
        trace: manifest.trace,
    });
    network::prepare(cards, cpus, &manifest).await;
    if let Some(device) = devices.socket {
        vsock::link::begin_with(device);
    }
    let Some(host) = host::current() else {
        return Err("the host was not reached\nhint: give the VM a serial line or a virtio console".into());
    };
    all_running(cpus).await;
    let first = process::start_first(&mut manifest, host).await.map_err(|error| alloc::format!("{error}"))?;
    if let Some(disk) = root.disk {
        root::watch(disk);
    }
    first.ended.until(|| first.status()).await;
    if manifest.trace {
        host::log(syscall::unknown_calls().as_bytes());
    }
    Ok(first.status().map_or(OWN_ERROR, process::ExitStatus::code))
}

/// Waits until all processors run that were started: programs ask how many there are when they start. Some may never come.
async fn all_running(cpus: usize) {
    /// Nanoseconds between two looks, and until the processors are called once more, and until they are given up.
    const LOOK: u64 = 50_000;
    const CALL: u64 = 10_000_000;
    const PATIENCE: u64 = 1_000_000_000;
    let begin = clock::monotonic_ns();
    let mut called = false;
    while cpu::count() < cpus {
        let waited = clock::monotonic_ns() - begin;
        if waited > PATIENCE {
            log!("isopod: {} of {cpus} processors run", cpu::count());
            return;
        }
        if waited > CALL && !called {
            called = true;
            cpu::call_others();
        }
        sched::sleep_until(clock::monotonic_ns() + LOOK).await;
    }
}

/// Tells the host how it ended, waits until it knows, and switches the machine off.
async fn end(status: u8) {
    if let Some(host) = host::current() {
        let sent = host.send(Kind::Exit, &[status]);
        host.drained().await;
        if !sent {
            host.send_polled(Kind::Exit, &[status]);
        }
    }
    power::off(status)
}

/// What a bug of the kernel ends with.
fn last_words(report: &[u8]) -> ! {
    match host::current() {
        Some(host) => {
            host.send_polled(Kind::Log, report);
            host.send_polled(Kind::Exit, &[OWN_ERROR]);
        }
        None => log::emergency(report),
    }
    power::off(OWN_ERROR)
}
