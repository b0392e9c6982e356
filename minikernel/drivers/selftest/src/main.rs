//! A kernel whose only purpose is to try the drivers. `tests/qemu` builds it, boots it on several machines, and reads
//! what it prints on the serial port and the first console. The command line says what to try:
//!
//! - `probe`: finds and starts the devices, to count the accesses that this takes.
//! - `all`: uses them all. The last line is `self test passed`.
#![cfg_attr(isopod_bare, no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(isopod_bare)]
extern crate alloc;

#[cfg(isopod_bare)]
mod bare {
    use alloc::vec::Vec;

    use isopod_drivers::block::{Block, BlockError, BlockRequest, SECTOR_SIZE};
    use isopod_drivers::console::CharDevice;
    use isopod_drivers::{Devices, probe};
    use isopod_hal::boot::BootInfo;
    use isopod_hal::frame::Frame;
    use isopod_hal::{PAGE_SIZE, irq, log, power};

    isopod_hal::entry!(kmain);

    const SECTORS_PER_PAGE: usize = PAGE_SIZE / SECTOR_SIZE as usize;

    fn kmain(boot: &'static BootInfo) -> ! {
        let mut devices = probe(boot, &mut drop);
        if boot.command_line.starts_with(b"all") {
            devices.disks.look();
        }
        let Devices { disks, consoles, random_sources, .. } = &devices;
        let blocks = disks.known();
        log!("{} disks, {} consoles, {} sources", blocks.len(), consoles.len(), random_sources.len());
        if boot.command_line.starts_with(b"all") {
            for disk in blocks {
                try_disk(&**disk);
            }
            while !random_sources.is_empty() && !devices.random.is_seeded() {
                wait();
            }
            assert_ne!(devices.random.next_u64(), devices.random.next_u64());
            for (number, console) in consoles.iter().enumerate() {
                print(&**console, alloc::format!("console {number}\n").as_bytes());
            }
            if let Some(console) = consoles.first() {
                echo(&**console);
            }
            log!("self test passed");
        }
        power::off(0)
    }

    fn wait() {
        if let Some(vector) = irq::wait_for_interrupt() {
            irq::dispatch(vector);
        }
    }

    fn finish(request: &BlockRequest) {
        while request.result().is_none() {
            wait();
        }
        assert_eq!(request.result(), Some(Ok(())));
    }

    fn frames(count: usize) -> Vec<Frame> {
        (0..count).map(|_| Frame::zeroed().expect("memory")).collect()
    }

    /// Whether a page holds sectors that begin with their own number, from `first` on, up to the end of the disk.
    fn holds_sectors(page: &Frame, first: usize, end: usize) -> bool {
        (0..SECTORS_PER_PAGE).all(|index| {
            let expected = if first + index < end { first + index } else { 0 };
            page.read_array(index * SECTOR_SIZE as usize) == (expected as u32).to_le_bytes()
        })
    }

    /// The disk's sectors begin with their numbers. Reads them in many requests at once, of one to seven pages; a disk
    /// that may be written is written, flushed and read back.
    fn try_disk(disk: &dyn Block) {
        let end = (disk.size() / SECTOR_SIZE) as usize;
        let requests: Vec<_> = (0..200)
            .map(|index| index * 37 % end)
            .map(|sector| (sector, disk.read(sector as u64, &frames(sector % 7 + 1)).expect("a request")))
            .collect();
        for (sector, request) in &requests {
            finish(request);
            for (index, page) in request.pages().iter().enumerate() {
                assert!(holds_sectors(page, sector + index * SECTORS_PER_PAGE, end), "sector {sector}");
            }
        }
        assert_eq!(disk.read(end as u64, &frames(1)).err(), Some(BlockError::OutOfRange));
        let pages = frames(200);
        if disk.read_only() {
            assert_eq!(disk.write(0, &pages).err(), Some(BlockError::ReadOnly));
        } else {
            for (index, page) in pages.iter().enumerate() {
                page.write(0, &[index as u8 ^ 0x5a; PAGE_SIZE]);
            }
            finish(&disk.write(0, &pages).expect("a request"));
            finish(&disk.flush().expect("a request"));
            let request = disk.read(0, &frames(200)).expect("a request");
            finish(&request);
            let same = |(index, page): (usize, &Frame)| page.read_array(4092) == [index as u8 ^ 0x5a; 4];
            assert!(request.pages().iter().enumerate().all(same));
        }
        log!("disk of {} bytes, read-only: {}", disk.size(), disk.read_only());
    }

    fn print(console: &dyn CharDevice, mut text: &[u8]) {
        while !text.is_empty() {
            match console.write(text) {
                0 => wait(),
                len => text = &text[len..],
            }
        }
    }

    /// Returns what is typed, up to and with a `~`.
    fn echo(console: &dyn CharDevice) {
        let mut buffer = [0; 700];
        loop {
            let len = console.read(&mut buffer);
            if len == 0 {
                wait();
            }
            print(console, &buffer[..len]);
            if buffer[..len].contains(&b'~') {
                break;
            }
        }
        console.write_polled(b"last words\n");
    }
}

#[cfg(not(isopod_bare))]
fn main() {}
