//! Copies from and to user memory, on the real tables.

use isopod_hal::{
    PAGE_SIZE,
    uaccess::{
        Fault, FaultAt, clear_user, copy_frame_to_user, copy_from_user, copy_to_user, user_cmpxchg_u32,
        user_load_u32, user_store_u32,
    },
};

use super::program::{self, DATA, Program};

pub fn faults_are_errors() {
    let program = Program::load(program::call());
    let end = DATA + 2 * PAGE_SIZE;
    let long: [u8; 300] = core::array::from_fn(|index| index as u8);
    let text: [u8; 64] = core::array::from_fn(|index| index as u8);
    copy_to_user(DATA + 5, &text).unwrap();
    assert_eq!(program.data.read_array(5), text);
    let mut back = [0; 64];
    copy_from_user(&mut back, DATA + 5).unwrap();
    assert_eq!(back, text);
    // Every length before the border, so that the fault hits words and single bytes.
    for before in 0..40 {
        let to = DATA + PAGE_SIZE - before;
        let fault = Fault { address: DATA + PAGE_SIZE, write: true };
        assert_eq!(copy_to_user(to, &text), Err(FaultAt { done: before, fault }), "{before}");
        let mut bytes = [0xee; 64];
        let fault = Fault { address: end, write: false };
        assert_eq!(copy_from_user(&mut bytes, end - before), Err(FaultAt { done: before, fault }));
        assert!(bytes[before..].iter().all(|&byte| byte == 0xee));
    }
    // And of long copies, from and to any alignment.
    for before in 0..200 {
        let to = DATA + PAGE_SIZE - before;
        let fault = Fault { address: DATA + PAGE_SIZE, write: true };
        assert_eq!(copy_to_user(to, &long), Err(FaultAt { done: before, fault }), "{before}");
        let mut bytes = [0xee; 300];
        copy_from_user(&mut bytes[..before], to).unwrap();
        assert_eq!(bytes[..before], long[..before]);
        assert!(bytes[before..].iter().all(|&byte| byte == 0xee));
    }
    assert!(copy_frame_to_user(&program.data, 0, DATA + 1, 4).is_ok());
    assert!(clear_user(DATA, PAGE_SIZE).is_ok());
    assert_eq!(program.data.read_array::<PAGE_SIZE>(0), [0; PAGE_SIZE]);
    assert_eq!(user_store_u32(DATA, 3), Ok(()));
    assert_eq!(user_cmpxchg_u32(DATA, 3, 4), Ok(3));
    assert_eq!(user_cmpxchg_u32(DATA, 3, 5), Ok(4));
    assert_eq!(user_load_u32(DATA), Ok(4));
    assert!(user_load_u32(end).is_err() && user_cmpxchg_u32(DATA + PAGE_SIZE, 0, 1).is_err());
    assert!(user_store_u32(DATA + PAGE_SIZE, 1).is_err());
    // The kernel's own memory is out of reach, though it is there.
    assert!(copy_from_user(&mut back, 0xffff_ffff_8020_1000).is_err());
    drop(program);
    assert!(copy_from_user(&mut back, DATA).is_err());
}
