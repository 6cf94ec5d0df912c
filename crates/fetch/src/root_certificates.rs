//! Certificate authorities that are trusted.

use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::Error;

/// Root certificates: Mozilla's, which are built in, or those of a file, for networks whose
/// proxy terminates TLS.
#[derive(Clone, Debug, Default)]
pub struct RootCertificates {
    /// Certificates that replace the built-in ones.
    custom: Option<Arc<Vec<Certificate<'static>>>>,
}

impl RootCertificates {
    /// Reads the file that `SSL_CERT_FILE` names; the built-in ones where it is not set.
    ///
    /// # Errors
    /// As [`Self::from_pem`].
    pub fn from_environment() -> Result<Self, Error> {
        let file = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
        file.map_or(Ok(Self::default()), |file| Self::from_pem(Path::new(&file)))
    }

    /// Reads the certificates of a PEM file; no others are trusted.
    ///
    /// # Errors
    /// [`Error::RootCertificates`] if the file cannot be read or has no certificate.
    pub fn from_pem(path: &Path) -> Result<Self, Error> {
        let fault = |reason| Error::RootCertificates { path: path.to_owned(), reason };
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
        Ok(Self { custom: Some(Arc::new(certificates)) })
    }

    pub(crate) fn tls_config(&self) -> TlsConfig {
        let roots = match &self.custom {
            Some(custom) => RootCerts::Specific(Arc::clone(custom)),
            None => RootCerts::WebPki,
        };
        TlsConfig::builder().root_certs(roots).build()
    }
}
