//! Files that are not what they were.

use rand::Rng;

/// Numbers at which lengths, counts and offsets go wrong.
const NUMBERS: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// What takes the place of a number or a word in a text.
const WORDS: [&str; 14] = [
    "-1",
    "0",
    "1e999",
    "NaN",
    "99999999999999999999",
    "4294967296",
    "null",
    "[]",
    "{}",
    "\"\"",
    "true",
    "\u{1b}[31m",
    "\u{e4}",
    "../../x",
];

/// Returns bytes that differ from these, and what was done to them.
pub fn damage(bytes: &[u8], rng: &mut impl Rng) -> (Vec<u8>, String) {
    let mut damaged = bytes.to_vec();
    let mut done = Vec::new();
    for _ in 0..rng.random_range(1..4) {
        done.push(damage_once(&mut damaged, rng));
    }
    (damaged, done.join(", "))
}

fn damage_once(bytes: &mut Vec<u8>, rng: &mut impl Rng) -> String {
    if bytes.is_empty() {
        bytes.extend((0..rng.random_range(1..64)).map(|_| rng.random::<u8>()));
        return format!("{} random bytes", bytes.len());
    }
    // Half of it near the start, where headers are.
    let end = if rng.random() { bytes.len().min(512) } else { bytes.len() };
    let at = rng.random_range(0..end);
    let count = rng.random_range(1..=(bytes.len() - at).min(4096));
    match rng.random_range(0..9) {
        0 => {
            let bit = rng.random_range(0..8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} turned")
        }
        1 => {
            bytes[at..at + count].iter_mut().for_each(|byte| *byte = rng.random());
            format!("{count} bytes at {at} random")
        }
        2 => {
            let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
            let width = [1, 2, 4, 8][rng.random_range(0..4)].min(bytes.len() - at);
            let order = rng.random();
            let number_bytes = if order { number.to_le_bytes() } else { number.to_be_bytes() };
            let from = if order { 0 } else { 8 - width };
            bytes[at..at + width].copy_from_slice(&number_bytes[from..from + width]);
            format!("{number} in {width} bytes at {at}")
        }
        3 => {
            bytes.truncate(at);
            format!("cut off at {at}")
        }
        4 => {
            bytes.drain(at..at + count);
            format!("{count} bytes at {at} removed")
        }
        5 => {
            let copy = bytes[at..at + count].to_vec();
            let to = rng.random_range(0..=bytes.len());
            bytes.splice(to..to, copy);
            format!("{count} bytes at {at} copied to {to}")
        }
        6 => {
            bytes[at..at + count].fill(0);
            format!("{count} bytes at {at} zero")
        }
        7 => {
            bytes.extend((0..count).map(|_| rng.random::<u8>()));
            format!("{count} random bytes at the end")
        }
        _ => {
            // A word or number of a text, such as a header in JSON.
            let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+".contains(byte);
            let start = bytes[at..].iter().position(is_word).map_or(at, |skip| at + skip);
            let length = bytes[start..].iter().take_while(|byte| is_word(byte)).count();
            let word = WORDS[rng.random_range(0..WORDS.len())];
            bytes.splice(start..start + length, word.bytes());
            format!("{word:?} in place of {length} bytes at {start}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_done_repeats_and_differs() {
        let bytes: Vec<u8> = br#"{"epoch": 3, "loss": 0.25}"#.repeat(20);
        let mut all = std::collections::HashSet::new();
        for n in 0..500 {
            let draw = || damage(&bytes, &mut fewshot_seed::stream(0, "files", &[n]));
            let (damaged, what) = draw();
            assert_eq!(draw(), (damaged.clone(), what.clone()));
            assert!(!what.is_empty() && damaged.len() < 5 * bytes.len() + 4096 * 4);
            all.insert(damaged);
        }
        assert!(all.len() > 450, "{}", all.len());
        let empty = damage(&[], &mut fewshot_seed::stream(0, "files", &[0])).0;
        let cut = damage(&[7], &mut fewshot_seed::stream(0, "files", &[1])).0;
        assert!(empty.len() < 20_000 && cut.len() < 20_000);
    }
}
