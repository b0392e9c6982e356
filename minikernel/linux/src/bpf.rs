//! Classic BPF over system calls and packets: what may be loaded, and how it runs (`net/core/filter.c`, `kernel/seccomp.c`).

use alloc::vec::Vec;

use isopod_fs::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Words of scratch memory (`BPF_MEMWORDS`).
const CELLS: usize = 16;

/// `struct sock_filter`
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many to skip if the comparison holds.
    pub jump_true: u8,
    /// How many to skip if it does not.
    pub jump_false: u8,
    /// The operand.
    pub k: u32,
}

/// What a program looks at.
pub trait Subject {
    /// The number of `size` bytes at a place. `None` if there is nothing: the program ends with 0.
    fn load(&self, place: u32, size: usize) -> Option<u32>;

    /// How many bytes there are.
    fn length(&self) -> u32;
}

/// What programs are for, and so what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// System calls, of which there are words at multiples of four, and so many bytes (`seccomp_check_filter`).
    Calls(u32),
    /// Packets (`bpf_check_classic`).
    Packets,
}

/// Class of an instruction, the low three bits of its code (`uapi/linux/bpf_common.h`).
mod class {
    pub(super) const LD: u16 = 0;
    pub(super) const LDX: u16 = 1;
    pub(super) const ST: u16 = 2;
    pub(super) const STX: u16 = 3;
    pub(super) const ALU: u16 = 4;
    pub(super) const JMP: u16 = 5;
    pub(super) const RET: u16 = 6;
    pub(super) const MISC: u16 = 7;
}
use class::{ALU, JMP, LD, LDX, MISC, RET, ST, STX};

/// Where the operand is: in `k`, or in the index register.
const X: u16 = 0x08;
/// How a word is loaded.
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const IND: u16 = 0x40;
const MEM: u16 = 0x60;
const LEN: u16 = 0x80;
/// Four times the lower half of a byte: the length of a header of IPv4.
const MSH: u16 = 0xa0;
/// How much is loaded, unless it is a word.
const HALF: u16 = 0x08;
const BYTE: u16 = 0x10;
/// Operations.
const ADD: u16 = 0x00;
const SUB: u16 = 0x10;
const MUL: u16 = 0x20;
const DIV: u16 = 0x30;
const OR: u16 = 0x40;
const AND: u16 = 0x50;
const LSH: u16 = 0x60;
const RSH: u16 = 0x70;
const NEG: u16 = 0x80;
const MOD: u16 = 0x90;
const XOR: u16 = 0xa0;
/// Jumps.
const JA: u16 = 0x00;
const JEQ: u16 = 0x10;
const JGT: u16 = 0x20;
const JGE: u16 = 0x30;
const JSET: u16 = 0x40;
/// The value that is returned is the accumulator.
const RET_A: u16 = RET | 0x10;
const TAX: u16 = MISC;
const TXA: u16 = MISC | 0x80;

/// Places from here on are not in the packet: what else is known of it, its header of IP, its header of the link (`SKF_AD_OFF`, `SKF_NET_OFF`, `SKF_LL_OFF`).
pub const ANCILLARY: u32 = 0u32.wrapping_sub(0x1000);
/// See [`ANCILLARY`].
pub const NETWORK: u32 = 0u32.wrapping_sub(0x10_0000);
/// See [`ANCILLARY`].
pub const LINK: u32 = 0u32.wrapping_sub(0x20_0000);
/// How many ancillary places are known, at the most (`SKF_AD_MAX`).
pub const EXTENSIONS: u32 = 64;
/// The ancillary places are those up to this one, at multiples of four; two of them take both registers, and know nothing here (`SKF_AD_NLATTR`).
const ANCILLARY_MAX: u32 = 60;
/// `SKF_AD_ALU_XOR_X`, which is an operation.
const XOR_X: u32 = ANCILLARY + 40;

