//! Writes JPEGs whose samples are known, with any sampling factors and any order of scans.

use std::f64::consts::PI;

/// Step of all coefficients.
const STEP: i32 = 2;
/// Sizes of AC coefficients in the Huffman table, from 0 on.
const AC_SIZES: u8 = 11;
/// Horizontal and vertical frequency of each coefficient in the order of a file.
pub const ZIGZAG: [(usize, usize); 64] = zigzag();

/// How the coefficients of a scan are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Sequential,
    Progressive,
}

/// An image as a JPEG stores it: a plane of blocks for each component.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub planes: Vec<Plane>,
}

/// The blocks of a component, those included that only fill up a unit.
pub struct Plane {
    /// Horizontal and vertical sampling factor.
    pub sampling: (usize, usize),
    across: usize,
    /// Quantized coefficients in zigzag order.
    blocks: Vec<[i32; 64]>,
}

impl Picture {
    /// Draws waves, other ones in each component.
    pub fn new(width: usize, height: usize, sampling: &[(usize, usize)]) -> Self {
        let mut picture = Self { width, height, planes: Vec::new() };
        let (most_h, most_v) = most(sampling);
        for (component, &(h, v)) in sampling.iter().enumerate() {
            let across = width.div_ceil(8 * most_h) * h;
            let down = height.div_ceil(8 * most_v) * v;
            let (scale_x, scale_y) = (most_h as f64 / h as f64, most_v as f64 / v as f64);
            // What only fills up a block repeats the edge, as encoders do.
            let (last_x, last_y) =
                ((width * h).div_ceil(most_h) - 1, (height * v).div_ceil(most_v) - 1);
            let block = |number: usize| {
                let (left, top) = (number % across * 8, number / across * 8);
                forward(|x, y| {
                    let x = ((left + x).min(last_x) as f64 + 0.5) * scale_x;
                    let y = ((top + y).min(last_y) as f64 + 0.5) * scale_y;
                    wave(component, x, y)
                })
            };
            let blocks = (0..across * down).map(block).collect();
            picture.planes.push(Plane { sampling: (h, v), across, blocks });
        }
        picture
    }

    /// Largest sampling factors.
    pub fn most(&self) -> (usize, usize) {
        most(&self.planes.iter().map(|plane| plane.sampling).collect::<Vec<_>>())
    }

    /// Width and height of a component in samples.
    pub fn size_of(&self, component: usize) -> (usize, usize) {
        let ((most_h, most_v), (h, v)) = (self.most(), self.planes[component].sampling);
        ((self.width * h).div_ceil(most_h), (self.height * v).div_ceil(most_v))
    }

    /// Dequantized coefficients of a block, in zigzag order.
    pub fn block(&self, component: usize, x: usize, y: usize) -> [i32; 64] {
        let plane = &self.planes[component];
        plane.blocks[y * plane.across + x].map(|level| level * STEP)
    }

    /// Whether a scan may hold all these components: a unit has at most ten blocks.
    pub fn fits(&self, scan: &[usize]) -> bool {
        let blocks = |&component: &usize| {
            let (h, v) = self.planes[component].sampling;
            h * v
        };
        scan.len() == 1 || scan.iter().map(blocks).sum::<usize>() <= 10
    }

