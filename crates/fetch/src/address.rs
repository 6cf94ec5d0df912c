//! Web addresses: which are accepted, and where a redirect may lead.
//!
//! [`Uri`] parses; only the resolution of a redirect's relative `Location` is written here. The
//! crate `url` would do that, too, but brings 21 crates, most of them ICU for hosts outside ASCII,
//! which are refused.

use ureq::http::Uri;

/// Most redirects that are followed one after the other; browsers follow 20.
pub(crate) const MAX_REDIRECTS: usize = 10;

/// Parses an absolute address of `http` or `https` with a host and without a name or password.
pub(crate) fn parse(address: &str) -> Result<Uri, String> {
    let uri: Uri = address.parse().map_err(|e| format!("`{address}` is no address: {e}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(format!("`{address}` is no address of http or https"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("an address with a name or password in it is refused".into());
    }
    Ok(uri)
}

/// Resolves the `Location` of a redirect. From https it never leads to http: anybody on the way
/// could have sent it, and would get to answer.
pub(crate) fn redirect(from: &Uri, location: &str) -> Result<Uri, String> {
    let location = location.split('#').next().unwrap_or_default().trim();
    let target = parse(&resolve(from, location)?)?;
    if from.scheme_str() == Some("https") && target.scheme_str() != Some("https") {
        return Err(format!("a redirect from https to `{target}`, which is not, is refused"));
    }
    Ok(target)
}

/// Makes a reference absolute.
fn resolve(from: &Uri, location: &str) -> Result<String, String> {
    if location.is_empty() {
        return Err("a redirect to nowhere".into());
    }
    let scheme = from.scheme_str().unwrap_or_default();
    let host = from.authority().map(|authority| authority.as_str()).unwrap_or_default();
    // A scheme ends at a colon before any character of a path or query.
    let has_scheme =
        location.find([':', '/', '?']).is_some_and(|at| location.as_bytes()[at] == b':');
    if has_scheme {
        return Ok(location.to_owned());
    }
    if let Some(rest) = location.strip_prefix("//") {
        return Ok(format!("{scheme}://{rest}"));
    }
    let path = from.path();
    let folder = &path[..=path.rfind('/').unwrap_or(0).min(path.len().saturating_sub(1))];
    Ok(match location.as_bytes()[0] {
        b'/' => format!("{scheme}://{host}{location}"),
        b'?' => format!("{scheme}://{host}{path}{location}"),
        _ => format!("{scheme}://{host}{folder}{location}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from(address: &str, location: &str) -> Result<String, String> {
        redirect(&parse(address).unwrap(), location).map(|uri| uri.to_string())
    }

    #[test]
    fn redirects_lead_where_they_say() {
        let start = "https://a.example:8443/x/y?q=1";
        for (location, expected) in [
            ("https://b.example/z#part", "https://b.example/z"),
            ("//b.example/z", "https://b.example/z"),
            ("/z", "https://a.example:8443/z"),
            ("z", "https://a.example:8443/x/z"),
            ("?q=2", "https://a.example:8443/x/y?q=2"),
            ("/z?to=http://elsewhere", "https://a.example:8443/z?to=http://elsewhere"),
        ] {
            assert_eq!(from(start, location).unwrap(), expected);
        }
        assert_eq!(from("http://a.example", "z").unwrap(), "http://a.example/z");
        assert_eq!(from("http://a.example/x", "https://b.example/").unwrap(), "https://b.example/");
        assert_eq!(from("http://a.example/x", "http://b.example/").unwrap(), "http://b.example/");
    }

    #[test]
    fn redirects_out_of_https_or_to_other_schemes_are_refused() {
        for location in [
            "http://b.example/z",
            "HTTP://a.example:8443/x",
            "ftp://b.example/z",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://name:word@b.example/",
            "https:///z",
            "",
            "#part",
            "https://b.example/ with blanks",
        ] {
            let refused = from("https://a.example/x/y", location);
            assert!(refused.is_err(), "{location}: {refused:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_https_stays_https(location in ".{0,40}") {
            if let Ok(target) = from("https://a.example/x", &location) {
                prop_assert!(target.starts_with("https://"), "{target}");
            }
        }
    }
}
