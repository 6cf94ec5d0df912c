//! Responses of servers that are refused.

mod common;

use common::{Bench, Server, answer, content, ranged, remote, status, whole};
use fewshot_fetch::{Downloader, Error, Proxies, RetryPolicy, Size};

/// Downloads from a single mirror, which must fail; returns the error and the number of requests.
fn refused(
    size: Size,
    handler: impl FnMut(&common::Request) -> common::Answer + Send + 'static,
) -> (String, usize) {
    let server = Server::start(handler);
    let (mut bench, mut wanted) = (Bench::new(), remote(&content(), &[server.url("/file")]));
    wanted.size = size;
    let error = bench.fetch(&wanted).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(!bench.folder.path().join("file.bin").exists());
    let error = error.to_string();
    for part in [&*server.url("/file"), "file.bin", "try again later"] {
        assert!(error.contains(part), "{error}");
    }
    (error, server.log().len())
}

const EXACT: Size = Size::Exactly(100_000);
const BOUND: Size = Size::AtMost(120_000);

#[test]
fn wrong_lengths_are_noticed() {
    // More is announced than the published file has, or than comes at all.
    let (error, asked) = refused(EXACT, |_| {
        answer("200 OK", &["Content-Length: 100001"], &[content(), vec![0]].concat())
    });
    assert!(error.contains("a file of 100001 bytes, the published one has 100000"), "{error}");
    assert_eq!(asked, 1);
    let (error, _) = refused(BOUND, |_| answer("200 OK", &["Content-Length: 110000"], &content()));
    assert!(error.contains("broke after 100000 bytes of 110000"), "{error}");
    let (error, asked) =
        refused(BOUND, |_| answer("200 OK", &["Content-Length: 120001"], &content()));
    assert!(error.contains("at most 120000 are expected"), "{error}");
    assert_eq!(asked, 1);

    // Less is announced than comes: the rest is not read, and the digest is wrong.
    let (error, _) = refused(EXACT, |_| answer("200 OK", &["Content-Length: 90000"], &content()));
    assert!(error.contains("a file of 90000 bytes"), "{error}");
    let (error, _) = refused(BOUND, |_| answer("200 OK", &["Content-Length: 90000"], &content()));
    assert!(error.contains("its digest is md5:"), "{error}");
}

#[test]
fn a_body_without_an_announced_length_ends_at_the_tables_size() {
    for size in [EXACT, BOUND] {
        let (error, asked) = refused(size, |_| answer("200 OK", &[], &vec![0; 10 << 20]));
        assert!(error.contains(&format!("sends more than {} bytes", size.limit())), "{error}");
        assert_eq!(asked, 1);
    }
}

#[test]
fn a_wrong_digest_leaves_nothing_and_the_next_mirror_is_asked() {
    let body = content();
    let wrong = Server::start(|_| whole(&vec![9; 100_000], usize::MAX, &[]));
    let gone = Server::start(|_| status("404 Not Found", &[]));
    let sent = body.clone();
    let right = Server::start(move |request| ranged(&sent, request, usize::MAX, &[]));
    let mut bench = Bench::new();
    let mirrors = [wrong.url("/a"), gone.url("/b"), right.url("/c"), wrong.url("/d")];
    let done = bench.fetch(&remote(&body, &mirrors));
    bench.check(done, &body);
    assert_eq!((wrong.log().len(), gone.log().len(), right.log().len()), (1, 1, 1));

    // Without another mirror, the error has both digests, and nothing is left on disk.
    let mut bench = Bench::new();
    let error = bench.fetch(&remote(&body, &[wrong.url("/a"), gone.url("/b")])).unwrap_err();
    let error = error.to_string();
    let got = common::MD5.digest(&[9; 100_000]);
    for part in [
        format!("its digest is {got}, expected is {}", common::MD5.digest(&body)),
        "the server answers 404".into(),
    ] {
        assert!(error.contains(&part), "{error}");
    }
    assert!(bench.files().is_empty(), "{:?}", bench.files());
}

#[test]
fn a_mirror_resumes_from_what_another_sent() {
    let body = content();
    let sent = body.clone();
    let first = Server::start(move |request| match request.number {
        0 => whole(&sent, 70_000, &["ETag: \"of the first\""]),
        _ => status("403 Forbidden", &[]),
    });
    let sent = body.clone();
    let second = Server::start(move |request| {
        assert_eq!(request.header("if-range"), None);
        ranged(&sent, request, usize::MAX, &[])
    });
    let mut bench = Bench::new();
    let done = bench.fetch(&remote(&body, &[first.url("/a"), second.url("/b")]));
    bench.check(done, &body);
    assert_eq!(second.log(), ["GET /b HTTP/1.1 bytes=70000-"]);
}

#[test]
fn statuses_that_are_final_are_not_tried_again() {
    for code in ["404 Not Found", "403 Forbidden", "410 Gone", "204 No Content", "304 Not Modified"]
    {
        let (error, asked) = refused(EXACT, move |_| status(code, &[]));
        assert!(error.contains(&format!("the server answers {}", &code[..3])), "{error}");
        assert_eq!(asked, 1);
    }
    let (error, asked) = refused(EXACT, |_| status("503 Service Unavailable", &[]));
    assert!(error.contains("answers 503 (after 6 tries"), "{error}");
    assert_eq!(asked, 6);
}

#[test]
fn a_mirror_that_asks_for_too_long_a_wait_is_given_up() {
    let (error, asked) =
        refused(EXACT, |_| status("429 Too Many Requests", &["Retry-After: 86400"]));
    assert!(error.contains("answers 429 and asks for a wait of 86400 s"), "{error}");
    assert_eq!(asked, 1);
}

