//! Servers that send next to nothing, or things around the content without end.

mod common;

use std::time::Duration;

use common::{Answer, Bench, Server, answer, ranged, remote, whole};
use fewshot_fetch::Remote;

/// A file whose every part is like the others, so that a slow server can send it byte by byte.
fn body() -> Vec<u8> {
    vec![7; 100_000]
}

/// A downloader that gives a server up after a fifth of a second.
fn impatient() -> Bench {
    let mut bench = Bench::new();
    bench.downloader.retry_policy.slow_window = Duration::from_millis(200);
    bench
}

type MakeAnswer = fn() -> Answer;

/// What a slow server sends, whatever is asked of it.
fn slow_answers() -> [(&'static str, MakeAnswer); 5] {
    const PAUSE: Duration = Duration::from_millis(20);
    fn endless(start: &[u8], again: &[u8], pause: Duration) -> Answer {
        let mut reply = answer("200 OK", &["Transfer-Encoding: chunked"], start);
        reply.endless = Some((again.to_vec(), pause));
        reply
    }
    [
        ("a byte now and then", || {
            let mut reply = whole(&body(), 10, &[]);
            reply.endless = Some((vec![7], PAUSE));
            reply
        }),
        ("chunks of a byte", || endless(b"", b"1\r\n\x07\r\n", PAUSE)),
        ("trailers", || endless(b"1\r\n\x07\r\n0\r\n", b"x: y\r\n", PAUSE)),
        ("many trailers", || {
            endless(b"1\r\n\x07\r\n0\r\n", &b"x: y\r\n".repeat(100), Duration::ZERO)
        }),
        ("a chunk's extension", || endless(b"1;", b"x", PAUSE)),
    ]
}

fn fetched_past(what: &str, slow: MakeAnswer) {
    let slow = Server::start(move |_| slow());
    let good = Server::start(|request| ranged(&body(), request, usize::MAX, &[]));
    let wanted: Remote = remote(&body(), &[slow.url("/file"), good.url("/file")]);
    let mut bench = impatient();
    let done = bench.fetch(&wanted);
    bench.check(done, &body());
    assert_eq!(slow.log().len(), 1, "{what}: not asked again");
    assert_eq!(good.log().len(), 1, "{what}");
    let given_up = bench.events.iter().find(|event| event.starts_with("given up"));
    let given_up = given_up.unwrap_or_else(|| panic!("{what}: {:?}", bench.events));
    assert!(given_up.contains("less than 1000 bytes a second for 0.2 s"), "{what}: {given_up}");
}

#[test]
fn a_slow_mirror_is_given_up_for_the_next() {
    for (what, slow) in slow_answers() {
        fetched_past(what, slow);
    }
}

#[test]
fn a_slow_server_without_another_is_tried_as_often_as_one_that_breaks() {
    let server = Server::start(|_| {
        let mut reply = whole(&body(), 10, &[]);
        reply.endless = Some((vec![7], Duration::from_millis(20)));
        reply
    });
    let mut bench = impatient();
    let error = bench.fetch(&remote(&body(), &[server.url("/file")])).unwrap_err().to_string();
    for part in ["less than 1000 bytes a second", "after 6 tries", "try again later"] {
        assert!(error.contains(part), "no `{part}`: {error}");
    }
    assert_eq!(server.log().len(), 6);
    assert_eq!(bench.waited(), [1, 2, 4, 8, 16]);
}
