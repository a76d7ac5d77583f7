//! How far the last packet of a segment is padded (burst B-50…B-55).
//!
//! Called by the segment writer. Padding is PADDING frames inside the packet, so it is authenticated and counted.

use super::plan::Padding;
use qbase::limits::MIN_SAMPLE;

/// Bytes a segment may lack to the size of the first before padding them is cheaper than ending the burst (burst B-54).
pub const TOP_UP: usize = 16;

/// PADDING bytes for the last packet of a segment that has `len` bytes now.
///
/// `window` is the most the segment may have, `goal` the length of the first segment if this is a later one.
#[must_use]
pub fn bytes(padding: Padding, len: usize, window: usize, goal: Option<usize>) -> usize {
    let target = match padding {
        Padding::Full => window,
        Padding::AtLeast(least) => least.min(window),
        Padding::Sample => match goal {
            Some(goal) if goal.saturating_sub(len) <= TOP_UP => goal.min(window),
            _ => 0,
        },
    };
    target.saturating_sub(len)
}

/// PADDING bytes a packet with `number_len` bytes of packet number and `frames` bytes of frames needs for its
/// header-protection sample (burst B-51; RFC 9001 §5.4.2).
#[must_use]
pub const fn sample(number_len: usize, frames: usize) -> usize {
    MIN_SAMPLE.saturating_sub(qbase::limits::TAG_LEN).saturating_sub(number_len).saturating_sub(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_with_an_initial_packet_fills_its_window() {
        assert_eq!(bytes(Padding::Full, 300, 1_452, None), 1_152);
    }

    #[test]
    fn a_path_frame_is_padded_to_1200_bytes_if_the_window_allows() {
        assert_eq!(bytes(Padding::AtLeast(1_200), 60, 1_452, None), 1_140);
        assert_eq!(bytes(Padding::AtLeast(1_200), 60, 500, None), 440);
    }

    #[test]
    fn only_a_later_segment_that_lacks_a_few_bytes_is_topped_up() {
        assert_eq!(bytes(Padding::Sample, 1_190, 1_200, Some(1_200)), 10);
        assert_eq!(bytes(Padding::Sample, 1_100, 1_200, Some(1_200)), 0);
        assert_eq!(bytes(Padding::Sample, 1_190, 1_200, None), 0);
    }

    #[test]
    fn a_tiny_packet_is_padded_to_the_sample() {
        assert_eq!(sample(1, 1), 2);
        assert_eq!(sample(4, 0), 0);
        assert_eq!(sample(2, 40), 0);
    }
}
