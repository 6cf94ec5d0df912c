//! Whose certificates are trusted.

use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::Error;

/// The authorities that vouch for servers: those that Mozilla trusts, as they are built in,
/// or those of a file, for networks whose proxy looks into what passes.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    given: Option<Arc<Vec<Certificate<'static>>>>,
}

impl Roots {
    /// Those of the file that `SSL_CERT_FILE` names, if it is set.
    ///
    /// # Errors
    /// As [`Self::from_pem`].
    pub fn from_environment() -> Result<Self, Error> {
        let file = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
        file.map_or(Ok(Self::default()), |file| Self::from_pem(Path::new(&file)))
    }

    /// Those of a PEM file, and no others.
    ///
    /// # Errors
    /// [`Error::Roots`] where it has none.
    pub fn from_pem(path: &Path) -> Result<Self, Error> {
        let fault = |reason| Error::Roots { path: path.to_owned(), reason };
        let pem = std::fs::read(path).map_err(|e| fault(e.to_string()))?;
        let items = parse_pem(&pem).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|e| fault(e.to_string()))?;
        let certificates = items.into_iter().filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        });
        let certificates: Vec<_> = certificates.collect();
        if certificates.is_empty() {
            return Err(fault("there is no certificate in it".into()));
        }
        Ok(Self { given: Some(Arc::new(certificates)) })
    }

    pub(crate) fn tls(&self) -> TlsConfig {
        let roots = match &self.given {
            Some(given) => RootCerts::Specific(Arc::clone(given)),
            None => RootCerts::WebPki,
        };
        TlsConfig::builder().root_certs(roots).build()
    }
}
