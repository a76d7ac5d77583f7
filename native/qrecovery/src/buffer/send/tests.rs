//! Send buffers against a fate for every byte.

use super::*;
use proptest::prelude::*;

fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9) >> 11) as u8
}

fn bytes_of(range: Range<u64>) -> Vec<u8> {
    range.map(byte_at).collect()
}

fn spare() -> SpareBlocks {
    SpareBlocks::new(4)
}

/// A buffer with `sent` bytes on their way and `fresh` behind them.
fn buffer_of(sent: u64, fresh: u64, spare: &mut SpareBlocks) -> SendBuffer {
    let mut buffer = SendBuffer::new();
    buffer.write(&bytes_of(0..sent + fresh), spare);
    buffer.take_fresh(sent);
    buffer
}

#[test]
fn a_lost_range_is_sent_again_lowest_first_in_pieces() {
    let mut spare = spare();
    let mut buffer = buffer_of(5_000, 0, &mut spare);
    assert_eq!(buffer.on_lost(3_000..4_000), 1_000);
    assert_eq!(buffer.on_lost(0..1_000), 1_000);
    assert_eq!(buffer.take_lost(700), Some(0..700));
    assert_eq!(buffer.take_lost(700), Some(700..1_000));
    assert_eq!(buffer.take_lost(700), Some(3_000..3_700));
    assert_eq!(buffer.lost_bytes(), 300);
}

/// multipath MP-83.
#[test]
fn an_acknowledgement_drops_the_copy_that_waits() {
    let mut spare = spare();
    let mut buffer = buffer_of(3_000, 0, &mut spare);
    buffer.on_lost(0..3_000);
    assert_eq!(buffer.on_acked(1_000..2_000, &mut spare), 1_000);
    assert_eq!(buffer.lost_bytes(), 2_000);
    assert_eq!(buffer.take_lost(9_999), Some(0..1_000));
    assert_eq!(buffer.take_lost(9_999), Some(2_000..3_000));
}

#[test]
fn a_loss_after_the_acknowledgement_is_nothing() {
    let mut spare = spare();
    let mut buffer = buffer_of(3_000, 0, &mut spare);
    buffer.on_acked(1_000..2_000, &mut spare);
    assert_eq!(buffer.on_lost(500..2_500), 1_000);
    buffer.on_acked(0..1_000, &mut spare);
    assert_eq!(buffer.take_lost(9_999), Some(2_000..2_500));
    assert_eq!(buffer.take_lost(9_999), None);
}

#[test]
fn a_busy_stream_uses_the_same_blocks_again() {
    let mut spare = spare();
    let mut buffer = buffer_of(4 * BLOCK_LEN as u64, 0, &mut spare);
    buffer.on_acked(0..2 * BLOCK_LEN as u64, &mut spare);
    assert_eq!(spare.len(), 2);
    buffer.write(&bytes_of(0..2 * BLOCK_LEN as u64), &mut spare);
    assert_eq!(spare.len(), 0);
}

#[test]
fn a_small_stream_takes_little_memory() {
    let mut spare = spare();
    let mut buffer = SendBuffer::new();
    buffer.write(&[1; 100], &mut spare);
    assert!(buffer.memory() < 1_024, "{}", buffer.memory());
}

#[test]
fn a_large_chunk_is_taken_over_without_a_copy_and_a_small_one_is_copied() {
    let mut spare = spare();
    let mut buffer = SendBuffer::new();
    let large = Bytes::from(bytes_of(0..2_000));
    buffer.write_chunk(large.clone(), &mut spare);
    buffer.write_chunk(Bytes::from(bytes_of(2_000..2_100)), &mut spare);
    buffer.write_chunk(Bytes::from(bytes_of(2_100..2_120)), &mut spare);
    assert_eq!(buffer.chunks.len(), 2);
    assert_eq!(buffer.chunks[0].bytes().as_ptr(), large.as_ptr());
    let mut out = vec![0; 2_120];
    assert_eq!(buffer.copy_range(0, &mut out), Copied::All);
    assert_eq!(out, bytes_of(0..2_120));
}

#[test]
fn bytes_that_are_gone_or_not_written_cannot_be_copied() {
    let mut spare = spare();
    let mut buffer = buffer_of(100, 0, &mut spare);
    assert_eq!(buffer.copy_range(50, &mut [0; 51]), Copied::Missing);
    buffer.on_acked(0..100, &mut spare);
    assert_eq!(buffer.copy_range(0, &mut [0; 1]), Copied::Missing);
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64),
    Chunk(u64),
    Send(u64),
    SendAgain(u64),
    Ack(prop::sample::Index),
    Lose(prop::sample::Index),
    AckAny(u64, u64),
    LoseAny(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let len = || prop_oneof![0..50_u64, 0..3_000_u64, 16_000..40_000_u64];
    prop_oneof![
        3 => len().prop_map(Step::Write),
        1 => len().prop_map(Step::Chunk),
        4 => (0..2_000_u64).prop_map(Step::Send),
        2 => (1..2_000_u64).prop_map(Step::SendAgain),
        3 => any::<prop::sample::Index>().prop_map(Step::Ack),
        3 => any::<prop::sample::Index>().prop_map(Step::Lose),
        1 => (0..20_000_u64, 0..3_000_u64).prop_map(|(start, len)| Step::AckAny(start, len)),
        1 => (0..20_000_u64, 0..3_000_u64).prop_map(|(start, len)| Step::LoseAny(start, len)),
    ]
}

