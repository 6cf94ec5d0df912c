//! The pixels of a [`Picture`] as libjpeg-turbo computes them, which Pillow uses: each component is
//! enlarged by its rules (`jdsample.c`), and the sum of cosines is rounded once.

use super::encoder::{Picture, ZIGZAG, basis};

/// Samples of a component in rows.
type Rows = Vec<Vec<i32>>;

/// Returns the pixels in rows of RGB; nothing where a component would have to be enlarged by a factor
/// that is no whole number, which libjpeg refuses.
pub fn pixels(picture: &Picture) -> Option<Vec<u8>> {
    let planes = (0..picture.planes.len()).map(|component| enlarged(picture, component));
    let planes = planes.collect::<Option<Vec<_>>>()?;
    let mut pixels = Vec::with_capacity(3 * picture.width * picture.height);
    for y in 0..picture.height {
        for x in 0..picture.width {
            let sample = |plane: &Rows| f64::from(plane[y][x]);
            let luma = sample(&planes[0]);
            let (blue, red) = match &planes[..] {
                [_, blue, red] => (sample(blue) - 128.0, sample(red) - 128.0),
                _ => (0.0, 0.0),
            };
            let rgb = [
                luma + 1.402 * red,
                luma - 0.344_136 * blue - 0.714_136 * red,
                luma + 1.772 * blue,
            ];
            pixels.extend(rgb.map(|value| value.round().clamp(0.0, 255.0) as u8));
        }
    }
    Some(pixels)
}

fn enlarged(picture: &Picture, component: usize) -> Option<Rows> {
    let ((most_h, most_v), (h, v)) = (picture.most(), picture.planes[component].sampling);
    if !most_h.is_multiple_of(h) || !most_v.is_multiple_of(v) {
        return None;
    }
    let rows = samples(picture, component);
    let narrow = rows[0].len() <= 2;
    Some(match (most_h / h, most_v / v) {
        (1, 1) => rows,
        (2, 1) if !narrow => rows.iter().map(|row| weighted(row, [1, 2], 2)).collect(),
        (2, 2) if !narrow => {
            let sums = weighted_rows(&rows);
            sums.into_iter().map(|row| weighted(&row, [8, 7], 4)).collect()
        }
        (1, 2) => {
            let bias = |y: usize| if y.is_multiple_of(2) { 1 } else { 2 };
            let sums = weighted_rows(&rows).into_iter().enumerate();
            sums.map(|(y, row)| row.iter().map(|sum| (sum + bias(y)) >> 2).collect()).collect()
        }
        (across, down) => repeated(&rows, across, down),
    })
}

/// Two samples for each: three quarters of it and a quarter of the nearer neighbour, or all of it at
/// the edges. `bias` is added to the left and the right one before the division by `1 << shift`.
fn weighted(row: &[i32], bias: [i32; 2], shift: u32) -> Vec<i32> {
    let last = row.len() - 1;
    let both = |x: usize| {
        let (left, right) = (row[x.saturating_sub(1)], row[(x + 1).min(last)]);
        [(3 * row[x] + left + bias[0]) >> shift, (3 * row[x] + right + bias[1]) >> shift]
    };
    (0..row.len()).flat_map(both).collect()
}

/// Twice as many rows: each the sum of three times the nearest and once the second nearest.
fn weighted_rows(rows: &Rows) -> Rows {
    let last = rows.len() - 1;
    let sum = |this: &[i32], near: &[i32]| this.iter().zip(near).map(|(a, b)| 3 * a + b).collect();
    let both = |y: usize| {
        let (above, below) = (&rows[y.saturating_sub(1)], &rows[(y + 1).min(last)]);
        [sum(&rows[y], above), sum(&rows[y], below)]
    };
    (0..rows.len()).flat_map(both).collect()
}

fn repeated(rows: &Rows, across: usize, down: usize) -> Rows {
    let wide = |row: &Vec<i32>| -> Vec<i32> {
        row.iter().flat_map(|&sample| std::iter::repeat_n(sample, across)).collect()
    };
    rows.iter().flat_map(|row| std::iter::repeat_n(wide(row), down)).collect()
}

/// The samples of a component, without those that only fill up blocks.
fn samples(picture: &Picture, component: usize) -> Rows {
    let (width, height) = picture.size_of(component);
    let mut rows = vec![vec![0; width]; height];
    for top in (0..height).step_by(8) {
        for left in (0..width).step_by(8) {
            let block = picture.block(component, left / 8, top / 8);
            for (y, row) in rows[top..].iter_mut().take(8).enumerate() {
                for (x, sample) in row[left..].iter_mut().take(8).enumerate() {
                    let terms = ZIGZAG.iter().zip(&block).filter(|(_, level)| **level != 0);
                    let sum: f64 = terms
                        .map(|(&(across, down), &level)| {
                            f64::from(level) * basis(across, x) * basis(down, y)
                        })
                        .sum();
                    *sample = (sum + 128.0).round().clamp(0.0, 255.0) as i32;
                }
            }
        }
    }
    rows
}
