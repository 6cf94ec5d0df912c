//! A server that answers like the Hugging Face hub: a list of files, and redirects to the address
//! that has their content.
#![allow(dead_code, missing_docs)]

use fewshot_fetch::DigestAlgorithm;

use super::common::{Answer, Request, Server, answer, ranged, status};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const SHA256: DigestAlgorithm = DigestAlgorithm::Sha256;

/// Returns the hub's answer to `?blobs=true`.
pub fn listing(files: &[(String, Vec<u8>)]) -> String {
    let siblings: Vec<_> = files
        .iter()
        .map(|(path, bytes)| {
            let (size, sha) = (bytes.len(), SHA256.digest(bytes).to_string());
            let sha = sha.trim_start_matches("sha256:");
            format!(
                r#"{{"rfilename": "{path}", "size": {size}, "blobId": "{COMMIT}",
                     "lfs": {{"sha256": "{sha}", "size": {size}, "pointerSize": 130}}}}"#
            )
        })
        .collect();
    format!(r#"{{"id": "o/r", "sha": "{COMMIT}", "siblings": [{}]}}"#, siblings.join(","))
}

/// Starts a hub with one repository, named as in its addresses: `o/r` or `datasets/o/r`. An answer
/// of `first` takes precedence; each response has at most `sent` bytes of a file.
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
