//! A single GET over HTTP or HTTPS, redirects included.

use ureq::http::{Response, StatusCode, Uri, header};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, RustlsConnector, TcpConnector,
};
use ureq::{Agent, Body};

use crate::address::{self, MAX_REDIRECTS};
use crate::headers::text;
use crate::pace::{Pace, Watch};
use crate::{Downloader, Proxies, RetryPolicy, RootCertificates, Token};

/// Sends requests; keeps no connection between them.
pub(crate) struct Client {
    retry_policy: RetryPolicy,
    proxies: Proxies,
    roots: RootCertificates,
    token: Option<Token>,
}

/// Why a request got no response.
pub(crate) enum RequestError {
    /// A later attempt may succeed: a name that does not resolve, a connection that breaks.
    Transient(String),
    /// Another attempt would fail alike: addresses and redirects that are refused.
    Permanent(String),
}

/// Where in the file a request starts.
pub(crate) struct ResumePoint<'a> {
    /// Offset of the first byte requested; 0 requests the whole file.
    pub(crate) offset: u64,
    /// Value for `If-Range`: identifies the version that the bytes on disk are of.
    pub(crate) validator: Option<&'a str>,
}

impl ResumePoint<'_> {
    /// The start of the file.
    pub(crate) const START: Self = Self { offset: 0, validator: None };
}

impl Client {
    pub(crate) fn new(downloader: &Downloader) -> Self {
        let Downloader { retry_policy, proxies, roots, token, .. } = downloader.clone();
        Self { retry_policy, proxies, roots, token }
    }

    /// Returns the response at the end of all redirects, whatever its status, and the pace that its
    /// content has to keep.
    pub(crate) fn get(
        &self,
        address: &str,
        start: &ResumePoint<'_>,
    ) -> Result<(Response<Body>, Pace), RequestError> {
        let mut uri = address::parse(address).map_err(RequestError::Permanent)?;
        let mut visited = vec![uri.clone()];
        loop {
            let pace = Pace::start(&self.retry_policy);
            let response = self.request(&uri, start, &pace)?;
            if !is_redirect(response.status()) {
                return Ok((response, pace));
            }
            let location = text(response.headers(), header::LOCATION).unwrap_or_default();
            uri = address::redirect(&uri, location).map_err(RequestError::Permanent)?;
            if visited.contains(&uri) {
                let why = format!("redirects lead in a circle, back to {uri}");
                return Err(RequestError::Permanent(why));
            }
            if visited.len() > MAX_REDIRECTS {
                let why = format!("more than {MAX_REDIRECTS} redirects, the last to {uri}");
                return Err(RequestError::Permanent(why));
            }
            visited.push(uri.clone());
        }
    }

    /// Sends one request, following no redirect.
    fn request(
        &self,
        uri: &Uri,
        start: &ResumePoint<'_>,
        pace: &Pace,
    ) -> Result<Response<Body>, RequestError> {
        let proxy = self.proxies.proxy_for(uri);
        let via = proxy.map(|(variable, _)| format!(", by the proxy that {variable} names"));
        let via = via.unwrap_or_default();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed by `get`, under rules of our own.
            .max_redirects(0)
            .proxy(proxy.map(|(_, proxy)| proxy.clone()))
            .tls_config(self.roots.tls_config())
            .timeout_connect(Some(self.retry_policy.connect_timeout))
            .timeout_recv_response(Some(self.retry_policy.read_timeout))
            .timeout_per_read(Some(self.retry_policy.read_timeout))
            // A connection that broke must not be reused.
            .max_idle_connections(0)
            .user_agent(concat!("fewshot-fetch/", env!("CARGO_PKG_VERSION")))
            // Ranges count the bytes of the file, not those of a compressed form of it.
            .accept_encoding("identity")
            .build();
        // ureq's own chain, with the watch between TCP and TLS.
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(Watch(pace.clone()))
                .chain(RustlsConnector::default());
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        let mut request = agent.get(uri);
        if start.offset > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", start.offset));
            if let Some(validator) = start.validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        // Servers that a redirect leads to do not get the token.
        if let Some(token) = self.token.as_ref().filter(|token| token.is_for(uri)) {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        request.call().map_err(|e| match e {
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::InvalidProxyUrl => {
                RequestError::Permanent(format!("{e}{via}"))
            }
            // A certificate that is not trusted, or a server that does not speak TLS.
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                RequestError::Permanent(format!("{e}{via}"))
            }
            e => RequestError::Transient(format!("{e}{via}")),
        })
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
