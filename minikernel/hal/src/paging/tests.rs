use std::{vec, vec::Vec};

use super::*;

const BASE: usize = 0x40_0000;
const RW: Access = Access::READ.union(Access::WRITE);

fn marked(mark: u8) -> Frame {
    let frame = Frame::zeroed().unwrap();
    frame.write(0, &[mark]);
    frame
}

fn pages(table: &PageTable) -> Vec<(usize, u8, Access)> {
    let mut seen = Vec::new();
    table.for_each(0..USER_END, &mut |page, mapped| {
        seen.push((page, mapped.frame.read_array::<1>(0)[0], mapped.access));
    });
    seen
}

#[test]
fn mapping_replaces_and_unmapping_returns() {
    let mut table = PageTable::new().unwrap();
    assert!(table.get(BASE).is_none());
    assert!(table.map(BASE, marked(1), RW).unwrap().is_none());
    let old = table.map(BASE, marked(2), Access::READ).unwrap().unwrap();
    assert!(old.is_unique());
    assert_eq!(old.read_array(0), [1]);
    let mapped = table.get(BASE).unwrap();
    assert_eq!((mapped.access, mapped.dirty), (Access::READ, false));
    drop(mapped);
    assert!(table.unmap(BASE).unwrap().is_unique());
    assert!(table.unmap(BASE).is_none());
}

#[test]
fn a_range_crosses_tables() {
    let mut table = PageTable::new().unwrap();
    // Around borders of all levels, and more than a batch.
    let places: Vec<usize> = [1 << 21, 1 << 30, 1 << 39]
        .into_iter()
        .flat_map(|border| (0..60).map(move |page| border - 30 * PAGE_SIZE + page * PAGE_SIZE))
        .collect();
    for (mark, &place) in places.iter().enumerate() {
        table.map(place, marked(mark as u8), RW).unwrap();
    }
    assert_eq!(pages(&table).len(), places.len());
    table.protect_range(1 << 30..USER_END, Access::EXEC);
    let expected: Vec<_> = places
        .iter()
        .enumerate()
        .map(|(mark, &place)| {
            (place, mark as u8, if place < 1 << 30 { RW } else { Access::READ | Access::EXEC })
        })
        .collect();
    assert_eq!(pages(&table), expected);
    let mut gone = vec![];
    table.unmap_range(0..USER_END, &mut |page, frame| gone.push((page, frame.read_array::<1>(0)[0])));
    assert_eq!(gone, expected.iter().map(|&(page, mark, _)| (page, mark)).collect::<Vec<_>>());
    assert!(pages(&table).is_empty());
}

#[test]
fn a_range_is_taken_out_in_steps_that_end_where_tables_do() {
    const TABLE: usize = 512 * PAGE_SIZE;
    let mut table = PageTable::new().unwrap();
    // Two tables' worth behind the middle of one, and something far behind.
    let start = 5 * TABLE + 100 * PAGE_SIZE;
    for page in (0..1024).map(|page| start + page * PAGE_SIZE).chain([1 << 40]) {
        table.map(page, Frame::zeroed().unwrap(), RW).unwrap();
    }
    let mut gone = 0;
    let mut step = |from, most| table.unmap_where(from..USER_END, most, &mut |_| true, &mut |_, _| gone += 1);
    let first = step(start, 70);
    let second = step(first, 512);
    assert_eq!((first, second), (6 * TABLE, 7 * TABLE));
    assert_eq!((step(second, 101), gone), (USER_END, 1025));
    assert!(pages(&table).is_empty());
}

#[test]
fn a_page_without_access_keeps_its_contents() {
    let mut table = PageTable::new().unwrap();
    table.map(BASE, marked(5), RW).unwrap();
    table.protect_range(BASE..BASE + PAGE_SIZE, Access::empty());
    assert_eq!(pages(&table), [(BASE, 5, Access::empty())]);
    assert!(translate(table.tables.root(), BASE).is_none());
    table.protect_range(BASE..BASE + PAGE_SIZE, Access::READ);
    assert_eq!(pages(&table), [(BASE, 5, Access::READ)]);
}

#[test]
fn filling_leaves_alone_what_is_mapped() {
    let mut table = PageTable::new().unwrap();
    table.map(BASE + PAGE_SIZE, marked(1), RW).unwrap();
    let mut frames = [Some(marked(2)), Some(marked(3)), None, Some(marked(4))];
    assert_eq!(table.fill(BASE, &mut frames, Access::READ).unwrap(), 2);
    let expected =
        [(BASE, 2, Access::READ), (BASE + PAGE_SIZE, 1, RW), (BASE + 3 * PAGE_SIZE, 4, Access::READ)];
    assert_eq!(pages(&table), expected);
    assert!(frames[1].as_ref().is_some_and(Frame::is_unique), "what was not needed is given back");
}

#[test]
fn moving_keeps_rights() {
    let mut table = PageTable::new().unwrap();
    table.map(BASE, marked(1), RW).unwrap();
    table.map(BASE + 2 * PAGE_SIZE, marked(2), Access::READ).unwrap();
    let to = 1 << 40;
    table.move_range(BASE, to, 3 * PAGE_SIZE).unwrap();
    assert_eq!(pages(&table), [(to, 1, RW), (to + 2 * PAGE_SIZE, 2, Access::READ)]);
}

#[test]
fn a_fork_shares_pages_in_steps() {
    let mut parent = PageTable::new().unwrap();
    let mut child = PageTable::new().unwrap();
    parent.map(BASE, marked(1), RW).unwrap();
    parent.map(BASE + 2 * PAGE_SIZE, marked(2), Access::READ).unwrap();
    parent.map(BASE + 3 * PAGE_SIZE, marked(3), RW).unwrap();
    let range = BASE..BASE + 4 * PAGE_SIZE;
    let first = parent.share_read_only(&mut child, range.clone(), 2).unwrap();
    assert_eq!(first, Shared { pages: 2, end: BASE + 3 * PAGE_SIZE });
    assert_eq!(pages(&child), [(BASE, 1, Access::READ), (BASE + 2 * PAGE_SIZE, 2, Access::READ)]);
    assert_eq!(parent.get(BASE + 3 * PAGE_SIZE).unwrap().access, RW);
    let second = parent.share_read_only(&mut child, first.end..range.end, 2).unwrap();
    assert_eq!(second, Shared { pages: 1, end: range.end });
    assert_eq!(pages(&parent), pages(&child));
    assert!(!parent.get(BASE).unwrap().frame.is_unique());
    drop(child);
    let frame = parent.unmap(BASE).unwrap();
    assert!(frame.is_unique());
}

#[test]
#[should_panic(expected = "user half")]
fn the_kernel_half_is_out_of_reach() {
    let _ = PageTable::new().unwrap().map(USER_END, Frame::zeroed().unwrap(), RW);
}
