//! What a drain hands over, when JavaScript is called, and when the engine pauses.

use super::*;
use crate::queue::layout::{FIN, Kind, OPENED};

const STAGING: usize = 262_144;

fn data(writer: &mut Writer, stream: u64, bytes: &[u8]) {
    writer.append(bytes);
    writer.push(Record::new(Kind::Data, 1).stream(stream).length(bytes.len() as u32));
}

fn drain(reader: &mut Reader, records: usize) -> (Vec<[u32; WORDS]>, Vec<u8>, bool) {
    let (mut words, mut staging) = (vec![0; records * WORDS], vec![0; STAGING]);
    let drained = reader.drain(&mut words, &mut staging).expect("drain");
    let count = (drained.answer & 0xffff) as usize;
    let records: Vec<_> = words.chunks_exact(WORDS).take(count).map(|words| words.try_into().expect("eight")).collect();
    let used = records.iter().map(|record: &[u32; WORDS]| record[2] as usize).sum();
    staging.truncate(used);
    (records, staging, drained.answer & DRAIN_MORE != 0)
}

#[test]
fn records_and_bytes_arrive_in_order_over_several_batches() {
    let (mut writer, mut reader) = channel();
    for round in 0..3_u8 {
        for stream in 0..4 {
            data(&mut writer, stream, &[round * 4 + stream as u8; 1_000]);
        }
        writer.publish();
    }
    let (records, bytes, more) = drain(&mut reader, 256);
    assert_eq!((records.len(), more), (12, false));
    assert!(bytes.chunks(1_000).enumerate().all(|(at, piece)| piece.iter().all(|byte| usize::from(*byte) == at)));
}

#[test]
fn javascript_is_called_once_until_it_has_drained_everything() {
    let (mut writer, mut reader) = channel();
    assert_eq!(writer.claim_wake(), Wake::No, "nothing is there");
    data(&mut writer, 0, b"x");
    writer.publish();
    assert_eq!((writer.claim_wake(), writer.claim_wake()), (Wake::Yes, Wake::No));
    data(&mut writer, 4, b"y");
    writer.publish();
    let (records, _, more) = drain(&mut reader, 1);
    assert_eq!((records.len(), more), (1, true));
    assert_eq!(writer.claim_wake(), Wake::No, "it is draining");
    let (records, _, more) = drain(&mut reader, 1);
    assert_eq!((records.len(), more), (1, false));
    data(&mut writer, 0, b"z");
    writer.publish();
    assert_eq!(writer.claim_wake(), Wake::Yes);
}

#[test]
fn what_was_published_without_a_call_is_found_by_the_drain_under_way() {
    let (mut writer, mut reader) = channel();
    data(&mut writer, 0, b"x");
    writer.publish();
    assert_eq!(writer.claim_wake(), Wake::Yes);
    data(&mut writer, 4, b"y");
    writer.publish();
    assert_eq!(drain(&mut reader, 256).0.len(), 2);
    assert_eq!(writer.claim_wake(), Wake::No, "nothing is left to tell");
}

#[test]
fn bytes_of_one_stream_in_a_row_are_one_record_up_to_a_piece() {
    let (mut writer, mut reader) = channel();
    let mut tell = |stream: u64, flags: u32, length: usize| {
        writer.append(&vec![stream as u8; length]);
        writer.push(Record::new(Kind::Data, 1).stream(stream).flags(flags).length(length as u32));
        writer.publish();
    };
    tell(4, OPENED, 0);
    for _ in 0..46 {
        tell(4, 0, 1_425);
    }
    tell(4, FIN, 7);
    tell(8, OPENED, 100);
    tell(4, 0, 1);
    let (records, bytes, _) = drain(&mut reader, 256);
    let facts: Vec<_> = records.iter().map(|record| (record[0] >> 8, record[2])).collect();
    assert_eq!(facts, [(OPENED, 45 * 1_425), (FIN, 1_425 + 7), (OPENED, 100), (0, 1)]);
    assert_eq!(bytes.iter().filter(|byte| **byte == 4).count(), 46 * 1_425 + 8);
}

