//! The program of a class: strokes, each made of lines, arcs and splines.

use fewshot_seed::stream;
use rand::Rng;

use super::geometry::{Point, jitter, jitter_point};
use super::raster::coverage;

/// Number of segments that a part is traced with.
const STEPS: usize = 10;
/// Number of classes of a family; 64, 16 and 20 are multiples of it, so that no family is divided
/// between base, val and novel classes.
const FAMILY: usize = 4;
/// Number of programs tried for each class; see [`generate`].
const CANDIDATES: usize = 16;

/// The strokes of one class, in the square from -1 to 1, with the bounds of their drawing.
#[derive(Clone, Debug)]
pub(super) struct Program {
    strokes: Vec<Stroke>,
    centre: Point,
    extent: f32,
}

/// The path of the pen between touching the paper and leaving it.
#[derive(Clone, Debug)]
struct Stroke {
    start: Start,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Start {
    At(Point),
    /// On an earlier stroke, at this fraction of its length.
    On {
        stroke: usize,
        along: f32,
    },
}

#[derive(Clone, Debug)]
struct Part {
    to: Point,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    Line,
    /// `bulge` is the tangent of a quarter of the angle, so that 1 is a half circle.
    Arc {
        bulge: f32,
    },
    /// A cubic Bézier curve.
    Spline {
        leave: Point,
        arrive: Point,
    },
}

/// Generates `count` programs that differ from each other.
///
/// They come in families whose later members differ from the first in one part, as E from F
/// or O from Q, so that a rough outline does not suffice to tell classes apart.
///
/// Of several candidates for a class, the one whose drawing is least similar to those of all
/// earlier classes is chosen: near duplicates become rare without a bound that might never be met.
pub(super) fn generate(seed: u64, count: usize) -> Vec<Program> {
    let mut programs: Vec<Program> = Vec::with_capacity(count);
    let mut drawings: Vec<Vec<f32>> = Vec::with_capacity(count);
    for class in 0..count {
        let rng = &mut stream(seed, "glyph class", &[class as u64]);
        let first = programs.get(class - class % FAMILY).cloned();
        let (_, program, drawing) = (0..CANDIDATES)
            .map(|_| {
                let program = match &first {
                    Some(first) => first.sibling(rng),
                    None => Program::random(rng),
                };
                let drawing = program.canonical();
                let similarity =
                    drawings.iter().map(|other| dot(other, &drawing)).fold(0.0, f32::max);
                (similarity, program, drawing)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .expect("there are candidates");
        programs.push(program);
        drawings.push(drawing);
    }
    programs
}

impl Program {
    fn random(rng: &mut impl Rng) -> Self {
        let count = [1, 2, 2, 3, 3, 4][rng.random_range(0..6)];
        let strokes = (0..count).map(|earlier| Stroke::random(earlier, count, rng)).collect();
        Self::new(strokes)
    }

    /// Returns a program that differs in one part.
    fn sibling(&self, rng: &mut impl Rng) -> Self {
        let mut strokes = self.strokes.clone();
        let index = rng.random_range(0..strokes.len());
        let parts = &mut strokes[index].parts;
        let part = rng.random_range(0..parts.len());
        parts[part] = Part::random(Point::uniform(rng), rng);
        Self::new(strokes)
    }

    fn new(strokes: Vec<Stroke>) -> Self {
        let mut program = Self { strokes, centre: Point::new(0.0, 0.0), extent: 1.0 };
        let (low, high) = bounds(&program.trace(0.0, &mut stream(0, "", &[])));
        program.centre = (low + high) * 0.5;
        program.extent = 0.5 * (high.x - low.x).max(high.y - low.y);
        program
    }

    /// Returns the paths of the pen for one drawing, centred on 0 and from -1 to 1 along the longer
    /// side.
    ///
    /// `noise` is the standard deviation of the noise added to every control point. A stroke that
    /// starts on another one moves with it.
    pub fn trace(&self, noise: f32, rng: &mut impl Rng) -> Vec<Vec<Point>> {
        let mut paths: Vec<Vec<Point>> = Vec::with_capacity(self.strokes.len());
        for stroke in &self.strokes {
            let start = match stroke.start {
                Start::At(point) => point + jitter_point(rng, noise),
                Start::On { stroke, along } => {
                    let path = &paths[stroke];
                    path[(along * (path.len() - 1) as f32) as usize]
                }
            };
            let mut path = vec![start];
            let mut pen = start;
            for part in &stroke.parts {
                let to = part.to + jitter_point(rng, noise);
                part.shape.trace(pen, to, noise, rng, &mut path);
                pen = to;
            }
            paths.push(path);
        }
        for point in paths.iter_mut().flatten() {
            *point = (*point - self.centre) * (1.0 / self.extent);
        }
        paths
    }

    /// Returns a drawing without noise, by a broad pen, of low resolution and unit norm: the dot
    /// product of two of them is the similarity of two programs.
    pub fn canonical(&self) -> Vec<f32> {
        const SIDE: u32 = 16;
        let middle = Point::new(0.5, 0.5) * SIDE as f32;
        let mut paths = self.trace(0.0, &mut stream(0, "", &[]));
        for point in paths.iter_mut().flatten() {
            *point = *point * (0.4 * SIDE as f32) + middle;
        }
        let mut drawing = coverage(&paths, 0.8, SIDE);
        let norm = dot(&drawing, &drawing).sqrt();
        drawing.iter_mut().for_each(|ink| *ink /= norm);
        drawing
    }
}

impl Stroke {
    fn random(earlier: usize, strokes: usize, rng: &mut impl Rng) -> Self {
        let start = if earlier > 0 && rng.random_bool(0.5) {
            let along = [0.0, 0.5, 1.0][rng.random_range(0..3)];
            Start::On { stroke: rng.random_range(0..earlier), along }
        } else {
            Start::At(Point::uniform(rng))
        };
        // The fewer strokes, the longer each: a glyph of a single line would be too simple.
        let count = match strokes {
            1 => rng.random_range(3..=4),
            2 => rng.random_range(2..=3),
            _ => rng.random_range(1..=2),
        };
        let mut pen = match start {
            Start::At(point) => point,
            Start::On { .. } => Point::uniform(rng),
        };
        let parts = (0..count)
            .map(|_| {
                let part = Part::random(pen, rng);
                pen = part.to;
                part
            })
            .collect();
        Self { start, parts }
    }
}

impl Part {
    fn random(from: Point, rng: &mut impl Rng) -> Self {
        let mut to = Point::uniform(rng);
        // The opposite of a point that is too close is far enough, unless both are in the middle.
        if (to - from).length() < 0.7 {
            to = to * -1.0;
        }
        let shape = match rng.random_range(0..10) {
            0..4 => Shape::Line,
            4..8 => {
                let bulge = rng.random_range(0.3..1.6);
                Shape::Arc { bulge: if rng.random() { bulge } else { -bulge } }
            }
            _ => Shape::Spline { leave: Point::uniform(rng), arrive: Point::uniform(rng) },
        };
        Self { to, shape }
    }
}

impl Shape {
    /// Appends the path from `from`, which is in it already, to `to`.
    fn trace(&self, from: Point, to: Point, noise: f32, rng: &mut impl Rng, path: &mut Vec<Point>) {
        let fractions = (1..=STEPS).map(|step| step as f32 / STEPS as f32);
        let chord = to - from;
        match *self {
            Self::Line => path.extend(fractions.map(|t| from + chord * t)),
            Self::Arc { bulge } => {
                let bulge = bulge * (1.0 + jitter(rng, noise));
                let rise = (1.0 - bulge * bulge) / (4.0 * bulge);
                let centre = from + chord * 0.5 + chord.perpendicular() * rise;
                path.extend(fractions.map(|t| centre + (from - centre).turned(bulge * t)));
            }
            Self::Spline { leave, arrive } => {
                let leave = leave + jitter_point(rng, noise);
                let arrive = arrive + jitter_point(rng, noise);
                path.extend(fractions.map(|t| {
                    let s = 1.0 - t;
                    from * (s * s * s)
                        + leave * (3.0 * s * s * t)
                        + arrive * (3.0 * s * t * t)
                        + to * (t * t * t)
                }));
            }
        }
    }
}

fn bounds(paths: &[Vec<Point>]) -> (Point, Point) {
    let infinite = Point::new(f32::INFINITY, f32::INFINITY);
    paths.iter().flatten().fold((infinite, infinite * -1.0), |(low, high), p| {
        (Point::new(low.x.min(p.x), low.y.min(p.y)), Point::new(high.x.max(p.x), high.y.max(p.y)))
    })
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_arrive() {
        let (from, to) = (Point::new(0.5, -0.25), Point::new(-0.5, 0.75));
        let shapes = [
            Shape::Line,
            Shape::Arc { bulge: 0.4 },
            Shape::Arc { bulge: -1.5 },
            Shape::Spline { leave: Point::new(1.0, 1.0), arrive: Point::new(-1.0, 0.0) },
        ];
        for shape in shapes {
            let mut path = vec![from];
            shape.trace(from, to, 0.0, &mut stream(0, "", &[]), &mut path);
            assert_eq!(path.len(), STEPS + 1);
            assert!((path[STEPS] - to).length() < 1e-5, "{shape:?}: {path:?}");
        }
    }

    #[test]
    fn steady_drawings_fill_their_square() {
        for program in generate(3, 30) {
            let (low, high) = bounds(&program.trace(0.0, &mut stream(0, "", &[])));
            let longer = (high.x - low.x).max(high.y - low.y);
            assert!((longer - 2.0).abs() < 1e-4 && (low + high).length() < 1e-4);
        }
    }

    #[test]
    fn classes_are_distinct() {
        for seed in 0..8 {
            let drawings: Vec<_> = generate(seed, 100).iter().map(Program::canonical).collect();
            for (i, a) in drawings.iter().enumerate() {
                for (j, b) in drawings[..i].iter().enumerate() {
                    assert!(dot(a, b) < 0.85, "seed {seed}: {i} looks like {j}: {}", dot(a, b));
                }
            }
        }
    }
}
