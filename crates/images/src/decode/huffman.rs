//! Follows the coded data of a JPEG without decoding an image. Decoders fill in what is missing;
//! here each code has to be present, and none may be left over.

use std::collections::BTreeSet;

use super::strict::nothing_follows;

/// Most bits of a Huffman code.
const MAX_BITS: usize = 16;
const COEFFICIENTS: usize = 64;

/// Checks the order of segments and all coded data. Of the data of progressive JPEGs, whose blocks
/// the decoder counts itself, only that it ends in a marker.
pub(super) fn check(jpeg: &[u8]) -> Result<(), String> {
    let mut image = Tables::default();
    let mut at = 2;
    loop {
        let (marker, start) = marker(jpeg, at)?;
        if marker == 0xd9 {
            image.check_complete()?;
            return nothing_follows(&jpeg[start..]);
        }
        let len = jpeg.get(start..start + 2).ok_or("truncated JPEG")?;
        let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
        at = start + len;
        let segment = jpeg.get(start + 2..at).ok_or("truncated JPEG")?;
        match marker {
            0xc4 => image.huffman(segment).ok_or("a broken Huffman table")?,
            0xc0..=0xc2 => image.frame(marker == 0xc2, segment).ok_or("a broken frame")?,
            0xdd => image.interval = segment_u16(segment, 0).ok_or("a broken interval")?.into(),
            0xda => {
                image
                    .scanned
                    .extend(segment.get(1..).unwrap_or_default().chunks_exact(2).map(|c| c[0]));
                at += image.scan(segment, &jpeg[at..])?;
            }
            _ => {}
        }
    }
}

/// Returns the code of the marker at `at` and the position after it.
fn marker(jpeg: &[u8], at: usize) -> Result<(u8, usize), String> {
    let rest = jpeg.get(at..).unwrap_or_default();
    let fill = rest.iter().take_while(|&&byte| byte == 0xff).count();
    match rest.get(fill) {
        Some(&code) if fill > 0 && code != 0 => Ok((code, at + fill + 1)),
        Some(_) => Err("bytes between its segments that belong to none".into()),
        None => Err("truncated JPEG".into()),
    }
}

fn segment_u16(segment: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*segment.get(at..)?.first_chunk()?))
}

#[derive(Default)]
struct Tables {
    /// Huffman tables by destination: four for DC, then four for AC.
    codes: [Option<Codes>; 8],
    /// Restart interval in units; 0 for none.
    interval: usize,
    frame: Option<Frame>,
    /// Components that occurred in a scan.
    scanned: BTreeSet<u8>,
}

struct Frame {
    is_progressive: bool,
    width: usize,
    height: usize,
    components: Vec<Component>,
}

#[derive(Clone, Copy)]
struct Component {
    id: u8,
    /// Horizontal sampling factor.
    across: usize,
    /// Vertical sampling factor.
    down: usize,
}

impl Tables {
    fn huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&class_and_id, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<MAX_BITS>()?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total)?;
            let (class, id) = (usize::from(class_and_id >> 4), usize::from(class_and_id & 15));
            if class > 1 || id > 3 {
                return None;
            }
            self.codes[class * 4 + id] = Some(Codes::new(counts, symbols)?);
            segment = rest;
        }
        Some(())
    }

    fn frame(&mut self, is_progressive: bool, segment: &[u8]) -> Option<()> {
        let (height, width) = (segment_u16(segment, 1)?.into(), segment_u16(segment, 3)?.into());
        let components = segment.get(6..)?.chunks_exact(3).map(|component| Component {
            id: component[0],
            across: (component[1] >> 4).into(),
            down: (component[1] & 15).into(),
        });
        let components: Vec<_> = components.collect();
        let sampled = |c: &Component| (1..=4).contains(&c.across) && (1..=4).contains(&c.down);
        if !components.iter().all(sampled) || components.len() != usize::from(segment[5]) {
            return None;
        }
        self.frame = Some(Frame { is_progressive, width, height, components });
        Some(())
    }

    /// Checks that there is a frame, and a scan of each of its components.
    fn check_complete(&self) -> Result<(), String> {
        let components = &self.frame.as_ref().ok_or("it has no frame")?.components;
        match components.iter().find(|component| !self.scanned.contains(&component.id)) {
            None => Ok(()),
            Some(component) => Err(format!("component {} has no data", component.id)),
        }
    }

    /// Follows one scan and returns the length of its coded data.
    fn scan(&self, header: &[u8], data: &[u8]) -> Result<usize, String> {
        let mut bits = Bits { data, at: 0, buffer: 0, count: 0 };
        match &self.frame {
            Some(frame) if !frame.is_progressive => {
                let scan = self.baseline(frame, header).ok_or("a broken scan")?;
                scan.follow(self.interval, &mut bits)?;
            }
            _ => bits.skip_to_marker(),
        }
        Ok(bits.at)
    }

    /// Returns the sequence of blocks of a baseline scan.
    fn baseline(&self, frame: &Frame, header: &[u8]) -> Option<Scan<'_>> {
        let (&count, listed) = header.split_first()?;
        let listed = listed.chunks_exact(2).take(count.into());
        let mut blocks = Vec::new();
        let mut only = None;
        for pair in listed {
            let component = frame.components.iter().find(|c| c.id == pair[0])?;
            let dc = self.codes.get(usize::from(pair[1] >> 4))?.as_ref()?;
            let ac = self.codes[4..].get(usize::from(pair[1] & 15))?.as_ref()?;
            let repeated = if count == 1 { 1 } else { component.across * component.down };
            blocks.extend(std::iter::repeat_n((dc, ac), repeated));
            only = Some(component);
        }
        let max_sampling = |side: fn(&Component) -> usize| frame.components.iter().map(side).max();
        let (across, down) = (max_sampling(|c| c.across)?, max_sampling(|c| c.down)?);
        let units = match only.filter(|_| count == 1) {
            Some(c) => {
                let columns = (frame.width * c.across).div_ceil(across).div_ceil(8);
                columns * (frame.height * c.down).div_ceil(down).div_ceil(8)
            }
            None => frame.width.div_ceil(8 * across) * frame.height.div_ceil(8 * down),
        };
        Some(Scan { blocks, units })
    }
}

