//! The structure of a JPEG: its markers, frames and scans.

use std::ops::Range;

use memchr::memchr;

use super::scans::Scans;

/// The structure of a JPEG as its markers give it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outline {
    /// Whether the segments run on to the end-of-image marker.
    pub complete: bool,
    /// The frame, if the image may be decoded in part.
    pub frame: Option<Frame>,
    /// Why the image is refused, if it is.
    pub refusal: Option<String>,
}

/// The frame of a baseline JPEG with one frame, one scan and three components whose colour is
/// subsampled by at most two: each row of blocks is complete before the next begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    pub width: u16,
    pub height: u16,
    /// Bytes of the file that hold the height, big-endian.
    pub height_at: Range<usize>,
    /// Rows of pixels in a row of blocks, 8 or 16. Rows of colour samples are always 8.
    block_rows: u32,
}

impl Outline {
    /// Reads the markers. Segments are stepped over by their length, so that the markers of an
    /// embedded thumbnail do not count.
    pub(super) fn of(jpeg: &[u8]) -> Self {
        let (mut frames, mut scans) = (Vec::new(), Vec::new());
        let (mut all_scans, mut restarts) = (Scans::default(), false);
        let mut at = 0;
        let complete = loop {
            let Some(next) = next_marker(jpeg, at) else { break false };
            let marker = jpeg[next - 1];
            at = next;
            match marker {
                0xd9 => break true,
                // A stuffed byte of scan data, or a marker without a segment.
                0x00 | 0x01 | 0xd0..=0xd8 => continue,
                _ => {}
            }
            let Some(&[high, low]) = jpeg.get(at..at + 2) else { break false };
            let end = at + usize::from(u16::from_be_bytes([high, low]));
            match marker {
                // Tables and an extension, whose codes are among those of frames.
                0xc4 | 0xc8 | 0xcc => {}
                // Whether there are more than two makes no difference; a file has room for millions.
                0xc0..=0xcf if frames.len() < 2 => frames.push((marker, at..end)),
                0xda => {
                    all_scans.add(jpeg.get(at..end).unwrap_or_default(), restarts);
                    if scans.len() < 2 {
                        scans.push(at..end);
                    }
                }
                0xdd => restarts = jpeg.get(at + 2..end).is_some_and(|interval| interval != [0, 0]),
                _ => {}
            }
            at = end.min(jpeg.len());
        };
        let frame = match (&frames[..], &scans[..]) {
            ([(0xc0 | 0xc1, frame)], [scan]) if frame.end <= scan.start => {
                Frame::read(jpeg, frame.clone(), scan.clone())
            }
            _ => None,
        };
        let whole_frame =
            |(marker, at): &(u8, Range<usize>)| Some((*marker, jpeg.get(at.clone())?));
        let refusal = frames.first().and_then(whole_frame);
        let refusal = refusal.and_then(|(marker, segment)| all_scans.refusal(marker, segment));
        Self { complete, frame, refusal }
    }
}

/// Returns the position after the code of the next marker at or after `at`.
fn next_marker(jpeg: &[u8], at: usize) -> Option<usize> {
    let start = at + memchr(0xff, jpeg.get(at..)?)?;
    let fill = jpeg[start..].iter().position(|&byte| byte != 0xff)?;
    Some(start + fill + 1)
}

impl Frame {
    /// Reads the segments of the frame and of the scan.
    fn read(jpeg: &[u8], frame: Range<usize>, scan: Range<usize>) -> Option<Self> {
        let height_at = frame.start + 3..frame.start + 5;
        let &[_, _, 8, top, bottom, left, right, 3, _, luma, _, _, 0x11, _, _, 0x11, _] =
            jpeg.get(frame)?
        else {
            return None;
        };
        let &[_, _, 3, ..] = jpeg.get(scan)? else { return None };
        let block_rows = match luma {
            0x11 | 0x21 => 8,
            0x12 | 0x22 => 16,
            _ => return None,
        };
        let height = u16::from_be_bytes([top, bottom]);
        Some(Self { width: u16::from_be_bytes([left, right]), height, height_at, block_rows })
    }

    /// Number of rows to decode for the upper `rows` rows to be what they are in the whole image.
    /// Colour of half the rows is interpolated, so that a row may depend on the one below it.
    pub(super) fn rows_to_decode(&self, rows: u32) -> u16 {
        let needed = if self.block_rows == 16 { rows.saturating_add(1) } else { rows };
        let decoded = needed.max(1).checked_next_multiple_of(self.block_rows);
        let decoded = decoded.and_then(|rows| u16::try_from(rows).ok());
        decoded.map_or(self.height, |rows| rows.min(self.height))
    }
}