#[test]
fn responses_that_do_not_match_the_request_are_refused() {
    // 416 and 206 to a request for the whole file, every time.
    let (error, asked) = refused(EXACT, |_| status("416 Range Not Satisfiable", &[]));
    assert!(error.contains("starting over"), "{error}");
    assert_eq!(asked, 6);
    let (error, asked) = refused(EXACT, |_| {
        answer("206 Partial Content", &["Content-Range: bytes 0-99999/100000"], &content())
    });
    assert!(error.contains("asked from byte 0 on, the server sends"), "{error}");
    assert_eq!(asked, 6);
    let (error, _) = refused(EXACT, |_| whole(&content(), 1_000, &["Content-Encoding: zstd"]));
    assert!(error.contains("compressed form"), "{error}");
    // The one encoding that is decoded: content that is not in it is noticed.
    let (error, _) = refused(EXACT, |_| whole(&content(), 1_000, &["Content-Encoding: gzip"]));
    assert!(error.contains("gzip"), "{error}");
    // A server that alternates between half a file and 416 is given up.
    let (_, asked) = refused(EXACT, |request| match request.from() {
        None => whole(&content(), 50_000, &[]),
        Some(_) => status("416 Range Not Satisfiable", &[]),
    });
    assert!(asked <= 12, "{asked}");
    let (error, asked) = refused(EXACT, |_| common::Answer {
        bytes: b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        silence: None,
        endless: None,
    });
    assert!(error.contains("6 tries"), "{error}");
    assert_eq!(asked, 6);
}

#[test]
fn redirects_are_followed_within_reason() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |request| match request.path() {
        "/file" => status("302 Found", &["Location: /a/1"]),
        "/a/1" => status("301 Moved Permanently", &["Location: 2?x=y"]),
        "/a/2?x=y" => status("307 Temporary Redirect", &["Location: /end"]),
        _ => ranged(&sent, request, 60_000, &[]),
    });
    let mut bench = Bench::new();
    let done = bench.fetch(&remote(&body, &[server.url("/file")]));
    bench.check(done, &body);
    // The redirect is requested again on resuming: its target may have expired.
    let log = server.log();
    assert_eq!((log.len(), &*log[7]), (8, "GET /end HTTP/1.1 bytes=60000-"));

    for (location, why, requests) in [
        ("/file", "in a circle", 1),
        ("/file?NUMBER", "more than 10 redirects", 11),
        ("ftp://127.0.0.1/x", "no address of http or https", 1),
        ("", "a redirect to nowhere", 1),
    ] {
        let (error, asked) = refused(EXACT, move |request| {
            let number = request.number.to_string();
            status("302 Found", &[&format!("Location: {location}").replace("NUMBER", &number)])
        });
        assert!(error.contains(why), "{error}");
        assert_eq!(asked, requests);
    }
}

#[test]
fn a_server_that_is_not_there_is_given_up() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut bench = Bench::new();
    let mirrors = [format!("http://127.0.0.1:{port}/x"), "no address".into()];
    let error = bench.fetch(&remote(&content(), &mirrors)).unwrap_err().to_string();
    assert!(error.contains("refused") && error.contains("`no address` is no address"), "{error}");
    assert!(bench.files().is_empty());
}

#[test]
fn offline_no_request_is_sent_and_files_on_disk_are_verified() {
    let body = content();
    let server = Server::start(|_| status("404 Not Found", &[]));
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    bench.downloader.offline = true;
    let error = bench.fetch(&wanted).unwrap_err().to_string();
    for part in ["file.bin", "FEWSHOT_OFFLINE", "turned off", &server.url("/file")] {
        assert!(error.contains(part), "{error}");
    }
    let file = bench.folder.path().join("file.bin");
    std::fs::write(&file, &body[1..]).unwrap();
    let error = bench.fetch(&wanted).unwrap_err().to_string();
    assert!(error.contains("file.bin: its digest is md5:") && error.contains("delete"), "{error}");
    std::fs::write(&file, &body).unwrap();
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    assert!(server.log().is_empty());
}

#[test]
fn two_processes_do_not_write_into_each_other() {
    let (mut bench, wanted) = (Bench::new(), remote(&content(), &[]));
    let held = std::fs::File::create(bench.part()).unwrap();
    held.lock().unwrap();
    let error = bench.fetch(&wanted).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
}

#[test]
fn a_proxy_is_used_if_one_is_set() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |request| ranged(&sent, request, usize::MAX, &[]));
    let proxy = Server::start(|_| status("403 Forbidden", &[]));
    for (no_proxy, proxied) in [("elsewhere.example", true), ("127.0.0.1", false)] {
        let address = proxy.url("");
        let proxies = Proxies::from_variables(|name| match name {
            "http_proxy" => Some(address.clone()),
            "NO_PROXY" => Some(no_proxy.into()),
            _ => None,
        });
        let mut bench = Bench::new();
        bench.downloader = Downloader {
            proxies: proxies.unwrap(),
            retry_policy: RetryPolicy::default().with_sleep(|_| {}),
            ..Downloader::default()
        };
        let asked = proxy.log().len();
        let done = bench.fetch(&remote(&body, &[server.url("/file")]));
        assert_eq!(done.is_err(), proxied);
        if let Err(error) = done {
            let error = error.to_string();
            assert!(error.contains("by the proxy that http_proxy names"), "{error}");
        }
        assert_eq!(proxy.log().len() > asked, proxied, "{:?}", proxy.log());
    }
    assert_eq!(server.log().len(), 1);
}