/// A program that has been checked: it ends, jumps only ahead and within itself, and reads no cell that it has not written.
#[derive(Debug)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// The most instructions (`BPF_MAXINSNS`).
    pub const LENGTH_MAX: usize = 4096;

    /// Checks instructions. `EINVAL` for a program that could not run, `ENOMEM`.
    pub fn new(instructions: Vec<Instruction>, to_be: Use) -> Result<Self, Errno> {
        if instructions.is_empty() || instructions.len() > Self::LENGTH_MAX {
            return Err(Errno::EINVAL);
        }
        let sound = instructions
            .iter()
            .enumerate()
            .all(|(at, one)| is_sound(*one, instructions.len() - at - 1, to_be));
        let ends = instructions.last().is_some_and(|last| matches!(last.code, RET | RET_A));
        if !sound || !ends {
            return Err(Errno::EINVAL);
        }
        check_cells(&instructions)?;
        Ok(Self(instructions))
    }

    /// How many instructions it has.
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// The instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// What it returns for a call or a packet.
    pub fn run(&self, data: &dyn Subject) -> u32 {
        let (mut a, mut x, mut cells) = (0u32, 0u32, [0u32; CELLS]);
        let mut at = 0;
        while let Some(&Instruction { code, jump_true, jump_false, k }) = self.0.get(at) {
            at += 1;
            let operand = if code & X != 0 { x } else { k };
            match code & 7 {
                LD | LDX => {
                    let size = match code & (HALF | BYTE) {
                        HALF => 2,
                        BYTE => 1,
                        _ => 4,
                    };
                    let value = match code & 0xe0 {
                        ABS if k == XOR_X => a ^ x,
                        ABS | IND | MSH => {
                            let place = if code & 0xe0 == IND { x.wrapping_add(k) } else { k };
                            match data.load(place, size) {
                                Some(value) if code & 0xe0 == MSH => (value & 0xf) << 2,
                                Some(value) => value,
                                None => return 0,
                            }
                        }
                        MEM => cells[k as usize % CELLS],
                        LEN => data.length(),
                        _ => k,
                    };
                    *(if code & 7 == LD { &mut a } else { &mut x }) = value;
                }
                ST => cells[k as usize % CELLS] = a,
                STX => cells[k as usize % CELLS] = x,
                ALU => match calculate(code & 0xf0, a, operand) {
                    Some(value) => a = value,
                    None => return 0,
                },
                JMP if code & 0xf0 == JA => at += k as usize,
                JMP => {
                    let holds = match code & 0xf0 {
                        JEQ => a == operand,
                        JGT => a > operand,
                        JGE => a >= operand,
                        _ => a & operand != 0,
                    };
                    at += usize::from(if holds { jump_true } else { jump_false });
                }
                RET => return if code == RET_A { a } else { k },
                _ if code == TAX => x = a,
                _ => a = x,
            }
        }
        // The checker has seen that every way ends with a return; nothing is let pass for want of one.
        0
    }
}

/// An operation on the accumulator. Nothing for a division by zero, with which a program ends and returns 0.
fn calculate(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        ADD => a.wrapping_add(operand),
        SUB => a.wrapping_sub(operand),
        MUL => a.wrapping_mul(operand),
        DIV => return a.checked_div(operand),
        MOD => return a.checked_rem(operand),
        OR => a | operand,
        AND => a & operand,
        LSH => a.wrapping_shl(operand),
        RSH => a.wrapping_shr(operand),
        XOR => a ^ operand,
        _ => a.wrapping_neg(),
    })
}