    /// Writes the file. Each scan lists its components; those of a progressive file are repeated
    /// for the lowest bit of the DC coefficients, and then come two bands of AC coefficients of one
    /// component after the other.
    pub fn encode(&self, coding: Coding, scans: &[&[usize]], interval: usize) -> Vec<u8> {
        let mut file = vec![0xff, 0xd8];
        segment(&mut file, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
        segment(&mut file, 0xdb, &[[0].as_slice(), &[STEP as u8; 64]].concat());
        let mut frame = vec![8];
        frame.extend((self.height as u16).to_be_bytes());
        frame.extend((self.width as u16).to_be_bytes());
        frame.push(self.planes.len() as u8);
        for (id, plane) in (1..).zip(&self.planes) {
            frame.extend([id, (plane.sampling.0 << 4 | plane.sampling.1) as u8, 0]);
        }
        segment(&mut file, if coding == Coding::Sequential { 0xc0 } else { 0xc2 }, &frame);
        // DC: the sizes 0 to 11 in 4 bits; AC: all runs and sizes in 8 bits.
        let dc: Vec<u8> = [0, 0, 0, 0, 12].into_iter().chain([0; 12]).chain(0..12).collect();
        segment(&mut file, 0xc4, &dc);
        let runs = (0..16u8).flat_map(|run| (0..AC_SIZES).map(move |size| run << 4 | size));
        let ac = [0x10, 0, 0, 0, 0, 0, 0, 0, 16 * AC_SIZES].into_iter().chain([0; 8]).chain(runs);
        segment(&mut file, 0xc4, &ac.collect::<Vec<_>>());
        segment(&mut file, 0xdd, &(interval as u16).to_be_bytes());
        let mut scan = |components: &[usize], band, bits| {
            self.scan(&mut file, components, band, bits, interval);
        };
        match coding {
            Coding::Sequential => {
                scans.iter().for_each(|components| scan(components, (0, 63), (0, 0)))
            }
            Coding::Progressive => {
                scans.iter().for_each(|components| scan(components, (0, 0), (0, 1)));
                scans.iter().for_each(|components| scan(components, (0, 0), (1, 0)));
                for band in [(1, 5), (6, 63)] {
                    scans.iter().copied().flatten().for_each(|&one| scan(&[one], band, (0, 0)));
                }
            }
        }
        file.extend([0xff, 0xd9]);
        file
    }

    /// Writes one scan of the coefficients `band.0..=band.1`, of which `bits` tells the bit of the
    /// scan before and the lowest of this one.
    fn scan(
        &self,
        file: &mut Vec<u8>,
        components: &[usize],
        band: (usize, usize),
        bits: (u8, u8),
        interval: usize,
    ) {
        let listed = components.iter().flat_map(|&component| [component as u8 + 1, 0]);
        let mut header = vec![components.len() as u8];
        header.extend(listed);
        header.extend([band.0 as u8, band.1 as u8, bits.0 << 4 | bits.1]);
        segment(file, 0xda, &header);
        let mut out = Bits { file, buffer: 0, count: 0 };
        let mut before = [0; 4];
        for (number, unit) in self.units(components).into_iter().enumerate() {
            if interval > 0 && number > 0 && number % interval == 0 {
                out.flush();
                out.file.extend([0xff, 0xd0 + ((number / interval - 1) % 8) as u8]);
                before = [0; 4];
            }
            for (component, block) in unit {
                if band.0 == 0 && bits.0 == 1 {
                    out.put(block[0] & 1, 1);
                } else if band.0 == 0 {
                    let level = block[0] >> bits.1;
                    let difference = level - before[component];
                    before[component] = level;
                    out.put(size(difference).into(), 4);
                    out.magnitude(difference);
                }
                if band.1 > 0 {
                    out.run_lengths(&block[band.0.max(1)..=band.1]);
                }
            }
        }
        out.flush();
    }

    /// The blocks of each unit of a scan, with their components.
    fn units(&self, components: &[usize]) -> Vec<Vec<(usize, [i32; 64])>> {
        let at = |component: usize, x: usize, y: usize| {
            let plane = &self.planes[component];
            (component, plane.blocks[y * plane.across + x])
        };
        if let &[only] = components {
            let (width, height) = self.size_of(only);
            let (across, down) = (width.div_ceil(8), height.div_ceil(8));
            return (0..across * down).map(|n| vec![at(only, n % across, n / across)]).collect();
        }
        let (most_h, most_v) = self.most();
        let (across, down) = (self.width.div_ceil(8 * most_h), self.height.div_ceil(8 * most_v));
        let unit = |number: usize| {
            let (x, y) = (number % across, number / across);
            let blocks = components.iter().flat_map(|&component| {
                let (h, v) = self.planes[component].sampling;
                (0..h * v).map(move |n| at(component, x * h + n % h, y * v + n / h))
            });
            blocks.collect()
        };
        (0..across * down).map(unit).collect()
    }
}

fn most(sampling: &[(usize, usize)]) -> (usize, usize) {
    let largest = |factor: fn(&(usize, usize)) -> usize| sampling.iter().map(factor).max();
    (largest(|s| s.0).unwrap(), largest(|s| s.1).unwrap())
}

fn wave(component: usize, x: f64, y: f64) -> f64 {
    let wave = match component {
        0 => 60.0 * (0.31 * x + 0.17 * y).sin() + 30.0 * (0.53 * y - 0.09 * x).cos(),
        1 => 70.0 * (0.13 * x - 0.21 * y + 1.0).sin(),
        _ => 70.0 * (0.19 * x + 0.11 * y).cos(),
    };
    wave + 128.0
}

/// Quantized coefficients of a block of samples, in zigzag order.
fn forward(sample: impl Fn(usize, usize) -> f64) -> [i32; 64] {
    let mut samples = [[0.0; 8]; 8];
    for (y, row) in samples.iter_mut().enumerate() {
        for (x, value) in row.iter_mut().enumerate() {
            *value = sample(x, y) - 128.0;
        }
    }
    ZIGZAG.map(|(across, down)| {
        let mut sum = 0.0;
        for (y, row) in samples.iter().enumerate() {
            for (x, value) in row.iter().enumerate() {
                sum += value * basis(across, x) * basis(down, y);
            }
        }
        (sum / f64::from(STEP)).round() as i32
    })
}

/// The orthonormal cosine of a frequency at a position.
pub fn basis(frequency: usize, position: usize) -> f64 {
    let scale = if frequency == 0 { (0.125f64).sqrt() } else { 0.5 };
    scale * ((2 * position + 1) as f64 * frequency as f64 * PI / 16.0).cos()
}

const fn zigzag() -> [(usize, usize); 64] {
    let mut order = [(0, 0); 64];
    let (mut x, mut y) = (0usize, 0usize);
    let mut n = 0;
    while n < 64 {
        order[n] = (x, y);
        if (x + y).is_multiple_of(2) {
            if x == 7 {
                y += 1;
            } else {
                x += 1;
                y = y.saturating_sub(1);
            }
        } else if y == 7 {
            x += 1;
        } else {
            y += 1;
            x = x.saturating_sub(1);
        }
        n += 1;
    }
    order
}

fn segment(file: &mut Vec<u8>, marker: u8, content: &[u8]) {
    file.extend([0xff, marker]);
    file.extend((content.len() as u16 + 2).to_be_bytes());
    file.extend(content);
}

/// Number of bits of a coefficient's magnitude.
fn size(level: i32) -> u8 {
    (32 - level.unsigned_abs().leading_zeros()) as u8
}

/// A writer of coded data.
struct Bits<'a> {
    file: &'a mut Vec<u8>,
    buffer: u64,
    count: u32,
}

impl Bits<'_> {
    fn put(&mut self, value: i32, count: u32) {
        let value = value as u32 as u64 & ((1 << count) - 1);
        self.buffer = self.buffer << count | value;
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.buffer >> self.count) as u8;
            self.file.push(byte);
            if byte == 0xff {
                self.file.push(0);
            }
        }
    }

    fn magnitude(&mut self, level: i32) {
        let value = if level < 0 { level - 1 } else { level };
        self.put(value, size(level).into());
    }

    /// Writes AC coefficients up to the last that is not zero.
    fn run_lengths(&mut self, levels: &[i32]) {
        let mut run = 0;
        for (at, &level) in levels.iter().enumerate() {
            if level != 0 {
                while run > 15 {
                    self.put(15 * i32::from(AC_SIZES), 8);
                    run -= 16;
                }
                self.put(run * i32::from(AC_SIZES) + i32::from(size(level)), 8);
                self.magnitude(level);
                run = 0;
            } else if levels[at..].iter().all(|&level| level == 0) {
                return self.put(0, 8);
            } else {
                run += 1;
            }
        }
    }

    fn flush(&mut self) {
        let missing = self.count.next_multiple_of(8) - self.count;
        self.put((1 << missing) - 1, missing);
    }
}
