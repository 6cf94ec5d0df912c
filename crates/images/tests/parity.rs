//! Transforms against torchvision on Pillow: the `transforms` files of the parity fixtures.

use fewshot_images::{
    Transform, adjust_brightness, adjust_contrast, adjust_saturation, center_crop, normalize,
    resize, resized_crop,
};
use fewshot_parity::{Inputs, files, integers, numbers};
use image::RgbImage;
use serde_json::Value;

/// One level of a sample after normalization, of the channel where it is largest.
const NORMALIZED_LEVEL: f64 = 1.0 / 255.0 / 0.257;

#[test]
fn parity_resize_and_center_crop() {
    for_each_case(|case, image| {
        let size = case["image_size"].as_u64().unwrap() as u32;
        let side = case["resized_side"].as_u64().unwrap() as u32;
        let two_steps = center_crop(&resize(image, side, side).unwrap(), size).unwrap();
        check_image(&case["eval_u8_hwc"], &two_steps, "resize, center_crop");
        let transformed = transform(Transform::eval(size as usize), image);
        check_image(&case["eval_u8_hwc"], &transformed, "Transform::eval");
    });
}

#[test]
fn parity_normalize() {
    for_each_case(|case, image| {
        let size = case["image_size"].as_u64().unwrap() as usize;
        let samples = normalize(&transform(Transform::eval(size), image));
        let samples: Vec<_> = samples.into_iter().map(f64::from).collect();
        let digest = &case["eval_normalized_chw"];
        check_digest(digest, &samples, 1.001 * NORMALIZED_LEVEL, "normalize");
    });
}

#[test]
fn parity_resized_crop() {
    for_each_case(|case, image| {
        let size = case["image_size"].as_u64().unwrap() as u32;
        let digest = &case["resized_crop_u8_hwc"];
        let number = |key: &str| digest[key].as_u64().unwrap() as u32;
        let (top, left) = (number("top"), number("left"));
        let (height, width) = (number("crop_height"), number("crop_width"));
        let cropped = resized_crop(image, top, left, height, width, size).unwrap();
        check_image(digest, &cropped, "resized_crop");
    });
}

#[test]
fn parity_color() {
    for_each_case(|case, image| {
        for (name, digest) in case["color_u8_hwc"].as_object().unwrap() {
            let (adjustment, factor) = name.split_once('_').unwrap();
            let adjust = match adjustment {
                "brightness" => adjust_brightness,
                "contrast" => adjust_contrast,
                "saturation" => adjust_saturation,
                other => panic!("no adjustment is called {other}"),
            };
            let mut adjusted = image.clone();
            adjust(&mut adjusted, factor.parse().unwrap());
            check_image(digest, &adjusted, name);
        }
    });
}

fn transform(transform: Transform, image: &RgbImage) -> RgbImage {
    let mut rng = fewshot_seed::stream(0, "augment", &[]);
    transform.apply(image, &mut rng).unwrap()
}

fn for_each_case(check: impl Fn(&Value, &RgbImage)) {
    for (file, json) in files("transforms") {
        let inputs = Inputs::of(&json);
        let cases = json["cases"].as_array().unwrap();
        assert!(!cases.is_empty(), "{file}");
        for case in cases {
            let side = |key: &str| case[key].as_u64().unwrap() as u32;
            check(case, &synthetic_image(&inputs, side("width"), side("height")));
        }
    }
}

/// Gradients, a chequerboard and noise, as the fixtures' `image` describes.
fn synthetic_image(inputs: &Inputs, width: u32, height: u32) -> RgbImage {
    let noise = inputs.uniform(&format!("img/{width}x{height}"), (width * height * 3) as usize);
    RgbImage::from_fn(width, height, |x, y| {
        let signal = [
            f64::from(x) / f64::from(width - 1),
            f64::from(y) / f64::from(height - 1),
            f64::from((x / 8 + y / 8) % 2),
        ];
        image::Rgb(std::array::from_fn(|channel| {
            let flat = (y * width + x) as usize * 3 + channel;
            let mixed = 0.75 * signal[channel] + 0.25 * noise[flat];
            (mixed.clamp(0.0, 0.999_999) * 256.0) as u8
        }))
    })
}

fn check_image(digest: &Value, image: &RgbImage, what: &str) {
    let shape = [image.height() as usize, image.width() as usize, 3];
    assert_eq!(shape[..], integers(&digest["shape"])[..], "{what}");
    let samples: Vec<_> = image.iter().map(|&sample| f64::from(sample)).collect();
    check_digest(digest, &samples, 1.0, what);
}

/// Each recorded sample within one level, the mean of all within a twentieth of one.
fn check_digest(digest: &Value, samples: &[f64], level: f64, what: &str) {
    assert_eq!(samples.len(), integers(&digest["shape"]).iter().product::<usize>(), "{what}");
    let mut worst = 0.0_f64;
    for (index, value) in integers(&digest["index"]).into_iter().zip(numbers(&digest["value"])) {
        worst = worst.max((samples[index] - value).abs());
    }
    let sum = digest["sum"].as_f64().unwrap();
    let mean_off = (samples.iter().sum::<f64>() - sum) / samples.len() as f64;
    println!("{what}: worst sample {worst:.6}, mean {mean_off:+.6} of {level:.6}");
    assert!(worst <= level, "{what}: a sample is {worst} off");
    assert!(mean_off.abs() <= level / 20.0, "{what}: the mean is {mean_off} off");
    let squares = digest["sum_sq"].as_f64().unwrap();
    let off = samples.iter().map(|sample| sample * sample).sum::<f64>() / squares - 1.0;
    assert!(off.abs() < 2e-3, "{what}: the sum of squares is {off} off");
}
