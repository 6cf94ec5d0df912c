//! A process that is really killed in the middle of a download.

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bench, Server, content, ranged, remote};
use fewshot_fetch::Downloader;

/// Environment variable that gives the child its folder and address.
const CHILD: &str = "FEWSHOT_FETCH_TEST_CHILD";

/// The child process; run as a test of its own it does nothing.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (folder, url) = task.split_once('\n').unwrap();
    let wanted = remote(&content(), &[url.to_owned()]);
    let _ = Downloader::default().fetch(&wanted, folder.as_ref(), &mut |_| {});
}

#[test]
fn a_killed_process_leaves_a_part_that_the_next_one_resumes_from() {
    let body = content();
    let sent = body.clone();
    let server = Server::start(move |request| {
        let mut reply = ranged(&sent, request, usize::MAX, &["ETag: \"1\""]);
        if request.number < 3 {
            // Far longer than the test takes, so that the child is killed in the middle.
            reply.silence = Some((20_000, Duration::from_secs(30)));
        }
        reply
    });
    let (mut bench, url) = (Bench::new(), server.url("/file"));
    for round in 1..=3u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(CHILD, format!("{}\n{url}", bench.folder.path().display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let arrived = || bench.part().metadata().map_or(0, |part| part.len());
        while arrived() < round * 19_000 && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // SIGKILL: the child cannot clean up.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((round * 19_000..100_000).contains(&arrived()), "{round}: {}", arrived());
        assert!(!bench.folder.path().join("file.bin").exists());
    }
    let wanted = remote(&body, &[url]);
    let done = bench.fetch(&wanted);
    bench.check(done, &body);
    let log = server.log();
    assert_eq!(log.len(), 4);
    assert!(log[1..].iter().all(|line| line.contains("bytes=")), "{log:?}");
}
