//! Downloads that break and are resumed.

mod common;

use std::time::Duration;

use common::{Bench, Server, answer, content, ranged, remote, status, whole};
use fewshot_fetch::Size;

#[test]
fn a_whole_file_arrives_and_is_not_fetched_again() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |_| whole(&sent, usize::MAX, &[]));
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    for _ in 0..2 {
        let done = bench.fetch(&wanted);
        bench.check(done, &body);
    }
    assert_eq!(server.log(), ["GET /file HTTP/1.1 -"]);
    assert!(bench.waited().is_empty());
}

#[test]
fn a_connection_that_breaks_at_every_tenth_is_resumed_each_time() {
    for size in [Size::Exactly(100_000), Size::AtMost(1 << 20)] {
        let body = content();
        let sent = body.clone();
        let server = Server::start(move |request| {
            assert!(request.from().is_none() || request.header("if-range") == Some("\"v1\""));
            ranged(&sent, request, 10_000 + request.number, &["ETag: \"v1\""])
        });
        let (mut bench, mut wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
        wanted.size = size;
        let done = bench.fetch(&wanted);
        bench.check(done, &body);
        let log = server.log();
        assert_eq!(log.len(), 10, "{log:?}");
        assert_eq!(log[1], "GET /file HTTP/1.1 bytes=10000-");
        if size.known().is_some() {
            // Each attempt made progress, so each wait was the shortest.
            assert_eq!(bench.waited(), [1; 9]);
        }
    }
}

#[test]
fn a_chunked_body_of_unknown_length_arrives_and_resumes() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |request| {
        let from = request.from().unwrap_or(0);
        let range = format!("Content-Range: bytes {from}-99999/*");
        let (code, headers) = match from {
            0 => ("200 OK", vec!["Transfer-Encoding: chunked"]),
            _ => ("206 Partial Content", vec!["Transfer-Encoding: chunked", &range]),
        };
        let mut chunks = Vec::new();
        for chunk in sent[from..].chunks(30_000).take(2) {
            chunks.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            chunks.extend(chunk);
            chunks.extend(b"\r\n");
        }
        if from + 60_000 >= sent.len() {
            chunks.extend(b"0\r\n\r\n");
        }
        answer(code, &headers, &chunks)
    });
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    assert_eq!(server.log().len(), 2);
}

#[test]
fn what_a_killed_process_left_is_gone_on_from() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |request| ranged(&sent, request, usize::MAX, &[]));
    // A kill leaves the part, with or without the file that says where it came from.
    for note in [None, Some(format!("{}\n\"v1\"\n", server.url("/file"))), Some("\0\n".into())] {
        let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
        std::fs::write(bench.part(), &body[..61_234]).unwrap();
        if let Some(note) = note {
            std::fs::write(bench.folder.path().join("file.bin.part.from"), note).unwrap();
        }
        let done = bench.fetch(&wanted);
        bench.check(done, &body);
        assert_eq!(server.log().last().unwrap(), "GET /file HTTP/1.1 bytes=61234-");
    }
    let requests = server.log().len();

    // Killed between the last byte and the renaming: no request is sent.
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    std::fs::write(bench.part(), &body).unwrap();
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    assert_eq!(server.log().len(), requests);

    // The same if only the server knows the size: it answers 416.
    let (mut bench, mut wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    wanted.size = Size::AtMost(1 << 20);
    std::fs::write(bench.part(), &body).unwrap();
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    assert_eq!(server.log()[requests..], ["GET /file HTTP/1.1 bytes=100000-"]);
}

#[test]
fn a_part_that_is_too_long_or_of_nothing_known_starts_over() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |request| ranged(&sent, request, usize::MAX, &[]));
    for (size, left) in [(Size::Exactly(100_000), 100_001), (Size::AtMost(200_000), 150_000)] {
        let (mut bench, mut wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
        wanted.size = size;
        std::fs::write(bench.part(), vec![7; left]).unwrap();
        let done = bench.fetch(&wanted);
        bench.check(done, &body);
    }
}

