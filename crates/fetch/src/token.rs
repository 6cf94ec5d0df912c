//! Access tokens.

use std::fmt;

use ureq::http::{HeaderValue, Uri};

use crate::{Error, address};

/// A bearer token that is sent to one server only, never to those it redirects to.
#[derive(Clone)]
pub struct Token {
    server: Uri,
    header: HeaderValue,
}

impl Token {
    /// Makes a token for the server of an address.
    ///
    /// # Errors
    /// [`Error::HubSetting`] for an invalid address, or a token that cannot be sent in a header.
    pub fn new(server: &str, token: &str) -> Result<Self, Error> {
        let server = address::parse(server)
            .map_err(|reason| Error::HubSetting { variable: "HF_ENDPOINT", reason })?;
        let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        let header = HeaderValue::from_str(&format!("Bearer {token}")).ok();
        let mut header = header.filter(|_| is_plain && !token.is_empty()).ok_or_else(|| {
            let reason = "it is empty, or has blanks or other characters that no token has";
            Error::HubSetting { variable: "HF_TOKEN", reason: reason.to_owned() }
        })?;
        header.set_sensitive(true);
        Ok(Self { server, header })
    }

    /// Whether an address has the same scheme, host and port.
    pub(crate) fn is_for(&self, uri: &Uri) -> bool {
        (uri.scheme(), uri.authority()) == (self.server.scheme(), self.server.authority())
    }

    pub(crate) fn header(&self) -> &HeaderValue {
        &self.header
    }
}

/// Leaves out the token itself.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token for {}", self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_server_and_is_never_shown() {
        let token = Token::new("https://a.example/x", "hf_secret").unwrap();
        let is_for = |address: &str| token.is_for(&address.parse().unwrap());
        assert!(is_for("https://a.example/y?z") && is_for("https://A.example/"));
        for other in ["http://a.example/", "https://a.example:8443/", "https://b.a.example/"] {
            assert!(!is_for(other), "{other}");
        }
        assert!(!format!("{token:?} {:?}", token.header()).contains("secret"));
        for wrong in ["", "two words", "line\r\nHost: b", "ä"] {
            let error = Token::new("https://a.example/", wrong).unwrap_err().to_string();
            assert!(error.starts_with("HF_TOKEN: "), "{error}");
        }
        let error = Token::new("ftp://a.example/", "x").unwrap_err().to_string();
        assert!(error.starts_with("HF_ENDPOINT: "), "{error}");
    }
}
