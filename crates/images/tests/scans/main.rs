//! JPEGs of every combination of sampling factors, orders of scans and codings decode to the pixels
//! that Pillow gives for them.

mod encoder;
mod reference;

use std::path::PathBuf;

use encoder::{Coding, Picture};
use fewshot_images::{check_image, decode};

/// Mean difference from Pillow's levels that is tolerated: both round sums of cosines.
const TOLERANCE: f64 = 0.5;

/// Horizontal and vertical sampling factors of all components.
type Sampling = Vec<(usize, usize)>;

/// Pillow's pixels of the JPEGs of [`for_pillow`], in their order: rows of RGB. Made by
///
/// ```text
/// FEWSHOT_SCANS=/tmp/scans cargo test --workspace --test scans -- --ignored written
/// python3 -c "import sys; from PIL import Image
/// for f in sys.argv[1:]: sys.stdout.buffer.write(Image.open(f).convert('RGB').tobytes())
/// " /tmp/scans/*.jpg > crates/images/tests/scans/pillow.bin
/// ```
///
/// with Pillow 13.0.0 and libjpeg-turbo 3.2.0.
const PILLOW: &[u8] = include_bytes!("pillow.bin");

/// Pictures whose pixels by Pillow are kept.
fn for_pillow() -> Vec<Picture> {
    let mut samplings: Vec<Sampling> = Vec::new();
    for h in [1, 2, 4] {
        for v in [1, 2, 4] {
            samplings.push(vec![(h, v), (1, 1), (1, 1)]);
            samplings.push(vec![(1, 1), (h, v), (h, v)]);
        }
    }
    samplings.extend([
        vec![(2, 1), (1, 2), (1, 2)],
        vec![(1, 2), (2, 1), (2, 1)],
        vec![(2, 2), (2, 1), (2, 1)],
        vec![(2, 2), (1, 2), (1, 1)],
        vec![(2, 1), (1, 1), (2, 1)],
        vec![(3, 1), (1, 1), (1, 1)],
        vec![(1, 1), (3, 3), (1, 3)],
        vec![(1, 1)],
        vec![(2, 2)],
        vec![(1, 4)],
    ]);
    samplings.iter().map(|sampling| Picture::new(19, 13, sampling)).collect()
}

/// One scan for each component.
fn separate(picture: &Picture) -> Vec<Vec<usize>> {
    (0..picture.planes.len()).map(|component| vec![component]).collect()
}

fn encode(picture: &Picture, coding: Coding, scans: &[Vec<usize>], interval: usize) -> Vec<u8> {
    let scans: Vec<_> = scans.iter().map(Vec::as_slice).collect();
    picture.encode(coding, &scans, interval)
}

#[test]
#[ignore = "writes the files that Pillow has decoded"]
fn written() {
    let folder = PathBuf::from(std::env::var_os("FEWSHOT_SCANS").expect("FEWSHOT_SCANS"));
    std::fs::create_dir_all(&folder).unwrap();
    for (number, picture) in for_pillow().iter().enumerate() {
        let file = encode(picture, Coding::Sequential, &separate(picture), 0);
        std::fs::write(folder.join(format!("{number:02}.jpg")), file).unwrap();
    }
}

fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    sum / a.len() as f64
}

/// What all other tests here expect is what Pillow gives.
#[test]
fn the_reference_is_pillow() {
    let pictures = for_pillow();
    let len = |picture: &Picture| 3 * picture.width * picture.height;
    assert_eq!(pictures.iter().map(len).sum::<usize>(), PILLOW.len());
    for (picture, pillow) in pictures.iter().zip(PILLOW.chunks(len(&pictures[0]))) {
        let sampling: Vec<_> = picture.planes.iter().map(|plane| plane.sampling).collect();
        let expected = reference::pixels(picture).unwrap();
        let difference = mean_difference(&expected, pillow);
        assert!(difference < 0.25, "{sampling:?}: {difference}");
        let furthest = expected.iter().zip(pillow).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(furthest <= 4, "{sampling:?}: {furthest}");
    }
}

/// All samplings of three components by 1 to 4: those whose colours are sampled alike, and some
/// whose colours differ.
fn samplings() -> Vec<Sampling> {
    let factors = |n: usize| (n % 4 + 1, n / 4 + 1);
    let alike = (0..256).map(|n| vec![factors(n % 16), factors(n / 16), factors(n / 16)]);
    let different = [
        [(2, 2), (1, 1), (2, 2)],
        [(2, 2), (2, 1), (1, 2)],
        [(2, 1), (1, 1), (2, 1)],
        [(1, 1), (2, 2), (1, 1)],
        [(1, 1), (1, 1), (2, 2)],
        [(1, 2), (2, 1), (2, 2)],
        [(4, 1), (2, 1), (1, 1)],
        [(1, 4), (1, 1), (1, 2)],
    ];
    alike.chain(different.map(Vec::from)).collect()
}

