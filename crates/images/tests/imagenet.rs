//! How images of networks for ImageNet are made, against torchvision and timm: the `imagenet` files of the
//! parity fixtures.

use fewshot_images::{Interpolation, Preprocessing, Transform};
use fewshot_parity::{Inputs, files, numbers};
use image::RgbImage;

#[test]
fn parity_images() {
    for (_, file) in files("imagenet") {
        let inputs = Inputs::of(&file);
        for case in file["transforms"].as_array().unwrap() {
            let number = |key: &str| case[key].as_u64().unwrap() as usize;
            let (width, height) = (number("width"), number("height"));
            // Squares of four pixels a side.
            let (columns, rows) = (width / 4 + 1, height / 4 + 1);
            let levels = inputs.uniform(&format!("imagenet/{width}x{height}"), rows * columns * 3);
            let image = RgbImage::from_fn(width as u32, height as u32, |x, y| {
                let at = ((y / 4) as usize * columns + (x / 4) as usize) * 3;
                image::Rgb([0, 1, 2].map(|channel| (levels[at + channel] * 256.0) as u8))
            });
            let preprocessing = Preprocessing::ImageNet {
                crop_percent: case["crop_percent"].as_f64().unwrap(),
                interpolation: match case["interpolation"].as_str().unwrap() {
                    "bicubic" => Interpolation::Bicubic,
                    _ => Interpolation::Bilinear,
                },
            };
            let transform = Transform::eval_for(number("size"), preprocessing);
            let mut rng = fewshot_seed::stream(0, "images", &[]);
            let got = preprocessing.normalize(&transform.apply(&image, &mut rng).unwrap());
            let expected = numbers(&case["normalized"]);
            assert_eq!(got.len(), expected.len());
            let differences = got.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs());
            let most = differences.fold(0.0, f64::max);
            // One level.
            assert!(most < 1.001 / 255.0 / 0.224, "{preprocessing:?} {width}x{height}: {most}");
            println!("{preprocessing:?} {width}x{height}: at most {most}");
        }
    }
}
