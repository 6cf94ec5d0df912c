//! Parsers of response headers.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, header};

/// `Content-Range`: `bytes FIRST-LAST/TOTAL` with status 206, `bytes */TOTAL` with status 416.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    /// Offsets of the first and the last byte of the body.
    pub(crate) bytes: Option<(u64, u64)>,
    /// Size of the whole file in bytes, where the server knows it.
    pub(crate) total: Option<u64>,
}

/// Returns the value of a header, if it is present and visible ASCII.
pub(crate) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Parses `Content-Range`; `None` if it is malformed or contradicts itself.
pub(crate) fn content_range(value: &str) -> Option<ContentRange> {
    let (bytes, total) = value.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
    let total = match total {
        "*" => None,
        total => Some(digits(total)?),
    };
    let bytes = match bytes {
        "*" => None,
        bytes => {
            let (first, last) = bytes.split_once('-')?;
            let (first, last) = (digits(first)?, digits(last)?);
            if first > last || total.is_some_and(|total| last >= total) {
                return None;
            }
            Some((first, last))
        }
    };
    Some(ContentRange { bytes, total })
}

/// Parses a decimal number without a sign, which Rust's own parser accepts.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Parses `Retry-After`, a number of seconds or a date, as the time to wait.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Some(seconds) = digits(value.trim()) {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Returns what identifies this version of the file in `If-Range`: a strong `ETag`, else
/// `Last-Modified`.
pub(crate) fn validator(headers: &HeaderMap) -> Option<&str> {
    text(headers, header::ETAG)
        .filter(|tag| tag.starts_with('"'))
        .or_else(|| text(headers, header::LAST_MODIFIED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_make_sense_are_read() {
        let range = |bytes, total| Some(ContentRange { bytes, total });
        assert_eq!(content_range("bytes 5-9/10"), range(Some((5, 9)), Some(10)));
        assert_eq!(content_range("bytes 0-0/*"), range(Some((0, 0)), None));
        assert_eq!(content_range("bytes */10"), range(None, Some(10)));
        for wrong in [
            "",
            "bytes",
            "5-9/10",
            "bytes 5-9",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes -5-9/10",
            "bytes +5-9/10",
            "lines 5-9/10",
            "bytes 5-99999999999999999999/*",
            "bytes 5-/10",
        ] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn waiting_times_are_seconds_or_dates() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let seconds = |value| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sat, 06 Nov 1993 08:50:37 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-3"), None);
        assert_eq!(seconds("99999999999999999999999"), None);
    }

    #[test]
    fn a_weak_tag_tells_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, "W/\"a\"".parse().unwrap());
        assert_eq!(validator(&headers), None);
        headers.insert(header::LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        assert_eq!(validator(&headers), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        headers.insert(header::ETAG, "\"a\"".parse().unwrap());
        assert_eq!(validator(&headers), Some("\"a\""));
    }
}