/// All three components in a scan, each in one of its own, two in one and the third in another, in
/// every order.
fn orders() -> Vec<Vec<Vec<usize>>> {
    let mut orders = vec![vec![vec![0, 1, 2]]];
    for first in 0..3 {
        let others = match first {
            0 => [1, 2],
            1 => [0, 2],
            _ => [0, 1],
        };
        orders.push(vec![vec![first], vec![others[0]], vec![others[1]]]);
        orders.push(vec![vec![first], vec![others[1]], vec![others[0]]]);
        orders.push(vec![vec![first], others.to_vec()]);
        orders.push(vec![others.to_vec(), vec![first]]);
    }
    orders
}

/// What became of the files of a picture.
#[derive(Debug, Default, PartialEq)]
struct Tried {
    right: usize,
    /// Scans, coding and restart interval of files that were refused.
    refused: Vec<String>,
}

/// Decodes the picture in every coding, order of scans and restart interval: to the right pixels,
/// or not at all. `verify` agrees.
fn try_all(picture: &Picture, orders: &[Vec<Vec<usize>>]) -> Tried {
    let expected = reference::pixels(picture);
    let sampling: Vec<_> = picture.planes.iter().map(|plane| plane.sampling).collect();
    let mut tried = Tried::default();
    for scans in orders.iter().filter(|scans| scans.iter().all(|scan| picture.fits(scan))) {
        for (coding, interval) in [
            (Coding::Sequential, 0),
            (Coding::Sequential, 2),
            (Coding::Progressive, 0),
            (Coding::Progressive, 2),
        ] {
            let file = encode(picture, coding, scans, interval);
            let how = format!("{coding:?}, scans {scans:?}, restart interval {interval}");
            let what = format!("{sampling:?}, {}×{}, {how}", picture.width, picture.height);
            let checked = check_image(file.clone());
            match decode(file) {
                Ok(image) => {
                    let expected = expected.as_ref().expect(&what);
                    let difference = mean_difference(image.as_raw(), expected);
                    assert!(difference < TOLERANCE, "{what}: {difference}");
                    assert_eq!(checked.expect(&what), image, "{what}");
                    tried.right += 1;
                }
                Err(error) => {
                    let reason = &error.reason;
                    assert!(
                        reason.contains("JPEG") && reason.contains("save it again"),
                        "{what}: {reason}"
                    );
                    assert_eq!(checked.unwrap_err(), error, "{what}");
                    tried.refused.push(how);
                }
            }
        }
    }
    tried
}

#[test]
fn every_sampling_and_order_of_scans_gives_pillows_pixels_or_is_refused() {
    let (orders, mut right, mut refused) = (orders(), 0, 0);
    for sampling in samplings() {
        for (width, height) in [(1, 1), (7, 2), (16, 16), (33, 19), (45, 50)] {
            let picture = Picture::new(width, height, &sampling);
            let tried = try_all(&picture, &orders);
            right += tried.right;
            refused += tried.refused.len();
            // All that cameras and editors write is read.
            let usual = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2)].contains(&sampling[0]);
            if usual && sampling[1..] == [(1, 1); 2] {
                let unread = |how: &String| !how.starts_with("Seq") || how.contains("[[0, 1, 2]]");
                assert!(!tried.refused.iter().any(unread), "{sampling:?}: {:?}", tried.refused);
                let alone = |how: &&String| {
                    !how.contains("restart interval 2") && how.matches('[').count() == 4
                };
                assert_eq!(tried.refused.iter().find(alone), None, "{sampling:?}");
            }
        }
    }
    println!("{right} files right, {refused} refused");
    assert!(right > 9_000 && refused > 10_000, "{right}, {refused}");
}

#[test]
fn grey_is_not_subsampled_whatever_its_factors() {
    for sampling in [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (1, 4), (4, 4)] {
        for (width, height) in [(1, 1), (7, 9), (33, 19)] {
            let picture = Picture::new(width, height, &[sampling]);
            let tried = try_all(&picture, &[vec![vec![0]]]);
            assert_eq!(tried, Tried { right: 4, refused: Vec::new() }, "{sampling:?}");
        }
    }
}
