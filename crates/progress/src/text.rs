//! Durations, numbers of things, and text that is safe to print.

/// Longest text that [`printable`] returns, in characters.
const LONGEST: usize = 2_000;
/// Longest value that [`printable_value`] returns, in characters.
const LONGEST_VALUE: usize = 200;

/// Returns `4 d 3 h`, `2 h 5 min`, `3 min` or `40 s`; `unknown time` for what is no number of
/// seconds, as what is left of work that does not advance.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown time".to_owned();
    }
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        0..2 => format!("{seconds:.0} s"),
        2..60 => format!("{minutes} min"),
        60..2880 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1440, minutes % 1440 / 60),
    }
}

/// Returns `1 epoch` or `2 epochs`: a number with the name of what is counted, in its singular.
pub fn counted(count: usize, singular: &str) -> String {
    let ending = match singular {
        _ if count == 1 => "",
        word if word.ends_with('s') => "es",
        _ => "s",
    };
    match singular.strip_suffix('y').filter(|_| count != 1) {
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {singular}{ending}"),
    }
}

/// Makes text from a file or a server safe for a terminal and short: control characters but line
/// feeds, which could move the cursor, and those that reverse the direction of text become `?`;
/// of more than 2,000 characters the middle is left out, so that the end of a message, which says
/// what to do, stays.
pub fn printable(text: &str) -> String {
    shorten_middle(&without_control(text), LONGEST)
}

/// As [`printable`], for one value within a message: on one line, of at most 200 characters.
pub fn printable_value(text: &str) -> String {
    shorten_middle(&without_control(text).replace('\n', "?"), LONGEST_VALUE)
}

/// As [`printable`], but each line may have its 2,000 characters: for tables and reports.
pub(crate) fn printable_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

fn without_control(text: &str) -> String {
    let is_unsafe = |c: char| {
        let is_direction = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        is_direction || c.is_control() && c != '\n'
    };
    text.chars().map(|c| if is_unsafe(c) { '?' } else { c }).collect()
}

/// Cuts text to `most` characters, of which the last quarter is its end.
fn shorten_middle(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let end = most / 4;
    let start = text.chars().take(most - end - 1);
    start.chain(['…']).chain(text.chars().skip(count - end)).collect()
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
            (f64::NAN, "unknown time"),
            (f64::INFINITY, "unknown time"),
        ];
        for (seconds, text) in expected {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn one_of_a_thing_is_singular() {
        let said = |count, singular| counted(count, singular);
        assert_eq!((said(1, "epoch"), said(2, "epoch")), ("1 epoch".into(), "2 epochs".into()));
        assert_eq!((said(1, "class"), said(0, "class")), ("1 class".into(), "0 classes".into()));
        assert_eq!((said(1, "query"), said(16, "query")), ("1 query".into(), "16 queries".into()));
    }

    #[test]
    fn text_from_elsewhere_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\n\r"), "a?[2Jb\n?");
        assert_eq!(printable("a\u{202e}b"), "a?b");
        assert_eq!(printable(&"ä".repeat(3_000)).chars().count(), LONGEST);
        let long = printable(&format!("{}: leave it out", "ä".repeat(3_000)));
        assert_eq!(long.chars().count(), LONGEST);
        assert!(long.contains("ä…ä") && long.ends_with("ä: leave it out"), "{long}");
        let value = printable_value(&format!("a\nb{}", "c".repeat(1_000_000)));
        assert!(value.starts_with("a?bc") && value.chars().count() == LONGEST_VALUE, "{value}");
        let table = printable_lines(&format!("\n{}\n\u{9b}x\n", "a".repeat(1_500)).repeat(2));
        assert_eq!((table.matches('…').count(), table.matches("?x\n").count()), (0, 2));
        assert_eq!((shorten("abc", 3), shorten("abc", 2)), ("abc".to_owned(), "a…".to_owned()));
        assert_eq!(shorten("abc", 0), "");
    }
}
