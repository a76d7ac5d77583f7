//! Receive buffers against a table of bytes, and their bounds (attacks D1, D7, D12, L6, L7).

use super::*;
use proptest::prelude::*;

/// The byte every test expects at `offset`.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9) >> 11) as u8
}

fn bytes_of(range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(byte_at).collect()
}

fn read_all(buffer: &mut RecvBuffer, pool: &mut BufferPool) -> Vec<u8> {
    let mut out = vec![0; usize::try_from(buffer.readable()).unwrap()];
    assert_eq!(buffer.read(&mut out, pool), out.len());
    out
}

#[test]
fn bytes_in_order_are_read_across_block_borders_and_no_block_is_left() {
    let mut pool = BufferPool::default();
    let mut buffer = RecvBuffer::new();
    let total = 5 * BLOCK + 7;
    let mut offset = 0;
    while offset < total {
        let end = (offset + 1_177).min(total);
        assert_eq!(buffer.write(offset, &bytes_of(offset..end), &mut pool), Ok(end - offset));
        offset = end;
    }
    assert_eq!(pool.used(), 6);
    assert_eq!(read_all(&mut buffer, &mut pool), bytes_of(0..total));
    assert_eq!(pool.used(), 0, "mux R16");
    assert!(buffer.front().is_empty());
}

#[test]
fn a_drained_block_goes_back_even_when_later_bytes_wait_beyond_it() {
    let mut pool = BufferPool::default();
    let mut buffer = RecvBuffer::new();
    buffer.write(0, &bytes_of(0..100), &mut pool).unwrap();
    buffer.write(3 * BLOCK, &bytes_of(3 * BLOCK..3 * BLOCK + 10), &mut pool).unwrap();
    assert_eq!(pool.used(), 2);
    assert_eq!(read_all(&mut buffer, &mut pool), bytes_of(0..100));
    assert_eq!(pool.used(), 1);
    buffer.write(100, &bytes_of(100..3 * BLOCK), &mut pool).unwrap();
    assert_eq!(read_all(&mut buffer, &mut pool), bytes_of(100..3 * BLOCK + 10));
    assert_eq!((pool.used(), buffer.held(), buffer.gaps()), (0, 0, 0));
}

/// attacks D7.
#[test]
fn the_first_bytes_at_an_offset_win() {
    let mut pool = BufferPool::default();
    let mut buffer = RecvBuffer::new();
    buffer.write(2, b"CD", &mut pool).unwrap();
    assert_eq!(buffer.write(0, b"abcdef", &mut pool), Ok(4));
    assert_eq!(buffer.write(0, b"xxxxxx", &mut pool), Ok(0));
    assert_eq!(buffer.front(), b"abCDef");
}

/// attacks D1, L6.
#[test]
fn one_byte_frames_at_every_second_offset_are_too_many_gaps() {
    let mut pool = BufferPool::default();
    let mut buffer = RecvBuffer::new();
    let refused = (0_u64..).find(|i| buffer.write(i * 2 + 1, b"x", &mut pool).is_err()).unwrap();
    assert_eq!(refused, STREAM_GAPS as u64 + 1, "one more gap for 512 bytes held, then none");
    assert_eq!(buffer.write(u64::from(u16::MAX), b"x", &mut pool), Err(RecvBufferError::TooManyGaps));
}

/// attacks D1, the honest twin.
#[test]
fn every_second_full_packet_lost_over_four_mebibytes_is_no_attack() {
    let mut pool = BufferPool::default();
    let mut buffer = RecvBuffer::new();
    let window = 4 * 1_024 * 1_024;
    let packets: Vec<u64> = (0..window / 1_150).collect();
    let (late, early): (Vec<u64>, Vec<u64>) = packets.into_iter().partition(|packet| packet % 2 == 0);
    for packet in early.into_iter().chain(late.into_iter().rev()) {
        let start = packet * 1_150;
        buffer.write(start, &bytes_of(start..start + 1_150), &mut pool).unwrap();
    }
    assert_eq!(buffer.gaps(), 0);
    assert!(buffer.memory() as u64 <= 2 * window, "attacks L7");
    let end = buffer.contiguous();
    assert_eq!(read_all(&mut buffer, &mut pool), bytes_of(0..end));
}

/// attacks D12, L7.
#[test]
fn attack_d12_sparse_bytes_never_hold_more_than_twice_the_window() {
    let mut pool = BufferPool::default();
    let mut buffer = RecvBuffer::new();
    let window = 1_024 * 1_024;
    for offset in (1..window).step_by(4_099) {
        buffer.write(offset, b"x", &mut pool).unwrap();
        assert!(buffer.memory() as u64 <= 2 * window);
    }
}

#[test]
fn without_a_block_the_write_is_refused() {
    let mut pool = BufferPool::new(3 * BLOCK_LEN);
    let mut buffer = RecvBuffer::new();
    assert_eq!(buffer.write(0, &bytes_of(0..BLOCK * 6), &mut pool), Ok(BLOCK * 6), "twice the pool");
    assert_eq!(buffer.write(BLOCK * 6, b"x", &mut pool), Err(RecvBufferError::NoBlock));
}

