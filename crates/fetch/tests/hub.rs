//! A hub that misbehaves, and the cache of its files.

mod common;
#[path = "common/hub.rs"]
mod fake;

use std::path::Path;

use common::{Answer, Bench, Request, Server, answer, content, status};
use fake::{COMMIT, SHA256, hub};
use fewshot_fetch::{CachedFile, Error, Hub, HubFile};

const ADDRESS: &str = "hf://o/r/sub/best.safetensors";

struct Case {
    bench: Bench,
    server: Server,
}

impl Case {
    /// Starts a hub that breaks off after each tenth of the file.
    fn new(first: impl FnMut(&Request) -> Option<Answer> + Send + 'static) -> Self {
        let files = vec![("sub/best.safetensors".to_owned(), content())];
        Self { bench: Bench::new(), server: hub("o/r", files, 10_000, first) }
    }

    fn hub(&self, token: Option<&str>, offline: bool) -> Hub {
        let home = self.bench.folder.path().to_owned();
        let mut downloader = self.bench.downloader.clone();
        downloader.offline = offline;
        Hub::new(&self.server.url("/"), home, token.map(Into::into), downloader).unwrap()
    }

    fn get(&self, address: &str, token: Option<&str>) -> Result<CachedFile, Error> {
        let file: HubFile = address.parse().unwrap();
        self.hub(token, false).get(&file, &mut |_| {})
    }

    fn refused(&self, token: Option<&str>, parts: &[&str]) {
        let error = self.get(ADDRESS, token).unwrap_err().to_string();
        parts.iter().for_each(|part| assert!(error.contains(part), "no `{part}`: {error}"));
        assert!(!error.contains("hf_"), "the token is shown: {error}");
        assert!(!self.bench.folder.path().join("hub/models--o--r/snapshots").exists());
    }
}

