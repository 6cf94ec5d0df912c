//! One GET over HTTP or HTTPS.

use ureq::http::{Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

use crate::address::{self, MOST_REDIRECTS};
use crate::headers::text;
use crate::{Downloader, Pace, Proxies, Roots, Token};

/// Asks servers; keeps nothing between requests.
pub(crate) struct Client {
    pace: Pace,
    proxies: Proxies,
    roots: Roots,
    token: Option<Token>,
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// It may be there next time: names that do not resolve, connections that break.
    Now(String),
    /// Another try would get the same: addresses and redirects that are refused.
    Ever(String),
}

/// From which byte on, and of which version of the file.
pub(crate) struct From<'a> {
    pub(crate) byte: u64,
    pub(crate) version: Option<&'a str>,
}

impl Client {
    pub(crate) fn of(downloader: &Downloader) -> Self {
        let Downloader { pace, proxies, roots, token, .. } = downloader.clone();
        Self { pace, proxies, roots, token }
    }

    /// The answer at the end of all redirects, whatever its status.
    pub(crate) fn get(&self, url: &str, from: &From<'_>) -> Result<Response<Body>, NoAnswer> {
        let mut uri = address::parse(url).map_err(NoAnswer::Ever)?;
        let mut seen = vec![uri.clone()];
        loop {
            let answer = self.ask(&uri, from)?;
            if !is_redirect(answer.status()) {
                return Ok(answer);
            }
            let location = text(answer.headers(), header::LOCATION).unwrap_or_default();
            uri = address::redirect(&uri, location).map_err(NoAnswer::Ever)?;
            if seen.contains(&uri) {
                return Err(NoAnswer::Ever(format!("redirects lead in a circle, back to {uri}")));
            }
            if seen.len() > MOST_REDIRECTS {
                let why = format!("more than {MOST_REDIRECTS} redirects, the last to {uri}");
                return Err(NoAnswer::Ever(why));
            }
            seen.push(uri.clone());
        }
    }

    fn ask(&self, uri: &Uri, from: &From<'_>) -> Result<Response<Body>, NoAnswer> {
        let proxy = self.proxies.of(uri);
        let by = proxy.map(|(variable, _)| format!(", by the proxy that {variable} names"));
        let by = by.unwrap_or_default();
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed above, by rules of ours.
            .max_redirects(0)
            .proxy(proxy.map(|(_, proxy)| proxy.clone()))
            .tls_config(self.roots.tls())
            .timeout_connect(Some(self.pace.connect_timeout))
            .timeout_recv_response(Some(self.pace.read_timeout))
            .timeout_per_read(Some(self.pace.read_timeout))
            // A connection that broke is not to be met again.
            .max_idle_connections(0)
            .user_agent(concat!("fewshot-fetch/", env!("CARGO_PKG_VERSION")))
            // Ranges count the bytes of the file, not of a compressed form of it.
            .accept_encoding("identity")
            .build()
            .into();
        let mut request = agent.get(uri);
        if from.byte > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", from.byte));
            if let Some(version) = from.version {
                request = request.header(header::IF_RANGE, version);
            }
        }
        // Whoever a redirect leads to does not get it.
        if let Some(token) = self.token.as_ref().filter(|token| token.is_for(uri)) {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        request.call().map_err(|e| match e {
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::InvalidProxyUrl => {
                NoAnswer::Ever(format!("{e}{by}"))
            }
            // A certificate that is not trusted, or a server that does not speak TLS.
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                NoAnswer::Ever(format!("{e}{by}"))
            }
            e => NoAnswer::Now(format!("{e}{by}")),
        })
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