/// attacks L7.
#[test]
fn attack_d3_memory_is_at_most_twice_the_credit_used_whatever_the_offsets() {
    for offset in [0, 1, 1_000, 1_023, 1_024, 5_000, 9_000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 10 * BLOCK + 77] {
        let mut pool = BufferPool::default();
        let mut buffer = RecvBuffer::new();
        buffer.write(offset, b"x", &mut pool).unwrap();
        buffer.write(offset / 2, b"x", &mut pool).unwrap();
        let credit = usize::try_from(offset + 1).unwrap();
        assert!(pool.used_bytes() <= (2 * credit).max(1_024), "{offset}: {}", pool.used_bytes());
    }
}

#[test]
fn the_first_block_grows_with_the_stream_and_keeps_its_bytes() {
    let mut pool = BufferPool::default();
    let mut buffer = RecvBuffer::new();
    for offset in (0..2 * BLOCK).step_by(700) {
        buffer.write(offset, &bytes_of(offset..offset + 700), &mut pool).unwrap();
    }
    let end = buffer.contiguous();
    assert_eq!(pool.used_bytes(), 3 * BLOCK_LEN);
    assert_eq!(read_all(&mut buffer, &mut pool), bytes_of(0..end));
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn clearing_gives_every_block_back() {
    let mut pool = BufferPool::default();
    let mut buffer = RecvBuffer::new();
    buffer.write(0, &bytes_of(0..BLOCK * 2), &mut pool).unwrap();
    buffer.write(BLOCK * 4, b"x", &mut pool).unwrap();
    buffer.clear(&mut pool);
    assert_eq!((pool.used(), buffer.held(), buffer.gaps()), (0, 0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, len: u64 },
    Read(usize),
}

/// Offsets small and large, so that block borders and long jumps are both met.
fn step() -> impl Strategy<Value = Step> {
    let offset = prop_oneof![0..64_u64, 0..4 * BLOCK, BLOCK - 40..BLOCK + 40];
    let len = prop_oneof![0..40_u64, 0..3_000_u64, Just(BLOCK + 3)];
    let write = (offset, len).prop_map(|(offset, len)| Step::Write { offset, len });
    prop_oneof![4 => write, 1 => (0..40_000_usize).prop_map(Step::Read)]
}

proptest! {
    #[test]
    fn behaves_like_a_table_of_bytes(steps in prop::collection::vec(step(), 1..80)) {
        let mut pool = BufferPool::default();
        let mut buffer = RecvBuffer::new();
        let mut model: Vec<Option<u8>> = vec![None; 6 * BLOCK_LEN];
        let mut read = 0;
        for (round, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write { offset, len } => {
                    // Every write brings other bytes: the first must win.
                    let data = vec![round as u8; len as usize];
                    let slots = &mut model[offset as usize..(offset + len) as usize];
                    let fresh = slots.iter().enumerate().filter(|(i, slot)| slot.is_none() && offset as usize + i >= read);
                    let fresh = fresh.count() as u64;
                    for slot in slots.iter_mut() {
                        slot.get_or_insert(round as u8);
                    }
                    prop_assert_eq!(buffer.write(offset, &data, &mut pool), Ok(fresh));
                }
                Step::Read(len) => {
                    let mut out = vec![0; len];
                    let done = buffer.read(&mut out, &mut pool);
                    let expected: Vec<u8> = model[read..].iter().take(len).map_while(|slot| *slot).collect();
                    prop_assert_eq!(&out[..done], &expected[..]);
                    read += done;
                }
            }
            let contiguous = model[read..].iter().take_while(|slot| slot.is_some()).count();
            prop_assert_eq!(buffer.readable(), contiguous as u64);
            prop_assert_eq!(buffer.held(), model[read..].iter().flatten().count() as u64);
            prop_assert_eq!(buffer.read_offset(), read as u64);
            let front = buffer.front();
            let expected: Vec<u8> = model[read..].iter().take(front.len()).flatten().copied().collect();
            prop_assert_eq!(front, &expected[..]);
            prop_assert!(contiguous == 0 || !front.is_empty());
            prop_assert!(buffer.held() > 0 || pool.used() == 0, "mux R16");
        }
        buffer.clear(&mut pool);
        prop_assert_eq!(pool.used(), 0);
    }
}

#[test]
fn all_fronts_together_are_what_can_be_read_and_stop_at_a_gap() {
    let mut pool = BufferPool::new(64 * BLOCK_LEN);
    let mut buffer = RecvBuffer::new();
    assert!(buffer.fronts().all(<[u8]>::is_empty));
    let whole = bytes_of(0..3 * BLOCK + 100);
    buffer.write(0, &whole, &mut pool).unwrap();
    buffer.write(3 * BLOCK + 200, b"behind a gap", &mut pool).unwrap();
    for consumed in [0, 1, BLOCK - 1, 1, 2 * BLOCK] {
        buffer.consume(consumed, &mut pool);
        let from = buffer.read_offset() as usize;
        assert_eq!(buffer.fronts().collect::<Vec<_>>().concat(), whole[from..], "from {from}");
    }
}