#[test]
fn a_file_comes_in_pieces_into_the_cache_that_all_clients_share() {
    let case = Case::new(|_| None);
    let cached = case.get(ADDRESS, None).unwrap();
    assert!(std::fs::read(&cached.path).unwrap() == content(), "another content");
    assert_eq!(cached.file.to_string(), format!("{ADDRESS}@{COMMIT}"));
    let log = case.server.log();
    // The list; then, ten times, the redirect and a tenth of the file.
    assert_eq!(log.len(), 1 + 2 * 10, "{log:?}");
    assert!(log[1].contains(&format!("/o/r/resolve/{COMMIT}/sub/best.safetensors")), "{log:?}");

    let folder = case.bench.folder.path().join("hub/models--o--r");
    let snapshot = folder.join(format!("snapshots/{COMMIT}/sub/best.safetensors"));
    assert_eq!(cached.path, snapshot);
    let sha = SHA256.digest(&content()).to_string().replace("sha256:", "");
    #[cfg(unix)]
    assert_eq!(std::fs::read_link(&snapshot).unwrap(), Path::new("../../../blobs").join(&sha));
    assert_eq!(std::fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    let blobs: Vec<_> = std::fs::read_dir(folder.join("blobs")).unwrap().collect();
    assert_eq!(blobs.len(), 1, "{blobs:?}");

    // Once it is cached, no request is sent, neither for `main` nor for the commit.
    for address in [ADDRESS.to_owned(), format!("{ADDRESS}@{COMMIT}")] {
        let file: HubFile = address.parse().unwrap();
        for offline in [false, true] {
            assert_eq!(case.hub(None, offline).get(&file, &mut |_| {}).unwrap(), cached);
        }
    }
    assert_eq!(case.server.log().len(), log.len());
    let other: HubFile = "hf://o/r/other.tar".parse().unwrap();
    let error = case.hub(None, true).get(&other, &mut |_| {}).unwrap_err().to_string();
    for part in ["hf://o/r/other.tar: not in the cache at", "OFFLINE is set", "HF_HOME"] {
        assert!(error.contains(part), "{error}");
    }
    let error = case.get("hf://o/r/other.tar", None).unwrap_err().to_string();
    assert!(error.contains("404: there is no such file at commit 0123"), "{error}");
    assert!(error.contains("it has sub/best.safetensors"), "{error}");
    let error = case.get("hf://o/other/x.tar", None).unwrap_err().to_string();
    assert!(error.contains("404 (Repository not found): no such repository"), "{error}");
}

#[test]
fn the_token_is_shown_to_the_hub_alone() {
    // 401 without the token; the target of the redirect must not see it.
    let elsewhere = Server::start(|request| match request.header("authorization") {
        None => common::ranged(&content(), request, usize::MAX, &[]),
        Some(_) => status("400 Bad Request", &[]),
    });
    let away = format!("Location: {}", elsewhere.url("/file"));
    let case = Case::new(move |request| {
        match request.header("authorization") {
            None => {
                return Some(status("401 Unauthorized", &["X-Error-Message: Invalid username"]));
            }
            Some("Bearer hf_mine") => {}
            Some(_) => return Some(status("403 Forbidden", &["X-Error-Code: GatedRepo"])),
        }
        request.path().contains("/resolve/").then(|| status("302 Found", &[&away]))
    });
    case.refused(None, &["hub answers 401 (Invalid username)", "set HF_TOKEN", ADDRESS]);
    let page = case.server.url("/o/r");
    case.refused(Some("hf_other"), &["hub answers 403", "accept the terms on", &page]);
    let cached = case.get(ADDRESS, Some("hf_mine")).unwrap();
    assert!(std::fs::read(cached.path).unwrap() == content(), "another content");
    assert_eq!(elsewhere.log().len(), 1);
}

#[test]
fn the_token_of_the_home_folder_is_taken() {
    let case = Case::new(|request| {
        (request.header("authorization") != Some("Bearer hf_filed"))
            .then(|| status("401 Unauthorized", &[]))
    });
    case.refused(Some("hf_wrong"), &["hub answers 401", "is not valid: renew it"]);
    std::fs::write(case.bench.folder.path().join("token"), "hf_filed\n").unwrap();
    assert!(case.get(ADDRESS, None).unwrap().path.exists());
}

#[test]
fn a_busy_hub_is_asked_again_after_the_wait_it_asks_for() {
    let case = Case::new(|request| match request.number {
        0 => Some(status("429 Too Many Requests", &["Retry-After: 17"])),
        1 | 3 => Some(status("503 Service Unavailable", &[])),
        _ => None,
    });
    let cached = case.get(ADDRESS, None).unwrap();
    assert!(std::fs::read(cached.path).unwrap() == content(), "another content");
    assert_eq!(case.bench.waited()[..2], [17, 2]);
    let case = Case::new(|_| Some(status("503 Service Unavailable", &[])));
    case.refused(None, &["the server answers 503 (after 6 tries", "try again later"]);
    assert_eq!(case.bench.waited(), [1, 2, 4, 8, 16]);
}

#[test]
fn content_other_than_the_listed_one_never_gets_into_the_cache() {
    let case = Case::new(|request| {
        let wrong = vec![7; content().len()];
        request.path().starts_with("/cdn/").then(|| common::whole(&wrong, usize::MAX, &[]))
    });
    case.refused(None, &["its digest is sha256:", "try again later"]);
    let blobs = case.bench.folder.path().join("hub/models--o--r/blobs");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);
}

#[test]
fn servers_that_are_no_hub_are_recognized() {
    let page = b"<html>Welcome to the hotel's network</html>";
    let case = Case::new(|_| Some(answer("200 OK", &["Content-Length: 43"], page)));
    case.refused(None, &["does not answer as the hub does", "blobs=true"]);
    let case = Case::new(|_| Some(status("302 Found", &["Location: /again"])));
    case.refused(None, &["circle"]);
    let case = Case::new(|_| Some(answer("200 OK", &["Content-Length: 99"], b"{\"sha\"")));
    case.refused(None, &["after 6 tries"]);
    let traversal = r#"{"sha": "../../../../../../tmp/x", "siblings": []}"#;
    let length = format!("Content-Length: {}", traversal.len());
    let case = Case::new(move |_| Some(answer("200 OK", &[&length], traversal.as_bytes())));
    case.refused(None, &["is no commit"]);
}

#[test]
fn a_file_that_does_not_fit_on_the_disk_is_not_begun() {
    let case = Case::new(|request| {
        let is_list = request.path().starts_with("/api/");
        let json = fake::listing(&[("sub/best.safetensors".to_owned(), content())]);
        let json = json.replace("\"size\": 100000", &format!("\"size\": {}", 1u64 << 50));
        let length = format!("Content-Length: {}", json.len());
        is_list.then(|| answer("200 OK", &[&length], json.as_bytes()))
    });
    case.refused(None, &[ADDRESS, "1125899.91 GB are needed", " are free", "HF_HUB_CACHE"]);
    assert_eq!(case.server.log().len(), 1, "the list alone is asked for");
}
