//! The variation of hand drawing: pose, wobble and noise.

use rand::Rng;

use super::geometry::{Point, jitter_point};
use super::program::Program;
use super::raster::coverage;

/// Standard deviation of the noise of a control point; the glyph is 2 wide.
const MOTOR: f32 = 0.14;
/// Standard deviation of the smooth wobble that bends the whole drawing.
const WOBBLE: f32 = 0.07;
/// Number of cells on a side of the wobble's grid.
const CELLS: usize = 3;

/// Draws a program once; returns the fraction of each pixel, row by row, that ink covers.
pub(super) fn draw(program: &Program, size: u32, rng: &mut impl Rng) -> Vec<f32> {
    let mut paths = program.trace(MOTOR, rng);
    let wobble = Wobble::random(rng);
    let pose = Pose::random(rng);
    let side = size as f32;
    for point in paths.iter_mut().flatten() {
        *point = (pose.apply(wobble.apply(*point)) + Point::new(1.0, 1.0)) * (0.5 * side);
    }
    let radius = side * rng.random_range(0.018..0.042);
    coverage(&paths, radius, size)
}

/// Rotation, shear, scale and translation of one drawing: the columns of a matrix and a shift.
struct Pose {
    x: Point,
    y: Point,
    shift: Point,
}

impl Pose {
    fn random(rng: &mut impl Rng) -> Self {
        // ±0.08 is about ±18 degrees.
        let quarter = rng.random_range(-0.08..0.08);
        let scale = rng.random_range(0.5..0.75);
        let aspect = rng.random_range(0.8..1.25f32).sqrt();
        let shear = rng.random_range(-0.25..0.25);
        Self {
            x: Point::new(scale * aspect, 0.0).turned(quarter),
            y: Point::new(scale * shear, scale / aspect).turned(quarter),
            shift: Point::uniform(rng) * 0.05,
        }
    }

    fn apply(&self, point: Point) -> Point {
        self.x * point.x + self.y * point.y + self.shift
    }
}

/// A smooth field of displacements: random vectors on a grid, blended in between.
struct Wobble([[Point; CELLS + 1]; CELLS + 1]);

impl Wobble {
    fn random(rng: &mut impl Rng) -> Self {
        Self([(); CELLS + 1].map(|()| [(); CELLS + 1].map(|()| jitter_point(rng, WOBBLE))))
    }

    fn apply(&self, point: Point) -> Point {
        let (row, v) = cell(point.y);
        let (column, u) = cell(point.x);
        let across = |row: &[Point; CELLS + 1]| row[column] * (1.0 - u) + row[column + 1] * u;
        point + across(&self.0[row]) * (1.0 - v) + across(&self.0[row + 1]) * v
    }
}

/// Returns the cell of a coordinate from -1 to 1 and the position in it, from 0 to 1, eased at both
/// ends so that the field has no creases.
fn cell(coordinate: f32) -> (usize, f32) {
    let position = ((coordinate + 1.0) * 0.5).clamp(0.0, 1.0) * CELLS as f32;
    let index = (position as usize).min(CELLS - 1);
    let t = position - index as f32;
    (index, t * t * (3.0 - 2.0 * t))
}