/// Whether the instruction may be in a program for such a use, before `left` others.
fn is_sound(instruction: Instruction, left: usize, to_be: Use) -> bool {
    let Instruction { code, jump_true, jump_false, k } = instruction;
    let left = left as u32;
    match code {
        _ if let (Use::Calls(length), true) = (to_be, code == LD | ABS) => k.is_multiple_of(4) && k < length,
        _ if to_be == Use::Packets && [LD | ABS, LD | ABS | HALF, LD | ABS | BYTE].contains(&code) => {
            k < ANCILLARY || k <= ANCILLARY + ANCILLARY_MAX && k.is_multiple_of(4)
        }
        _ if [LD | IND, LD | IND | HALF, LD | IND | BYTE, LDX | MSH | BYTE].contains(&code) => {
            to_be == Use::Packets
        }
        _ if [LD | MEM, LDX | MEM, ST, STX].contains(&code) => (k as usize) < CELLS,
        _ if code == ALU | DIV => k != 0,
        _ if code & !X == ALU | MOD => to_be == Use::Packets && (k != 0 || code & X != 0),
        _ if code == ALU | LSH || code == ALU | RSH => k < 32,
        _ if code == JMP | JA => k < left,
        _ if code & 7 == JMP => {
            let jumps = [JEQ, JGT, JGE, JSET].contains(&(code & !(7 | X)));
            jumps && u32::from(jump_true) < left && u32::from(jump_false) < left
        }
        _ if code & 7 == ALU => {
            const TWO_OPERANDS: [u16; 9] = [ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, XOR];
            code == ALU | NEG || TWO_OPERANDS.contains(&(code & !(7 | X)))
        }
        _ => [LD | IMM, LDX | IMM, LD | LEN, LDX | LEN, RET, RET_A, TAX, TXA].contains(&code),
    }
}