/// What a byte of the model is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Fresh,
    Sent,
    Lost,
    Acked,
}

proptest! {
    #[test]
    fn behaves_like_a_fate_for_every_byte(steps in prop::collection::vec(step(), 1..120)) {
        let mut spare = spare();
        let mut buffer = SendBuffer::new();
        let mut model: Vec<Fate> = Vec::new();
        let mut packets: Vec<Range<u64>> = Vec::new();
        for step in steps {
            let written = model.len() as u64;
            let fates = |model: &mut Vec<Fate>, range: Range<u64>, from: &[Fate], to: Fate| {
                let end = (range.end as usize).min(model.len());
                let slots = model.get_mut(range.start as usize..end).unwrap_or_default();
                slots.iter_mut().filter(|fate| from.contains(fate)).map(|fate| *fate = to).count() as u64
            };
            match step {
                Step::Write(len) => {
                    buffer.write(&bytes_of(written..written + len), &mut spare);
                    model.extend(std::iter::repeat_n(Fate::Fresh, len as usize));
                }
                Step::Chunk(len) => {
                    buffer.write_chunk(Bytes::from(bytes_of(written..written + len)), &mut spare);
                    model.extend(std::iter::repeat_n(Fate::Fresh, len as usize));
                }
                Step::Send(max) => {
                    let range = buffer.take_fresh(max);
                    prop_assert_eq!(fates(&mut model, range.clone(), &[Fate::Fresh], Fate::Sent), range.end - range.start);
                    let mut out = vec![0; (range.end - range.start) as usize];
                    prop_assert!(out.is_empty() || buffer.copy_range(range.start, &mut out) == Copied::All);
                    prop_assert_eq!(out, bytes_of(range.clone()));
                    packets.push(range);
                }
                Step::SendAgain(max) => {
                    let first = model.iter().position(|fate| *fate == Fate::Lost).map(|at| at as u64);
                    let range = buffer.take_lost(max);
                    prop_assert_eq!(range.as_ref().map(|range| range.start), first);
                    if let Some(range) = range {
                        prop_assert_eq!(fates(&mut model, range.clone(), &[Fate::Lost], Fate::Sent), range.end - range.start);
                        let mut out = vec![0; (range.end - range.start) as usize];
                        prop_assert_eq!(buffer.copy_range(range.start, &mut out), Copied::All);
                        prop_assert_eq!(out, bytes_of(range.clone()));
                        packets.push(range);
                    }
                }
                Step::Ack(_) | Step::Lose(_) if packets.is_empty() => {}
                Step::Ack(index) => {
                    let range = packets.swap_remove(index.index(packets.len()));
                    let fresh = fates(&mut model, range.clone(), &[Fate::Sent, Fate::Lost], Fate::Acked);
                    prop_assert_eq!(buffer.on_acked(range, &mut spare), fresh);
                }
                Step::Lose(index) => {
                    let range = packets.swap_remove(index.index(packets.len()));
                    let lost = fates(&mut model, range.clone(), &[Fate::Sent], Fate::Lost);
                    prop_assert_eq!(buffer.on_lost(range), lost);
                }
                Step::AckAny(start, len) => {
                    let fresh = fates(&mut model, start..start + len, &[Fate::Sent, Fate::Lost], Fate::Acked);
                    prop_assert_eq!(buffer.on_acked(start..start + len, &mut spare), fresh);
                }
                Step::LoseAny(start, len) => {
                    let lost = fates(&mut model, start..start + len, &[Fate::Sent], Fate::Lost);
                    prop_assert_eq!(buffer.on_lost(start..start + len), lost);
                }
            }
            let count = |wanted: Fate| model.iter().filter(|fate| **fate == wanted).count() as u64;
            prop_assert_eq!(buffer.lost_bytes(), count(Fate::Lost));
            prop_assert_eq!(buffer.unsent(), count(Fate::Fresh));
            prop_assert_eq!(buffer.is_all_acked(), count(Fate::Acked) == model.len() as u64);
            prop_assert_eq!(buffer.acked_to(), model.iter().take_while(|fate| **fate == Fate::Acked).count() as u64);
        }
    }
}
