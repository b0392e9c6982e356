//! The vDSO: code of the kernel that runs in the program, to tell the time without a system call (`vdso(7)`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_hal::frame::Frame;
use isopod_hal::paging::Access;
use isopod_hal::sync::Once;
use isopod_hal::{OutOfMemory, PAGE_SIZE, clock, vdso};

use crate::mm::{AddressSpace, Backing, MapRequest, Placement, VmaFlags};

/// The pages that every program maps: first the data, then the code.
struct Pages {
    data: Arc<[Frame]>,
    code: Arc<[Frame]>,
}

static PAGES: Once<Pages> = Once::new();

/// Maps the vDSO; returns where its ELF header is.
pub fn map(space: &AddressSpace) -> Result<usize, Errno> {
    let pages = pages().map_err(|_| Errno::ENOMEM)?;
    let at = space.find_room((pages.data.len() + pages.code.len()) * PAGE_SIZE)?;
    let code = at + pages.data.len() * PAGE_SIZE;
    place(space, at, &pages.data, Access::READ, "[vvar]")?;
    place(space, code, &pages.code, Access::READ | Access::EXEC, "[vdso]")?;
    Ok(code)
}

fn place(
    space: &AddressSpace,
    at: usize,
    frames: &Arc<[Frame]>,
    access: Access,
    name: &'static str,
) -> Result<(), Errno> {
    space.map(MapRequest {
        placement: Placement::Fixed(at),
        length: frames.len() * PAGE_SIZE,
        access,
        max_access: access,
        flags: VmaFlags::empty(),
        backing: Backing::Kernel { frames: Arc::clone(frames), first: 0, name },
    })?;
    Ok(())
}

fn pages() -> Result<&'static Pages, OutOfMemory> {
    if let Some(pages) = PAGES.get() {
        return Ok(pages);
    }
    let data = Frame::zeroed()?;
    let mut code = Vec::new();
    for part in vdso::IMAGE.chunks(PAGE_SIZE) {
        let frame = Frame::zeroed()?;
        frame.write(0, part);
        code.push(frame);
    }
    Ok(PAGES.get_or_init(|| {
        clock::publish(data.clone(), 0);
        Pages { data: Arc::new([data]), code: code.into() }
    }))
}
