//! Every sample of a resize against Pillow's arithmetic: weights in 22-bit fixed point,
//! a horizontal and then a vertical pass, each rounded to 8 bits.

use fewshot_images::{Transform, center_crop, resize, resized_crop};
use image::{RgbImage, imageops};
use rand::Rng;

const PRECISION: u32 = 22;

/// First pixel and fixed-point weights of each output pixel along one side.
fn weights(from: u32, to: u32) -> Vec<(u32, Vec<i64>)> {
    let scale = f64::from(from) / f64::from(to);
    let support = scale.max(1.0);
    let kernel = |out: u32| {
        let center = (f64::from(out) + 0.5) * scale;
        let start = (center - support + 0.5).max(0.0) as u32;
        let end = ((center + support + 0.5) as u32).min(from);
        let triangle = |x: u32| {
            let distance = (f64::from(x) - center + 0.5) / support;
            (1.0 - distance.abs()).max(0.0)
        };
        let sum: f64 = (start..end).map(triangle).sum();
        let fixed = |x| (triangle(x) / sum * f64::from(1u32 << PRECISION)).round() as i64;
        (start, (start..end).map(fixed).collect())
    };
    (0..to).map(kernel).collect()
}

fn reference_horizontal(image: &RgbImage, width: u32) -> RgbImage {
    let weights = weights(image.width(), width);
    RgbImage::from_fn(width, image.height(), |x, y| {
        let (start, weights) = &weights[x as usize];
        image::Rgb(std::array::from_fn(|channel| {
            let weighted = (*start..)
                .zip(weights)
                .map(|(x, weight)| i64::from(image.get_pixel(x, y).0[channel]) * weight);
            let rounded = weighted.sum::<i64>() + (1 << (PRECISION - 1));
            (rounded >> PRECISION).clamp(0, 255) as u8
        }))
    })
}

fn reference(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let narrow = reference_horizontal(image, width);
    let turned = reference_horizontal(&imageops::rotate90(&narrow), height);
    // Turned by 90° clockwise, the lowest row comes first; the filter is symmetric.
    imageops::rotate270(&turned)
}

fn noise(width: u32, height: u32) -> RgbImage {
    let mut rng = fewshot_seed::stream(0, "noise", &[width.into(), height.into()]);
    RgbImage::from_fn(width, height, |_, _| image::Rgb(rng.random()))
}

/// All samples within a level, and most of them equal.
fn check(ours: &RgbImage, pillow: &RgbImage) {
    assert_eq!(ours.dimensions(), pillow.dimensions());
    let differences = ours.iter().zip(pillow.iter()).map(|(a, b)| a.abs_diff(*b));
    let worst = differences.clone().max().unwrap();
    let equal = differences.filter(|&difference| difference == 0).count();
    let share = equal as f64 / ours.len() as f64;
    println!("{:?}: worst {worst}, equal {:.3} %", ours.dimensions(), 100.0 * share);
    assert!(worst <= 1 && share > 0.98);
}

#[test]
fn resize_is_within_a_level_of_pillow_everywhere() {
    for (from, to) in [
        ((84, 84), (96, 96)),
        ((500, 333), (96, 96)),
        ((500, 333), (257, 257)),
        ((37, 41), (96, 96)),
        ((64, 200), (48, 300)),
        ((1, 1), (5, 3)),
        ((700, 3), (7, 11)),
        ((84, 84), (84, 42)),
    ] {
        let image = noise(from.0, from.1);
        check(&resize(&image, to.0, to.1).unwrap(), &reference(&image, to.0, to.1));
    }
}

#[test]
fn impossible_sizes_are_refused() {
    let image = noise(3, 2);
    for (width, height) in [(0, 1), (1, 0), (u32::MAX, 1), (u32::MAX, u32::MAX)] {
        assert!(resize(&image, width, height).is_err());
    }
    assert!(resize(&RgbImage::new(0, 5), 1, 1).is_err());
}

#[test]
fn a_crop_is_resized_as_if_it_were_the_whole_image() {
    let image = noise(120, 90);
    for (top, left, height, width) in [(0, 0, 90, 120), (18, 17, 45, 60), (89, 119, 1, 1)] {
        let crop = imageops::crop_imm(&image, left, top, width, height).to_image();
        let ours = resized_crop(&image, top, left, height, width, 42).unwrap();
        check(&ours, &reference(&crop, 42, 42));
    }
    assert!(resized_crop(&image, 0, 0, 91, 120, 42).is_err());
    assert!(resized_crop(&image, 0, 0, 0, 120, 42).is_err());
    assert!(resized_crop(&image, u32::MAX, 0, 2, 2, 42).is_err());
    assert!(resized_crop(&image, 1, 1, u32::MAX, u32::MAX, 42).is_err());
}

#[test]
fn evaluation_is_a_resize_and_a_central_crop() {
    // Sides with halves to round: to even, as Python does.
    for size in [1u32, 3, 20, 42, 84, 90, 100, 224] {
        let image = noise(130, 70);
        let side = (f64::from(size) * 1.15).floor() as u32;
        let (mut rng, eval) = (fewshot_seed::stream(0, "", &[]), Transform::eval(size as usize));
        let ours = eval.apply(&image, &mut rng).unwrap();
        let start = (f64::from(side - size) / 2.0).round_ties_even() as u32;
        let whole = reference(&image, side, side);
        let pillow = imageops::crop_imm(&whole, start, start, size, size).to_image();
        check(&ours, &pillow);
        assert_eq!(center_crop(&whole, size).unwrap(), pillow);
        assert!(center_crop(&whole, side + 1).is_err());
    }
}
