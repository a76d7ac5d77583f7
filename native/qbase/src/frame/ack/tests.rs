//! ACK and PATH_ACK: layout, ranges that cannot be, what fits into a packet.

use super::*;
use crate::{
    ErrorCode,
    frame::{
        Frame,
        testing::{check, decodes_to, refuse, written},
    },
};
use proptest::{collection::vec, prelude::*};

/// The ACK that [`write`] makes, without limits of size.
fn encoded(path: Option<PathId>, ranges: &[RangeInclusive<u64>], delay: u64, ecn: Option<EcnCounts>) -> Vec<u8> {
    let mut buffer = vec![0; 200_000];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer, path, ranges.iter().cloned(), delay, ecn, usize::MAX).unwrap();
    writer.written().to_vec()
}

fn decoded(bytes: &[u8]) -> Ack<'_> {
    let mut reader = Reader::new(bytes);
    let Ok(Frame::Ack(ack)) = Frame::decode(&mut reader) else { panic!("{bytes:02x?}") };
    assert!(reader.is_empty());
    ack
}

#[test]
fn known_bytes_are_read_and_written_in_all_four_types() {
    let ecn = Some(EcnCounts { ect0: 1, ect1: 2, ce: 64 });
    // 10, 7 and 6, 2 to 0: gaps of 2 and 3 numbers.
    let ranges = [10..=10, 6..=7, 0..=2];
    for (path, ecn, head, tail) in [
        (None, None, [0x02].as_slice(), [].as_slice()),
        (None, ecn, &[0x03], &[1, 2, 0x40, 0x40]),
        (Some(PathId(3)), None, &[0x3e, 3], &[]),
        (Some(PathId(3)), ecn, &[0x3f, 3], &[1, 2, 0x40, 0x40]),
    ] {
        let bytes = [head, &[10, 0x41, 0x00, 2, 0, 1, 1, 2, 2], tail].concat();
        assert_eq!(encoded(path, &ranges, 256, ecn), bytes);
        let ack = decoded(&bytes);
        assert_eq!((ack.path, ack.largest, ack.delay, ack.ecn), (path, 10, 256, ecn));
        assert_eq!(ack.ranges.clone().collect::<Vec<_>>(), ranges);
        check(&Frame::Ack(ack), &bytes);
    }
}

#[test]
fn the_ack_of_rfc_9001_appendix_a3_is_read() {
    let ack = decoded(&[0x02, 0x00, 0x00, 0x00, 0x00]);
    assert_eq!(ack.ranges, AckRanges::one(&(0..=0)));
}

#[test]
fn ranges_in_longer_encodings_are_the_same_ranges() {
    let short = decoded(&[0x02, 10, 0, 1, 0, 1, 1]);
    let long = [0x02, 0x40, 10, 0x40, 0, 0x40, 1, 0x40, 0, 0x80, 0, 0, 1, 0xc0, 0, 0, 0, 0, 0, 0, 1];
    let frame = Frame::Ack(decoded(&long));
    assert_eq!(frame, Frame::Ack(short));
    decodes_to(&written(&frame), &frame);
}

#[test]
fn a_range_or_gap_below_packet_number_0_is_a_frame_encoding_error() {
    // attacks C3, RFC 9000 §19.3.1
    let cases: [&[u8]; 6] = [
        &[9, 0, 0, 10],               // first range reaches -1
        &[9, 0, 1, 9, 0, 0],          // smallest is 0: no gap fits
        &[9, 0, 1, 8, 0, 0],          // smallest is 1: next largest would be -1
        &[9, 0, 1, 7, 1, 0],          // smallest is 2, gap 1: -1
        &[9, 0, 1, 7, 0, 1],          // next largest is 0, its range reaches -1
        &[9, 0, 2, 4, 0, 1, 0x3f, 0], // the second pair's gap
    ];
    for ranges in cases {
        refuse(&[[0x02].as_slice(), ranges].concat(), ErrorCode::FRAME_ENCODING_ERROR);
        refuse(&[[0x3e, 0x01].as_slice(), ranges].concat(), ErrorCode::FRAME_ENCODING_ERROR);
    }
    let largest = [0xff; 8];
    let overflow = [[0x02, 9, 0, 1, 0].as_slice(), &largest, &largest].concat();
    refuse(&overflow, ErrorCode::FRAME_ENCODING_ERROR);
    assert_eq!(decoded(&[0x02, 9, 0, 1, 7, 0, 0]).ranges.last(), Some(0..=0), "2 to 9 and 0 is the nearest that fits");
}

