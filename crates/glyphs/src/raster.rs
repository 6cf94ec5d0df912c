//! The drawing of a round pen as pixels.

use super::geometry::Point;

/// Returns the fraction of each pixel, row by row, that a pen of this radius covers along `paths`.
///
/// Points are in pixels. The fraction follows from a pixel's distance to the nearest segment; each
/// segment visits only the pixels within its reach.
pub(super) fn coverage(paths: &[Vec<Point>], radius: f32, size: u32) -> Vec<f32> {
    let side = size as usize;
    let reach = radius + 0.5;
    let mut nearest = vec![reach * reach; side * side];
    for segment in paths.iter().flat_map(|path| path.windows(2)) {
        let (from, chord) = (segment[0], segment[1] - segment[0]);
        // A segment without length is a dot: any finite factor then gives its one point.
        let inverse = 1.0 / chord.dot(chord).max(f32::MIN_POSITIVE);
        let columns = span(segment[0].x, segment[1].x, reach, side);
        for row in span(segment[0].y, segment[1].y, reach, side) {
            let line = &mut nearest[row * side..][columns.clone()];
            for (pixel, column) in line.iter_mut().zip(columns.clone()) {
                let at = Point::new(column as f32 + 0.5, row as f32 + 0.5) - from;
                let off = at - chord * (at.dot(chord) * inverse).clamp(0.0, 1.0);
                *pixel = pixel.min(off.dot(off));
            }
        }
    }
    nearest.iter_mut().for_each(|square| *square = (reach - square.sqrt()).clamp(0.0, 1.0));
    nearest
}

/// Returns the pixels of one axis whose centres lie within `reach` of the interval from `a` to `b`.
fn span(a: f32, b: f32, reach: f32, side: usize) -> std::ops::Range<usize> {
    // The cast takes values below 0, which are off the paper, to 0.
    let start = ((a.min(b) - reach) as usize).min(side);
    let end = ((a.max(b) + reach + 1.0) as usize).clamp(start, side);
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_every_pixel_against_every_segment() {
        let point = Point::new;
        let (size, radius) = (16, 1.3);
        let paths = [
            vec![point(-3.0, 2.0), point(9.5, 4.0), point(9.5, 4.0), point(12.0, 20.0)],
            vec![point(5.0, 11.0), point(5.0, 11.0)],
        ];
        let drawn = coverage(&paths, radius, size);
        for (index, &ink) in drawn.iter().enumerate() {
            let (row, column) = (index / size as usize, index % size as usize);
            let at = point(column as f32 + 0.5, row as f32 + 0.5);
            let distance = paths
                .iter()
                .flat_map(|path| path.windows(2))
                .map(|s| {
                    let chord = s[1] - s[0];
                    let square = chord.dot(chord);
                    let t = if square > 0.0 { (at - s[0]).dot(chord) / square } else { 0.0 };
                    (at - s[0] - chord * t.clamp(0.0, 1.0)).length()
                })
                .fold(f32::INFINITY, f32::min);
            let expected = (radius + 0.5 - distance).clamp(0.0, 1.0);
            assert!((ink - expected).abs() < 1e-4, "({column}, {row}): {ink} not {expected}");
        }
    }

    #[test]
    fn paper_may_have_no_pixels() {
        assert!(coverage(&[vec![Point::new(0.0, 0.0); 2]], 1.0, 0).is_empty());
    }
}