#[test]
fn bytes_behind_another_record_or_behind_the_end_are_a_record_of_their_own() {
    let (mut writer, mut reader) = channel();
    data(&mut writer, 0, b"a");
    writer.push(Record::new(Kind::Writable, 1).stream(0));
    data(&mut writer, 0, b"b");
    writer.append(b"c");
    writer.push(Record::new(Kind::Data, 2).stream(0).length(1));
    writer.append(b"d");
    writer.push(Record::new(Kind::Data, 2).stream(0).flags(FIN).length(1));
    writer.push(Record::new(Kind::Data, 2).stream(0).flags(OPENED).length(0));
    writer.publish();
    let (records, bytes, _) = drain(&mut reader, 256);
    assert_eq!(records.iter().map(|record| record[2]).collect::<Vec<_>>(), [1, 0, 1, 2, 0]);
    assert_eq!(bytes, b"abcd");
}

#[test]
fn payloads_that_do_not_fit_wait_for_the_next_call() {
    let (mut writer, mut reader) = channel();
    for _ in 0..5 {
        data(&mut writer, 0, &[7; 65_536]);
    }
    writer.publish();
    assert_eq!((drain(&mut reader, 256).0.len(), drain(&mut reader, 256).0.len()), (4, 1));
}

#[test]
fn a_piece_larger_than_the_staging_buffer_is_split() {
    let (mut writer, mut reader) = channel();
    writer.append(&[1; 100]);
    writer.push(Record::new(Kind::Data, 1).flags(FIN | OPENED).length(100));
    writer.publish();
    let (mut words, mut staging) = ([0; 4 * WORDS], [0; 60]);
    assert_eq!(reader.drain(&mut words, &mut staging).map(|drained| drained.answer), Ok(1 | DRAIN_MORE));
    assert_eq!((words[0] >> 8, words[2]), (OPENED, 60));
    assert_eq!(reader.drain(&mut words, &mut staging).map(|drained| drained.answer), Ok(1));
    assert_eq!((words[0] >> 8, words[2]), (FIN, 40));
}

#[test]
fn an_event_larger_than_the_staging_buffer_is_an_error() {
    let (mut writer, mut reader) = channel();
    writer.append(&[1; 100]);
    writer.push(Record::new(Kind::Event, 1).length(100));
    writer.publish();
    assert_eq!(reader.drain(&mut [0; WORDS], &mut [0; 60]), Err(TooLong));
}

#[test]
fn arrays_that_hold_no_record_get_none() {
    let (mut writer, mut reader) = channel();
    data(&mut writer, 0, b"x");
    writer.publish();
    assert_eq!(reader.drain(&mut [0; WORDS - 1], &mut []).map(|drained| drained.answer), Ok(DRAIN_MORE));
}

/// attacks L26.
#[test]
fn the_engine_pauses_when_much_waits_and_is_told_when_half_is_drained() {
    let (mut writer, mut reader) = channel();
    let mut pieces = 0;
    while !writer.is_full() {
        data(&mut writer, 0, &[0; 65_536]);
        writer.publish();
        pieces += 1;
    }
    assert_eq!(pieces, WAITING_BYTES / 65_536 + 1);
    let (mut words, mut staging) = (vec![0; 256 * WORDS], vec![0; STAGING]);
    let mut drains = 0;
    loop {
        let drained = reader.drain(&mut words, &mut staging).expect("drain");
        drains += 1;
        if drained.resume {
            break;
        }
    }
    assert_eq!(drains, 9, "half of it is left");
    assert!(!writer.is_full());
}

#[test]
fn threads_exchange_everything_without_a_lost_wake() {
    let (mut writer, mut reader) = channel();
    let (call, calls) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        for round in 0..20_000_u64 {
            data(&mut writer, round, &round.to_le_bytes());
            if round % 3 == 0 || round == 19_999 {
                writer.publish();
                if writer.claim_wake() == Wake::Yes {
                    call.send(()).expect("reader");
                }
            }
            while writer.is_full() {
                std::thread::yield_now();
            }
        }
    });
    let mut expected = 0_u64;
    while expected < 20_000 {
        calls.recv_timeout(std::time::Duration::from_secs(10)).expect("a wake was lost");
        loop {
            let (records, bytes, more) = drain(&mut reader, 256);
            for (_, piece) in records.iter().zip(bytes.chunks(8)) {
                assert_eq!(piece, expected.to_le_bytes());
                expected += 1;
            }
            if !more {
                break;
            }
        }
    }
    thread.join().expect("writer");
}
