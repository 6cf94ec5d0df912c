//! An image decoded in part equals the upper rows of the whole, whatever its coding.

use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rand::Rng;

use super::Encoded;
use super::outline::Outline;

/// Odd sides, so that blocks and rows of blocks are not full.
const WIDTH: u32 = 45;
const HEIGHT: u32 = 83;

fn encoded(colour: ColorType, set: impl Fn(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut rng = fewshot_seed::stream(0, "noise", &[]);
    let channels = match colour {
        ColorType::Luma => 1,
        ColorType::Rgb => 3,
        _ => 4,
    };
    let samples = WIDTH * HEIGHT * channels;
    let noise: Vec<u8> = (0..samples).map(|i| (i / 7) as u8 ^ rng.random_range(0..64)).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 85);
    set(&mut encoder);
    encoder.encode(&noise, WIDTH as u16, HEIGHT as u16, colour).unwrap();
    bytes
}

fn decode(bytes: &[u8], rows: u32) -> RgbImage {
    // The content of the buffer must not shine through.
    Encoded::open(bytes.to_vec()).unwrap().decode_rows(rows, vec![0x55; 40_000]).unwrap()
}

/// Checks every number of rows, and returns how many are decoded for the first.
fn check_all_rows(bytes: &[u8], what: &str) -> u32 {
    let whole = super::decode(bytes.to_vec()).unwrap();
    assert_eq!(whole.dimensions(), (WIDTH, HEIGHT), "{what}");
    for rows in 0..=HEIGHT {
        let part = decode(bytes, rows);
        assert!(part.width() == WIDTH && (rows..=HEIGHT).contains(&part.height()), "{what}");
        let wanted = (rows * WIDTH * 3) as usize;
        assert!(part.as_raw()[..wanted] == whole.as_raw()[..wanted], "{what}: {rows} rows");
    }
    decode(bytes, 1).height()
}

#[test]
fn a_part_is_the_beginning_of_the_whole() {
    use SamplingFactor::{F_1_1, F_1_2, F_2_1, F_2_2, F_4_1, F_4_2};
    for (sampling, first) in
        [(F_1_1, 8), (F_2_1, 8), (F_1_2, 16), (F_2_2, 16), (F_4_1, HEIGHT), (F_4_2, HEIGHT)]
    {
        for restart in [0, 1, 4] {
            let bytes = encoded(ColorType::Rgb, |encoder| {
                encoder.set_sampling_factor(sampling);
                encoder.set_restart_interval(restart);
            });
            // This encoder writes a scan for each component here, which is refused with restarts.
            if restart > 0 && matches!(sampling, F_4_1 | F_4_2) {
                let error = super::decode(bytes).unwrap_err();
                assert!(error.reason.contains("restart markers"), "{error}");
                continue;
            }
            let decoded = check_all_rows(&bytes, &format!("{sampling:?}, restart {restart}"));
            assert_eq!(decoded, first, "{sampling:?}");
        }
    }
}

#[test]
fn what_has_no_end_to_its_rows_is_decoded_whole() {
    let progressive = |sampling| {
        encoded(ColorType::Rgb, |encoder| {
            encoder.set_progressive(true);
            encoder.set_sampling_factor(sampling);
        })
    };
    for (name, bytes) in [
        ("progressive 4:4:4", progressive(SamplingFactor::F_1_1)),
        ("progressive 4:2:0", progressive(SamplingFactor::F_2_2)),
        ("grey", encoded(ColorType::Luma, |_| ())),
        ("CMYK", encoded(ColorType::Cmyk, |_| ())),
        ("YCCK", encoded(ColorType::CmykAsYcck, |_| ())),
    ] {
        assert_eq!(check_all_rows(&bytes, name), HEIGHT, "{name}");
    }
}

#[test]
fn a_second_frame_or_scan_forbids_decoding_in_part() {
    let bytes = encoded(ColorType::Rgb, |_| ());
    let position = |marker: u8| bytes.windows(2).position(|pair| pair == [0xff, marker]).unwrap();
    let (frame, scan) = (position(0xc0), position(0xda));
    assert!(Outline::of(&bytes).frame.is_some());
    for (from, to) in [(frame, frame), (scan, scan), (frame, scan)] {
        let mut twice = bytes.clone();
        let len = usize::from(u16::from_be_bytes([bytes[from + 2], bytes[from + 3]])) + 2;
        twice.splice(to..to, bytes[from..from + len].to_vec());
        let outline = Outline::of(&twice);
        assert!(outline.complete && outline.frame.is_none());
    }
}

#[test]
fn a_broken_image_does_not_show_the_one_before_it() {
    let mut bytes = encoded(ColorType::Rgb, |e| e.set_sampling_factor(SamplingFactor::F_1_1));
    // A second scan before the first is complete.
    let scan = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let (header, middle) = (bytes[scan..scan + 14].to_vec(), bytes.len() / 2);
    bytes.splice(middle..middle, header);
    let over = |level| {
        let encoded = Encoded::open(bytes.clone()).unwrap();
        encoded.decode_rows(HEIGHT, vec![level; 40_000]).unwrap()
    };
    assert_eq!(over(0x55), over(0xaa));
}