#[test]
fn a_server_that_ignores_ranges_starts_over() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |request| match request.number {
        0 => whole(&sent, 50_000, &[]),
        _ => whole(&sent, usize::MAX, &[]),
    });
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    assert_eq!(server.log()[1], "GET /file HTTP/1.1 bytes=50000-");
}

#[test]
fn a_server_that_ignores_ranges_and_always_breaks_off_is_given_up() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |_| whole(&sent, 50_000, &[]));
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    let error = bench.fetch(&wanted).unwrap_err().to_string();
    assert!(error.contains("the connection broke after 50000 bytes of 100000"), "{error}");
    assert!(error.contains("6 tries that brought nothing new"), "{error}");
    assert_eq!((server.log().len(), bench.waited()), (6, vec![1, 2, 4, 8, 16]));
    // The bytes that have arrived are kept.
    assert_eq!(bench.files(), ["file.bin.part", "file.bin.part.from"]);
}

#[test]
fn another_version_on_resuming_is_noticed() {
    let body = content();
    // By its ETag: the server answers If-Range with the whole new file.
    let sent = body.clone();
    let server = Server::start(move |request| match request.header("if-range") {
        None => whole(&vec![1; 100_000], 40_000, &["ETag: \"old\""]),
        Some(tag) => {
            assert_eq!(tag, "\"old\"");
            whole(&sent, usize::MAX, &["ETag: \"new\""])
        }
    });
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    assert_eq!(server.log().len(), 2);

    // By its digest, if the server sends no ETag and an earlier call left the old part.
    let sent = body.clone();
    let server = Server::start(move |request| ranged(&sent, request, usize::MAX, &[]));
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    std::fs::write(bench.part(), vec![1; 40_000]).unwrap();
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    assert!(bench.events[1].contains("its digest is md5:"), "{:?}", bench.events);
    assert_eq!(server.log(), ["GET /file HTTP/1.1 bytes=40000-", "GET /file HTTP/1.1 -"]);
}

#[test]
fn ranges_that_make_no_sense_start_over() {
    let body = content();
    for range in ["bytes 5-99999/100000", "bytes 40000-5/100000", "40000-99999", ""] {
        let (sent, value) = (body.clone(), format!("Content-Range: {range}"));
        let server = Server::start(move |request| match request.from() {
            Some(_) => answer("206 Partial Content", &[&value], &sent[40_000..]),
            None if request.number == 0 => whole(&sent, 40_000, &[]),
            None => whole(&sent, usize::MAX, &[]),
        });
        let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
        let done = bench.fetch(&wanted);
        bench.check(done, &body);
        assert_eq!(server.log().len(), 3, "{range:?}");
    }
}

#[test]
fn servers_that_are_busy_are_waited_for() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |request| match request.number {
        0 => status("429 Too Many Requests", &["Retry-After: 17"]),
        1 => status("503 Service Unavailable", &[]),
        2 => status("503 Service Unavailable", &["Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"]),
        3 => status("500 Internal Server Error", &[]),
        _ => whole(&sent, usize::MAX, &[]),
    });
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    assert_eq!(bench.waited(), [17, 2, 0, 8]);
}

#[test]
fn a_server_that_falls_silent_is_asked_again() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |request| {
        let mut reply = ranged(&sent, request, usize::MAX, &[]);
        reply.silence = match request.number {
            0 => Some((0, Duration::from_millis(900))),
            1 => Some((60_000, Duration::from_millis(900))),
            _ => None,
        };
        reply
    });
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    let log = server.log();
    assert!(log.len() == 3 && log[1].ends_with(" -") && log[2].contains("bytes="), "{log:?}");
    assert!(bench.events.iter().any(|event| event.contains("timeout")), "{:?}", bench.events);
}

#[test]
fn a_slow_start_within_the_time_is_no_fault() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |request| {
        let mut reply = ranged(&sent, request, usize::MAX, &[]);
        reply.silence = Some((0, Duration::from_millis(100)));
        reply
    });
    let (mut bench, wanted) = (Bench::new(), remote(&body, &[server.url("/file")]));
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    assert_eq!(server.log().len(), 1);
}