/// `EINVAL` when a cell may be read that was not written on the way (`check_load_and_stores`). All jumps lead ahead and within the program.
fn check_cells(instructions: &[Instruction]) -> Result<(), Errno> {
    // For each instruction, the cells that are written on every way to it that has been seen so far.
    let mut written = Vec::new();
    written.try_reserve_exact(instructions.len()).map_err(|_| Errno::ENOMEM)?;
    written.resize(instructions.len(), u16::MAX);
    let mut known = 0u16;
    for (at, one) in instructions.iter().enumerate() {
        known &= written[at];
        let cell = 1u16 << (one.k % CELLS as u32);
        match one.code {
            ST | STX => known |= cell,
            _ if [LD | MEM, LDX | MEM].contains(&one.code) && known & cell == 0 => return Err(Errno::EINVAL),
            _ if one.code & 7 == JMP => {
                let skips = match one.code {
                    _ if one.code == JMP | JA => [one.k as usize; 2],
                    _ => [one.jump_true, one.jump_false].map(usize::from),
                };
                for skip in skips {
                    written[at + 1 + skip] &= known;
                }
                known = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use crate::seccomp::CallData;

    const DATA: CallData = CallData {
        number: 39,
        arch: CallData::ARCH,
        instruction_pointer: 0x1_2345_6789,
        arguments: [1, 2, 3, 4, 5, 6],
    };

    fn op(code: u16, k: u32) -> Instruction {
        Instruction { code, jump_true: 0, jump_false: 0, k }
    }

    fn jump(code: u16, k: u32, jump_true: u8, jump_false: u8) -> Instruction {
        Instruction { code, jump_true, jump_false, k }
    }

    fn result(instructions: &[Instruction]) -> Result<u32, Errno> {
        Program::new(instructions.to_vec(), CallData::USE).map(|program| program.run(&DATA))
    }

    #[test]
    fn a_filter_reads_the_call() {
        let of = |offset| result(&[op(LD | ABS, offset), op(RET_A, 0)]);
        assert_eq!([0, 4, 8, 12, 16, 20, 56].map(of), [39, CallData::ARCH, 0x2345_6789, 1, 1, 0, 6].map(Ok));
        assert_eq!([64, 2, !0].map(of), [Err(Errno::EINVAL); 3]);
        assert_eq!(result(&[op(LDX | LEN, 0), op(TXA, 0), op(RET_A, 0)]), Ok(64));
    }

    #[test]
    fn it_calculates_and_compares() {
        let with = |code, a, x| result(&[op(LDX, x), op(LD, a), op(ALU | code | X, 0), op(RET_A, 0)]);
        assert_eq!(with(SUB, 1, 2), Ok(u32::MAX));
        assert_eq!(with(MUL, 1 << 31, 2), Ok(0));
        assert_eq!(with(DIV, 7, 2), Ok(3));
        // A program ends with 0 where it would divide by it; shifts count modulo 32.
        assert_eq!(with(DIV, 7, 0), Ok(0));
        assert_eq!(with(LSH, 3, 33), Ok(6));
        assert_eq!(result(&[op(LD, 5), op(ALU | NEG, 0), op(RET_A, 0)]), Ok(5u32.wrapping_neg()));
        let compared = |code, k| result(&[op(LD, 6), jump(JMP | code, k, 1, 0), op(RET, 1), op(RET, 2)]);
        assert_eq!(
            [compared(JEQ, 6), compared(JEQ, 5), compared(JSET, 1), compared(JSET, 2)],
            [2, 1, 1, 2].map(Ok)
        );
        assert_eq!([compared(JGT, 6), compared(JGE, 6), compared(JGT, 5)], [1, 2, 2].map(Ok));
    }

    #[test]
    fn what_could_go_wrong_is_refused() {
        let end = op(RET, 0);
        for bad in [
            vec![],
            vec![op(LD, 0)],
            vec![op(JMP | JA, 1), end],
            vec![jump(JMP | JEQ, 0, 1, 0), end],
            vec![op(ALU | DIV, 0), end],
            vec![op(ALU | LSH, 32), end],
            vec![op(ST, 16), end],
            vec![op(LD | MEM, 0), end],
            // Written on one of two ways.
            vec![jump(JMP | JEQ, 0, 1, 0), op(ST, 3), op(LD | MEM, 3), end],
            // Modulo, bytes and the index register's result are no part of a filter.
            vec![op(ALU | 0x90, 1), end],
            vec![op(0x30, 0), end],
            vec![op(RET | X, 0)],
            vec![end; Program::LENGTH_MAX + 1],
        ] {
            assert_eq!(Program::new(bad, CallData::USE).map(|_| ()), Err(Errno::EINVAL));
        }
        assert!(Program::new(vec![end; Program::LENGTH_MAX], CallData::USE).is_ok());
        assert_eq!(result(&[op(LD, 9), op(ST, 3), op(LD | MEM, 3), op(RET_A, 0)]), Ok(9));
    }

    /// A packet of these bytes.
    struct Packet(&'static [u8]);

    impl Subject for Packet {
        fn load(&self, place: u32, size: usize) -> Option<u32> {
            let bytes = self.0.get(place as usize..)?.get(..size)?;
            Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        }

        fn length(&self) -> u32 {
            self.0.len() as u32
        }
    }

    #[test]
    fn a_filter_reads_packets() {
        let result = |instructions: &[Instruction]| {
            Program::new(instructions.to_vec(), Use::Packets)
                .map(|program| program.run(&Packet(&[0x45, 2, 3, 4, 5, 6])))
        };
        let of = |code, k| result(&[op(LDX, 1), op(LD | code, k), op(RET_A, 0)]);
        assert_eq!(of(ABS, 1), Ok(0x0203_0405));
        assert_eq!([of(ABS | HALF, 4), of(ABS | BYTE, 5), of(IND | BYTE, 4)], [0x506, 6, 6].map(Ok));
        // There is nothing behind its end: it is not let pass.
        assert_eq!([of(ABS, 3), of(ABS | BYTE, 6), of(IND, u32::MAX)], [0, 0, 0x4502_0304].map(Ok));
        assert_eq!(result(&[op(LDX | MSH | BYTE, 0), op(TXA, 0), op(RET_A, 0)]), Ok(20));
        assert_eq!(result(&[op(LD, 7), op(ALU | MOD, 4), op(RET_A, 0)]), Ok(3));
        let xor = [op(LDX, 5), op(LD, 6), op(LD | ABS, XOR_X), op(RET_A, 0)];
        assert_eq!(result(&xor), Ok(3));
        for bad in
            [op(LD | ABS, ANCILLARY + 64), op(LD | ABS, ANCILLARY + 1), op(ALU | MOD, 0), op(LDX | ABS, 0)]
        {
            assert_eq!(result(&[bad, op(RET, 1)]), Err(Errno::EINVAL), "{bad:?}");
        }
    }

    fn instruction() -> impl Strategy<Value = Instruction> {
        let codes =
            prop_oneof![0u16..0x100, Just(LD | ABS), Just(JMP | JEQ), Just(ST), Just(LD | MEM), any::<u16>()];
        let k = prop_oneof![0u32..70, any::<u32>()];
        (codes, 0u8..6, 0u8..6, k).prop_map(|(code, jump_true, jump_false, k)| Instruction {
            code,
            jump_true,
            jump_false,
            k,
        })
    }

    proptest! {
        /// Whatever the checker lets pass runs: no cell is read before it is written, and each way ends with a return. Seen by another
        /// interpreter, which checks at each step.
        #[test]
        fn what_is_accepted_is_safe(mut list in prop::collection::vec(instruction(), 1..24), last in any::<u32>()) {
            list.push(op(RET, last));
            if let Ok(program) = Program::new(list.clone(), CallData::USE) {
                prop_assert_eq!(Some(program.run(&DATA)), slowly(&list));
            }
        }
    }

    /// `None` for what a sound program never does.
    fn slowly(list: &[Instruction]) -> Option<u32> {
        let (mut a, mut x, mut cells) = (0u32, 0u32, [None; CELLS]);
        let mut at = 0;
        for _ in 0..=list.len() {
            let one = list.get(at)?;
            at += 1;
            let operand = if one.code & 8 != 0 { x } else { one.k };
            let k = one.k;
            match one.code {
                0x00 => a = k,
                0x01 => x = k,
                0x20 => {
                    a = u32::from_ne_bytes(DATA.as_bytes().get(k as usize..k as usize + 4)?.try_into().ok()?);
                }
                0x80 => a = 64,
                0x81 => x = 64,
                0x60 => a = (*cells.get(k as usize)?)?,
                0x61 => x = (*cells.get(k as usize)?)?,
                0x02 => *cells.get_mut(k as usize)? = Some(a),
                0x03 => *cells.get_mut(k as usize)? = Some(x),
                0x04 | 0x0c => a = a.wrapping_add(operand),
                0x14 | 0x1c => a = a.wrapping_sub(operand),
                0x24 | 0x2c => a = a.wrapping_mul(operand),
                0x34 | 0x3c if operand == 0 => return (one.code == 0x3c).then_some(0),
                0x34 | 0x3c => a /= operand,
                0x44 | 0x4c => a |= operand,
                0x54 | 0x5c => a &= operand,
                0x64 => a = a.checked_shl(operand)?,
                0x74 => a = a.checked_shr(operand)?,
                0x6c => a <<= operand % 32,
                0x7c => a >>= operand % 32,
                0x84 => a = 0u32.wrapping_sub(a),
                0xa4 | 0xac => a ^= operand,
                0x05 => at = at.checked_add(k as usize)?,
                0x15 | 0x1d => at += usize::from(if a == operand { one.jump_true } else { one.jump_false }),
                0x25 | 0x2d => at += usize::from(if a > operand { one.jump_true } else { one.jump_false }),
                0x35 | 0x3d => at += usize::from(if a >= operand { one.jump_true } else { one.jump_false }),
                0x45 | 0x4d => {
                    at += usize::from(if a & operand != 0 { one.jump_true } else { one.jump_false });
                }
                0x06 => return Some(k),
                0x16 => return Some(a),
                0x07 => x = a,
                0x87 => a = x,
                _ => return None,
            }
        }
        None
    }
}
