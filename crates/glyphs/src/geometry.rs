//! Points of the plane, their rotation without sine and cosine, and random displacements.

use std::ops::{Add, Mul, Sub};

use rand::Rng;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub x: f32,
    pub y: f32,
}

impl Point {
    pub fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// Draws a point with both coordinates from -1 to 1.
    pub fn uniform(rng: &mut impl Rng) -> Self {
        Self::new(rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0))
    }

    pub fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }

    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// Returns the point turned by 90 degrees.
    pub fn perpendicular(self) -> Self {
        Self::new(-self.y, self.x)
    }

    /// Returns the point turned by four times the arc tangent of `quarter`: two turns by
    /// `cos = (1 - q²) / (1 + q²)`, `sin = 2q / (1 + q²)`.
    pub fn turned(self, quarter: f32) -> Self {
        let square = quarter * quarter;
        let (cos, sin) = ((1.0 - square) / (1.0 + square), 2.0 * quarter / (1.0 + square));
        let half = |p: Self| p * cos + p.perpendicular() * sin;
        half(half(self))
    }
}

impl Add for Point {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Point {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y)
    }
}

impl Mul<f32> for Point {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        Self::new(self.x * factor, self.y * factor)
    }
}

/// Draws a number of mean 0 and the given standard deviation: the sum of four uniform draws, close
/// to a normal draw and never farther out than `2 √3` deviations.
pub(super) fn jitter(rng: &mut impl Rng, deviation: f32) -> f32 {
    let sum: f32 = (0..4).map(|_| rng.random_range(-1.0f32..1.0)).sum();
    // A uniform draw from -1 to 1 has variance 1/3, the sum of four of them 4/3.
    sum * 0.75f32.sqrt() * deviation
}

/// Draws a point by [`jitter`] in both coordinates.
pub(super) fn jitter_point(rng: &mut impl Rng, deviation: f32) -> Point {
    Point::new(jitter(rng, deviation), jitter(rng, deviation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_without_trigonometry() {
        for degrees in [-200.0f32, -30.0, 0.0, 45.0, 180.0, 270.0] {
            let angle = degrees.to_radians();
            let turned = Point::new(2.0, 0.0).turned((angle / 4.0).tan());
            let exact = Point::new(2.0 * angle.cos(), 2.0 * angle.sin());
            assert!((turned - exact).length() < 1e-5, "{degrees}°: {turned:?}");
        }
    }

    #[test]
    fn jitter_has_its_deviation() {
        let mut rng = fewshot_seed::stream(0, "jitter", &[]);
        let draws: Vec<f32> = (0..20_000).map(|_| jitter(&mut rng, 0.5)).collect();
        let mean = draws.iter().sum::<f32>() / draws.len() as f32;
        let variance = draws.iter().map(|d| d * d).sum::<f32>() / draws.len() as f32;
        assert!(mean.abs() < 0.02 && (variance - 0.25).abs() < 0.01, "{mean} {variance}");
    }
}
