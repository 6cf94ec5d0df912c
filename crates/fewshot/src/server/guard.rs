//! Who may ask: pages of this server alone, since any page in a browser can send requests to this
//! machine.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What a request has to carry.
pub struct Guard {
    /// What `Host` may be.
    hosts: Vec<String>,
    token: Option<String>,
}

impl Guard {
    pub fn new(address: SocketAddr, token: Option<String>) -> Self {
        let port = address.port();
        let names = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
        let mut hosts = names.to_vec();
        if !address.ip().is_loopback() {
            // Whatever name others know this machine by; the token tells them from pages elsewhere.
            hosts.clear();
        }
        Self { hosts, token }
    }

    /// Why a request is refused, if it is.
    fn refusal(&self, method: &Method, headers: &HeaderMap) -> Option<&'static str> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        if !self.hosts.is_empty() && !self.hosts.iter().any(|known| known == host) {
            return Some("this server answers to this machine's own name alone");
        }
        let is_safe = method == Method::GET || method == Method::HEAD;
        if let (false, Some(origin)) = (is_safe, text(header::ORIGIN))
            && origin.strip_prefix("http://").or(origin.strip_prefix("https://")) != Some(host)
        {
            return Some("a page of another server may not ask this one");
        }
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        match (&self.token, given) {
            (Some(token), given) if !is_equal(token, given.unwrap_or_default()) => {
                Some("the header `Authorization: Bearer TOKEN` is missing or wrong")
            }
            _ => None,
        }
    }
}

/// Compares in a time that does not tell where two texts differ.
fn is_equal(a: &str, b: &str) -> bool {
    let differences = a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && differences == 0
}

/// Refuses what may not ask, and tells browsers to load nothing from elsewhere.
pub async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    // The page itself holds nothing: it asks for the token.
    let is_page = ["/", "/page.js", "/page.css"].contains(&request.uri().path());
    let refusal = guard.refusal(request.method(), request.headers());
    let refusal = refusal.filter(|reason| !(is_page && reason.contains("Bearer")));
    let mut response = match refusal {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    };
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
          connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_pages_and_names_are_refused() {
        let local = Guard::new(([127, 0, 0, 1], 8000).into(), None);
        let with = |guard: &Guard, method: Method, headers: &[(&'static str, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            guard.refusal(&method, &headers.collect())
        };
        let host = ("host", "localhost:8000");
        assert_eq!(with(&local, Method::GET, &[host]), None);
        assert_eq!(with(&local, Method::POST, &[host]), None, "a program without a page");
        assert_eq!(with(&local, Method::POST, &[host, ("origin", "http://localhost:8000")]), None);
        for headers in [
            &[("host", "evil.example:8000")][..],
            &[("host", "localhost:9000")],
            &[],
            &[host, ("origin", "http://evil.example")],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://localhost:9000")],
        ] {
            assert!(with(&local, Method::POST, headers).is_some(), "{headers:?}");
        }
        let open = Guard::new(([192, 168, 0, 2], 8000).into(), Some("secret".to_owned()));
        let host = ("host", "studio:8000");
        assert_eq!(with(&open, Method::GET, &[host, ("authorization", "Bearer secret")]), None);
        for token in ["Bearer secre", "Bearer secrets", "secret", "Bearer "] {
            assert!(
                with(&open, Method::GET, &[host, ("authorization", token)]).is_some(),
                "{token}"
            );
        }
        assert!(with(&open, Method::GET, &[host]).is_some());
    }
}
