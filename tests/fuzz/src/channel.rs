//! The control channel from both ends: what a guest says to its host, and a host to its guest.

use isopod::engine::Conversation;
use isopod_linux::fuzzing;

/// How many events the host saw, and bytes of input the guest.
pub fn run(data: &[u8]) -> usize {
    let mut events = 0;
    // In pieces of all sizes, which must not matter.
    for piece in [data.len().max(1), 512, 7, 1] {
        let mut conversation = Conversation::default();
        let mut seen = 0;
        for part in data.chunks(piece) {
            if conversation.receive(part, |_| seen += 1).is_err() {
                break;
            }
            let room = conversation.stdin_room();
            conversation.stdin(&vec![0; room.min(10)]);
            conversation.sent(conversation.outgoing().len());
        }
        if piece == data.len().max(1) {
            events = seen;
        }
        assert_eq!(events, seen, "in pieces of {piece}");
    }
    let heard = fuzzing::hear(data);
    assert!(heard <= data.len());
    events + heard
}
