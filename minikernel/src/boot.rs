//! From the machine to the first process, and from its end to power-off.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use isopod_drivers::{Devices, probe};
use isopod_hal::boot::BootInfo;
use isopod_hal::sync::Once;
use isopod_hal::{log, panic, power, timer};
use isopod_linux::host::{self, Host, Nobody};
use isopod_linux::kernel::{self, Kernel};
use isopod_linux::{dev, process, sched};
use isopod_manifest::channel::Kind;
use isopod_manifest::{Channel, Manifest};

use crate::{manifest, root};

/// The exit status of Isopod's own errors, as container engines have it.
const OWN_ERROR: u8 = 125;

/// The way to the host, for last words.
static HOST: Once<Arc<dyn Host>> = Once::new();

/// The kernel's main function.
pub fn start(boot: &'static BootInfo) -> ! {
    panic::set_hook(last_words);
    timer::set_handler(sched::expire);
    let manifest = match manifest::find(boot) {
        Ok(manifest) => manifest,
        Err(reason) => {
            log!("isopod: {reason}");
            power::off(OWN_ERROR)
        }
    };
    let devices = probe(boot);
    let host = reach_host(&manifest, &devices);
    HOST.get_or_init(|| host);
    log::set_sink(|text| to_host(Kind::Log, text));
    sched::spawn(async move {
        let status = match run(boot, manifest, devices).await {
            Ok(status) => status,
            Err(reason) => {
                log!("isopod: {reason}");
                OWN_ERROR
            }
        };
        end(status)
    });
    sched::run()
}

/// Connects to the console there is.
fn reach_host(manifest: &Manifest, devices: &Devices) -> Arc<dyn Host> {
    match devices.consoles.first() {
        Some(console) => host::connect(Arc::clone(console), manifest.channel == Channel::Framed, manifest.stdin),
        None => Arc::new(Nobody::default()),
    }
}

fn host() -> Option<&'static Arc<dyn Host>> {
    HOST.get()
}

fn to_host(kind: Kind, bytes: &[u8]) {
    if let Some(host) = host() {
        host.send(kind, bytes);
    }
}

/// Mounts the root and runs the manifest's command; its exit status, or what stands in the way.
async fn run(boot: &'static BootInfo, manifest: Manifest, devices: Devices) -> Result<u8, String> {
    let root = root::mount(manifest.root, boot, &devices.blocks).await?;
    let random = Arc::clone(&devices.random);
    kernel::install(Kernel {
        namespace: dev::namespace(root),
        random: Box::new(move |bytes| random.fill(bytes)),
        log: Box::new(|text| to_host(Kind::Log, text)),
        hostname: manifest.hostname.clone().into_bytes(),
        trace: manifest.trace,
    });
    let Some(host) = host() else { return Err("the host was not reached".into()) };
    let first = process::start_first(&manifest, host).await.map_err(|error| alloc::format!("{error}"))?;
    first.ended.until(|| first.status()).await;
    Ok(first.status().map_or(OWN_ERROR, process::ExitStatus::code))
}

/// Tells the host how it ended, and switches the machine off.
fn end(status: u8) -> ! {
    if let Some(host) = host() {
        host.send_polled(Kind::Exit, &[status]);
    }
    power::off(status)
}

/// What a bug of the kernel ends with.
fn last_words(report: &[u8]) -> ! {
    match host() {
        Some(host) => host.send_polled(Kind::Log, report),
        None => log::emergency(report),
    }
    end(OWN_ERROR)
}