struct Scan<'a> {
    /// DC and AC codes of each block of a unit (MCU).
    blocks: Vec<(&'a Codes, &'a Codes)>,
    /// Number of units.
    units: usize,
}

impl Scan<'_> {
    fn follow(&self, interval: usize, bits: &mut Bits<'_>) -> Result<(), String> {
        for unit in 0..self.units {
            if interval > 0 && unit > 0 && unit.is_multiple_of(interval) {
                bits.restart(unit / interval - 1)?;
            }
            for (dc, ac) in &self.blocks {
                bits.block(dc, ac).ok_or_else(|| {
                    format!("its data is damaged before unit {unit} of {}", self.units)
                })?;
            }
        }
        bits.align()
    }
}

/// The code words of a table, shortest first.
struct Codes {
    /// For each length in bits: one past its last code, and that minus the index of its symbol.
    ends: [(u32, i32); MAX_BITS],
    symbols: Vec<u8>,
}

impl Codes {
    fn new(counts: &[u8; MAX_BITS], symbols: &[u8]) -> Option<Self> {
        let mut ends = [(0, 0); MAX_BITS];
        let (mut code, mut index) = (0u32, 0u32);
        for (bits, (end, &count)) in (1..).zip(ends.iter_mut().zip(counts)) {
            code = (code << 1) + u32::from(count);
            index += u32::from(count);
            if code > 1 << bits {
                return None;
            }
            *end = (code, code as i32 - index as i32);
        }
        Some(Self { ends, symbols: symbols.to_vec() })
    }
}

/// A bit reader of coded data.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
}

impl Bits<'_> {
    /// Reads one block's codes; nothing if they are invalid or missing.
    fn block(&mut self, dc: &Codes, ac: &Codes) -> Option<()> {
        let size = self.symbol(dc)?;
        self.skip(size)?;
        let mut at = 1;
        while at < COEFFICIENTS {
            let symbol = self.symbol(ac)?;
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            match (run, size) {
                (0, 0) => return Some(()),
                (15, 0) => at += 16,
                (_, 0) => return None,
                _ => at += run + 1,
            }
            if at > COEFFICIENTS {
                return None;
            }
            self.skip(size)?;
        }
        Some(())
    }

    fn symbol(&mut self, codes: &Codes) -> Option<u8> {
        self.fill();
        for (bits, &(end, offset)) in (1..).zip(&codes.ends) {
            if bits > self.count {
                return None;
            }
            let code = (self.buffer >> (self.count - bits)) as u32 & ((1 << bits) - 1);
            if code < end {
                self.count -= bits;
                return codes.symbols.get((code as i32 - offset) as usize).copied();
            }
        }
        None
    }

    fn skip(&mut self, bits: u8) -> Option<()> {
        self.fill();
        self.count = self.count.checked_sub(bits.into())?;
        Some(())
    }

    /// Reads up to a marker or to at least 16 bits.
    fn fill(&mut self) {
        while self.count <= 24 {
            let len = match self.data.get(self.at..) {
                Some([0xff, 0, ..]) => 2,
                Some([byte, ..]) if *byte != 0xff => 1,
                _ => return,
            };
            self.buffer = self.buffer << 8 | u64::from(self.data[self.at]);
            self.at += len;
            self.count += 8;
        }
    }

    /// Skips the padding bits of the last byte, after which there has to be a marker.
    fn align(&mut self) -> Result<(), String> {
        self.fill();
        if self.count >= 8 {
            return Err("more data than its blocks take".into());
        }
        self.count = 0;
        Ok(())
    }

    fn restart(&mut self, number: usize) -> Result<(), String> {
        self.align()?;
        match marker(self.data, self.at)? {
            (code, after) if usize::from(code) == 0xd0 + number % 8 => {
                self.at = after;
                Ok(())
            }
            _ => Err(format!("restart marker {number} is missing or out of order")),
        }
    }

    fn skip_to_marker(&mut self) {
        while let Some(next) = memchr::memchr(0xff, &self.data[self.at..]) {
            self.at += next;
            match self.data.get(self.at + 1) {
                Some(0 | 0xd0..=0xd7) => self.at += 2,
                _ => return,
            }
        }
        self.at = self.data.len();
    }
}