#[test]
fn a_count_without_its_ranges_is_refused_at_once() {
    // attacks C3
    refuse(&[[0x02, 9, 0].as_slice(), &[0xff; 8], &[0; 100]].concat(), ErrorCode::FRAME_ENCODING_ERROR);
    refuse(&[0x02, 9, 0, 2, 0, 0, 0], ErrorCode::FRAME_ENCODING_ERROR);
}

#[test]
fn an_ack_with_hundreds_of_ranges_is_read() {
    // attacks C3
    let ranges: Vec<_> = (0..600).rev().map(|n| n * 3..=n * 3 + 1).collect();
    let bytes = encoded(None, &ranges, 0, None);
    assert_eq!(decoded(&bytes).ranges.collect::<Vec<_>>(), ranges);
}

#[test]
fn the_count_takes_a_second_byte_from_64_further_ranges_on() {
    for ranges in [63, 64, 65, 66, 600] {
        let ranges: Vec<_> = (0..ranges).rev().map(|n| n * 2..=n * 2).collect();
        let bytes = encoded(Some(PathId(1)), &ranges, 5, Some(EcnCounts::default()));
        let ack = decoded(&bytes);
        assert_eq!(ack.ranges.clone().collect::<Vec<_>>(), ranges);
        check(&Frame::Ack(ack), &bytes);
    }
}

#[test]
fn nothing_is_written_without_a_range_or_without_room_for_the_first() {
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    assert_eq!(write(&mut writer, None, std::iter::empty(), 0, None, 64), None);
    for max_size in 0..5 {
        assert_eq!(write(&mut writer, None, [3..=9].into_iter(), 0, None, max_size), None);
    }
    assert!(writer.is_empty() && !writer.overflowed());
    let all = Written { largest: 9, smallest: 3, ranges: 1 };
    assert_eq!(write(&mut writer, None, [3..=9].into_iter(), 0, None, 5), Some(all));
    assert_eq!(writer.len(), 5);

    let mut small = [0; 4];
    let mut writer = Writer::new(&mut small);
    assert_eq!(write(&mut writer, None, [3..=9].into_iter(), 0, None, 64), None, "the writer's room counts too");
    assert!(writer.is_empty() && !writer.overflowed());
}

#[test]
fn a_frame_without_room_is_refused_as_a_whole_and_remembered() {
    let bytes = encoded(None, &[9..=9, 1..=2], 0, None);
    let mut buffer = [7; 4];
    let mut writer = Writer::new(&mut buffer);
    decoded(&bytes).write(&mut writer);
    assert!(writer.overflowed() && writer.is_empty());
}

#[test]
fn ranges_out_of_order_end_the_frame() {
    for second in [20..=30, 9..=9, 4..=8] {
        let bytes = encoded(None, &[9..=10, second], 0, None);
        assert_eq!(decoded(&bytes).ranges, AckRanges::one(&(9..=10)), "touching or overlapping ranges are not written");
    }
}

/// Descending ranges with gaps, as (length - 1, distance - 2) pairs of any varint length.
fn ranges() -> impl Strategy<Value = Vec<RangeInclusive<u64>>> {
    let number = prop_oneof![0..64_u64, 64..16_384_u64, 16_384..1_u64 << 30];
    (1_u64 << 50..1 << 62, vec((number.clone(), number), 1..130)).prop_map(|(largest, pairs)| {
        let mut next = largest;
        pairs
            .into_iter()
            .map(|(length, gap)| {
                let range = next - length..=next;
                next = range.start() - gap - 2;
                range
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn as_many_of_the_newest_ranges_as_fit_are_written(
        ranges in ranges(),
        path in proptest::option::of(any::<u32>().prop_map(PathId)),
        delay in 0..=varint::MAX,
        counts in proptest::option::of((0..=varint::MAX, 0..=varint::MAX, 0..=varint::MAX)),
        max_size in 0..1_300_usize,
    ) {
        let ecn = counts.map(|(ect0, ect1, ce)| EcnCounts { ect0, ect1, ce });
        let mut buffer = [0; 1_250];
        let mut writer = Writer::new(&mut buffer);
        let max_here = max_size.min(1_250);
        let count = write(&mut writer, path, ranges.iter().cloned(), delay, ecn, max_size).map_or(0, |w| w.ranges);
        prop_assert!(!writer.overflowed());
        prop_assert!(writer.len() <= max_here);
        let whole = encoded(path, &ranges[..(count + 1).min(ranges.len())], delay, ecn).len();
        prop_assert!(count == ranges.len() || whole > max_here, "one more range would have fitted");
        if count > 0 {
            let ack = decoded(writer.written());
            prop_assert_eq!((ack.path, ack.largest, ack.delay, ack.ecn), (path, *ranges[0].end(), delay, ecn));
            prop_assert_eq!(ack.ranges.collect::<Vec<_>>(), &ranges[..count]);
        }
    }
}
