//! A page on this machine where photos are labelled and learned, and its JSON API.

mod api;
mod guard;
mod state;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use tokio::net::TcpListener;

use self::guard::Guard;
use self::state::Shared;
use crate::{Album, Error, Network};

/// Longest upload, in bytes.
const MAX_UPLOAD: usize = 64 << 20;

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");
const OPENAPI: &str = include_str!("openapi.json");

/// Where and for whom an album is served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// Where it listens; port 0 for any that is free.
    pub address: SocketAddr,
    /// What every request has to carry, if any: for other machines than this one.
    pub token: Option<String>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), token: None }
    }
}

/// An album that is served.
pub struct Server {
    listener: TcpListener,
    router: Router,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Listens. The album is read from `path`, and written there when it is saved.
    ///
    /// # Errors
    /// An album or address that cannot be used; an address of this machine that others reach, without a
    /// token.
    pub async fn bind(
        path: PathBuf,
        album: Album,
        network: Network,
        options: &ServeOptions,
    ) -> Result<Self, Error> {
        album.check_network(&network)?;
        let refused = |reason: String| Error::Photos {
            path: PathBuf::from(options.address.to_string()),
            reason,
        };
        if !options.address.ip().is_loopback() && options.token.is_none() {
            let reason =
                "others reach this address: give a token that requests have to carry (--token)";
            return Err(refused(reason.to_owned()));
        }
        let listener = TcpListener::bind(options.address).await;
        let listener = listener.map_err(|e| refused(format!("cannot listen: {e}")))?;
        let address = listener.local_addr().map_err(|e| refused(e.to_string()))?;
        let shared = Arc::new(Shared::new(path, album, network));
        let guard = Guard::new(address, options.token.clone());
        let router = Router::new()
            .route("/api/album", get(api::album))
            .route("/api/predict", post(api::predict))
            .route("/api/classes/{class}/photos", post(api::add))
            .route("/api/photos/{sha256}", delete(api::remove))
            .route("/api/photos/{sha256}/thumbnail", get(api::thumbnail))
            .route("/api/undo", post(api::undo))
            .route("/api/save", post(api::save))
            .with_state(Arc::clone(&shared))
            .route("/", get(|| async { text("text/html", PAGE) }))
            .route("/page.js", get(|| async { text("text/javascript", SCRIPT) }))
            .route("/page.css", get(|| async { text("text/css", STYLE) }))
            .route("/openapi.json", get(|| async { text("application/json", OPENAPI) }))
            .layer(DefaultBodyLimit::max(MAX_UPLOAD))
            .layer(from_fn_with_state(Arc::new(guard), guard::check));
        Ok(Self { listener, router, address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stays of the album when the server has ended.
    pub fn handle(&self) -> ServedAlbum {
        ServedAlbum(Arc::clone(&self.shared))
    }

    /// Serves until `stop` is ready.
    ///
    /// # Errors
    /// The system's.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop).await
    }
}

/// The album of a server that may have ended.
pub struct ServedAlbum(Arc<Shared>);

impl ServedAlbum {
    /// Writes changes that were not saved beside the album, and returns that file; does nothing if there are
    /// none.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep(&self) -> Result<Option<PathBuf>, Error> {
        self.0.keep()
    }
}

fn text(kind: &'static str, content: &'static str) -> impl IntoResponse {
    let kind = format!("{kind}; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], content)
}
