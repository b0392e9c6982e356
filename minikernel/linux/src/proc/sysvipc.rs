//! `/proc/sysvipc`: `proc_sysvipc(5)`.

use isopod_fs::Result;
use isopod_hal::PAGE_SIZE;

use super::table::{Row, put};
use super::text::Text;
use crate::ipc::sysv::memory::SEGMENTS;
use crate::ipc::sysv::messages::QUEUES;
use crate::ipc::sysv::semaphores::SETS;

pub(super) static SYSVIPC: [Row; 3] = [
    Row::thread("msg", |_, text| messages(text)),
    Row::thread("sem", |_, text| semaphores(text)),
    Row::thread("shm", |_, text| shared_memory(text)),
];

fn messages(text: &mut Text) -> Result<()> {
    text.put(b"       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n");
    for object in QUEUES.all()? {
        let state = object.lock();
        let (of, body) = (&state.permission, &state.body);
        put!(text, "{:10} {:10}  {:4o}  {:10} {:10} ", of.key, object.id, of.mode, body.bytes, body.count());
        put!(text, "{:5} {:5} {:5} {:5} {:5} ", body.pids[0], body.pids[1], of.uid, of.gid, of.creator_uid);
        let [sent, received, changed] = body.times;
        put!(text, "{:5} {sent:10} {received:10} {changed:10}\n", of.creator_gid);
    }
    Ok(())
}

fn semaphores(text: &mut Text) -> Result<()> {
    text.put(b"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n");
    for object in SETS.all()? {
        let state = object.lock();
        let (of, body) = (&state.permission, &state.body);
        put!(text, "{:10} {:10}  {:4o} {:10} ", of.key, object.id, of.mode, body.semaphores.len());
        let [operated, changed] = body.times;
        put!(text, "{:5} {:5} {:5} {:5} ", of.uid, of.gid, of.creator_uid, of.creator_gid);
        put!(text, "{operated:10} {changed:10}\n");
    }
    Ok(())
}

fn shared_memory(text: &mut Text) -> Result<()> {
    text.put(b"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n");
    for object in SEGMENTS.all()? {
        let state = object.lock();
        let (of, body) = (&state.permission, &state.body);
        put!(text, "{:10} {:10}  {:4o} {:21} {:5} ", of.key, object.id, of.mode, body.size, body.creator);
        put!(text, "{:5}  {:5} {:5} {:5} ", body.last, body.attached, of.uid, of.gid);
        let ([attached, detached, changed], swapped) = (body.times, 0);
        put!(text, "{:5} {:5} {attached:10} {detached:10} {changed:10} ", of.creator_uid, of.creator_gid);
        put!(text, "{:21} {swapped:21}\n", body.resident() * PAGE_SIZE as u64);
    }
    Ok(())
}
