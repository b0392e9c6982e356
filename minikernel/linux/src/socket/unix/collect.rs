//! Finding sockets that keep only each other: each waits in the queue of one of them, and no descriptor leads to any.
//!
//! A file all of whose owners are messages on their way can only come back to a program by being received. It is lost if all those messages lie in
//! the queues of sockets that are lost, too. So: of the sockets that no descriptor refers to, those with a message elsewhere can be reached, and
//! whatever lies in their queues; the rest is emptied, and goes.
//!
//! All this happens with the list of sockets in flight locked. A message enters and leaves that list before it enters, and after it has left, a
//! queue; so what is between the two counts as reachable, and nobody can come to hold a socket that was found to be lost.

use alloc::vec::Vec;

use super::UnixSocket;
use super::rights::{GRAPH, Graph, Rights, index_of};

/// Searches after each socket that is closed, as long as few are in flight; else after one closed for so many in flight.
const SEARCH_SHARE: usize = 8;

/// A socket was closed: what it kept may be a circle now.
pub(super) fn after_close() {
    let mut graph = GRAPH.lock();
    if graph.sockets.is_empty() {
        return;
    }
    graph.closed += 1;
    if graph.closed * SEARCH_SHARE < graph.sockets.len() {
        return;
    }
    graph.closed = 0;
    let lost = graph.take_lost();
    // Closing takes the lock.
    drop(graph);
    drop(lost);
}

impl Graph {
    /// Empties the queues of all sockets that are lost. Without memory, of none.
    fn take_lost(&mut self) -> Vec<Rights> {
        let mut taken = Vec::new();
        let mut candidates = false;
        for entry in &mut self.sockets {
            entry.inner = 0;
            entry.reachable = entry.file.strong_count() > entry.count;
            candidates |= !entry.reachable;
        }
        let mut next = Vec::new();
        if !candidates || next.try_reserve_exact(self.sockets.len()).is_err() {
            return taken;
        }
        for index in 0..self.sockets.len() {
            if !self.sockets[index].reachable {
                self.for_each_held(index, &mut |graph, held| graph.sockets[held].inner += 1);
            }
        }
        // Those that a descriptor refers to are not gone through: what they hold is more than `inner` says.
        for (index, entry) in self.sockets.iter_mut().enumerate() {
            if !entry.reachable && entry.count > entry.inner {
                entry.reachable = true;
                next.push(index);
            }
        }
        while let Some(index) = next.pop() {
            self.for_each_held(index, &mut |graph, held| {
                if !graph.sockets[held].reachable {
                    graph.sockets[held].reachable = true;
                    next.push(held);
                }
            });
        }
        for entry in self.sockets.iter().filter(|entry| !entry.reachable) {
            entry.socket.take_rights(&mut taken);
        }
        taken
    }

    /// Calls `visit` for each socket in flight that waits in the queues of the one at `index`.
    fn for_each_held(&mut self, index: usize, visit: &mut dyn FnMut(&mut Self, usize)) {
        let socket = alloc::sync::Arc::clone(&self.sockets[index].socket);
        socket.for_each_file(&mut |file| {
            if let Some(held) = UnixSocket::of(file).and_then(index_of) {
                visit(self, held);
            }
        });
    }
}
