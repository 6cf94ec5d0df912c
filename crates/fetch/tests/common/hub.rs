//! A server that answers as the Hugging Face hub does: a list of files, and redirects to a
//! second place from which they come.
#![allow(dead_code, missing_docs)]

use fewshot_fetch::Digest;

use super::common::{Answer, Request, Server, answer, ranged, status};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const SHA256: Digest = Digest::Sha256([0; 32]);

/// The hub's answer to `?blobs=true`.
pub fn listing(files: &[(String, Vec<u8>)]) -> String {
    let siblings: Vec<_> = files
        .iter()
        .map(|(path, bytes)| {
            let (size, sha) = (bytes.len(), SHA256.same_kind_of(bytes).to_string());
            let sha = sha.trim_start_matches("sha256:");
            format!(
                r#"{{"rfilename": "{path}", "size": {size}, "blobId": "{COMMIT}",
                     "lfs": {{"sha256": "{sha}", "size": {size}, "pointerSize": 130}}}}"#
            )
        })
        .collect();
    format!(r#"{{"id": "o/r", "sha": "{COMMIT}", "siblings": [{}]}}"#, siblings.join(","))
}

/// A hub with one repository, written as in its addresses: `o/r` or `datasets/o/r`. Whatever
/// `first` answers goes before; files come in pieces of `sent` bytes.
pub fn hub(
    repository: &str,
    files: Vec<(String, Vec<u8>)>,
    sent: usize,
    mut first: impl FnMut(&Request) -> Option<Answer> + Send + 'static,
) -> Server {
    let api = match repository.strip_prefix("datasets/") {
        Some(name) => format!("/api/datasets/{name}/revision/main?blobs=true"),
        None => format!("/api/models/{repository}/revision/main?blobs=true"),
    };
    let resolve = format!("/{repository}/resolve/{COMMIT}/");
    Server::start(move |request| {
        if let Some(answer) = first(request) {
            return answer;
        }
        let path = request.path();
        if path == api {
            let json = listing(&files);
            let length = format!("Content-Length: {}", json.len());
            return answer("200 OK", &[&length], json.as_bytes());
        }
        if let Some(file) = path.strip_prefix(&resolve) {
            return status("302 Found", &[&format!("Location: /cdn/{file}?signature=1")]);
        }
        let file = path.strip_prefix("/cdn/").and_then(|path| path.strip_suffix("?signature=1"));
        match files.iter().find(|(path, _)| Some(&**path) == file) {
            Some((_, bytes)) => ranged(bytes, request, sent, &["ETag: \"1\""]),
            None => status("404 Not Found", &["X-Error-Message: Repository not found"]),
        }
    })
}
