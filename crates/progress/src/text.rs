//! Durations, and text that is safe to print.

/// Longest text that [`printable`] returns, in characters.
const LONGEST: usize = 2_000;

/// Returns `4 d 3 h`, `2 h 5 min`, `3 min` or `40 s`.
pub fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        0..2 => format!("{seconds:.0} s"),
        2..60 => format!("{minutes} min"),
        60..2880 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1440, minutes % 1440 / 60),
    }
}

/// Makes text from a file or a server safe for a terminal: control characters but line feeds,
/// which could move the cursor, and those that reverse the direction of text become `?`, and
/// what exceeds 2,000 characters is cut off.
pub fn printable(text: &str) -> String {
    let is_unsafe = |c: char| {
        let is_direction = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        is_direction || c.is_control() && c != '\n'
    };
    let safe: String = text.chars().map(|c| if is_unsafe(c) { '?' } else { c }).collect();
    shorten(&safe, LONGEST)
}

/// Cuts text to `most` characters; `…` takes the place of what is cut off.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept = text.chars().take(most.saturating_sub(1));
    kept.chain((most > 0).then_some('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_the_two_largest_units() {
        let expected = [
            (0.4, "0 s"),
            (89.0, "89 s"),
            (90.0, "2 min"),
            (3_599.0, "1 h 0 min"),
            (7_500.0, "2 h 5 min"),
            (356_400.0, "4 d 3 h"),
        ];
        for (seconds, text) in expected {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn text_from_elsewhere_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\n\r"), "a?[2Jb\n?");
        assert_eq!(printable("a\u{202e}b"), "a?b");
        assert_eq!(printable(&"ä".repeat(3_000)).chars().count(), LONGEST);
        assert!(printable(&"ä".repeat(3_000)).ends_with("ä…"));
        assert_eq!((shorten("abc", 3), shorten("abc", 2)), ("abc".to_owned(), "a…".to_owned()));
        assert_eq!(shorten("abc", 0), "");
    }
}
