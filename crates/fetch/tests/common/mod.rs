//! A server that each test programs to misbehave, and helpers for downloads from it.
#![allow(dead_code, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fewshot_fetch::{DigestAlgorithm, Downloader, Error, Event, Remote, RetryPolicy, Size};
use tempfile::TempDir;

/// Connections that a server accepts, so that a client that never stops fails its test.
const MAX_CONNECTIONS: usize = 300;

pub struct Request {
    /// Number of requests before this one.
    pub number: usize,
    pub line: String,
    pub headers: Vec<String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Returns the first byte of the requested range.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// The bytes of a response, sent as they are before the connection is closed.
pub struct Answer {
    pub bytes: Vec<u8>,
    /// Number of bytes after which the server pauses, and for how long.
    pub silence: Option<(usize, Duration)>,
    /// Bytes that are sent behind the others again and again, with pauses, as long as the client
    /// takes them.
    pub endless: Option<(Vec<u8>, Duration)>,
}

pub fn answer(status: &str, headers: &[&str], body: &[u8]) -> Answer {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let mut bytes = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    Answer { bytes, silence: None, endless: None }
}

/// Makes a response without a body.
pub fn status(status: &str, headers: &[&str]) -> Answer {
    let mut all = vec!["Content-Length: 0"];
    all.extend(headers);
    answer(status, &all, b"")
}

/// Makes a response with the whole file, of which only the first `sent` bytes are sent.
pub fn whole(body: &[u8], sent: usize, headers: &[&str]) -> Answer {
    let length = format!("Content-Length: {}", body.len());
    let mut all = vec![&*length];
    all.extend(headers);
    answer("200 OK", &all, &body[..sent.min(body.len())])
}

/// Makes a response with the requested range, of which only the first `sent` bytes are sent.
pub fn ranged(body: &[u8], request: &Request, sent: usize, headers: &[&str]) -> Answer {
    let Some(from) = request.from() else { return whole(body, sent, headers) };
    if from >= body.len() {
        let range = format!("Content-Range: bytes */{}", body.len());
        return status("416 Range Not Satisfiable", &[&range]);
    }
    let rest = &body[from..];
    let length = format!("Content-Length: {}", rest.len());
    let range = format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len());
    let mut all = vec![&*length, &range];
    all.extend(headers);
    answer("206 Partial Content", &all, &rest[..sent.min(rest.len())])
}

pub struct Server {
    pub port: u16,
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(mut handler: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, log) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, lines) = (Arc::clone(&stop), Arc::clone(&log));
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            for stream in listener.incoming().take(MAX_CONNECTIONS) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                if let Some((line, headers)) = read_head(&stream) {
                    let request = Request { number, line, headers };
                    number += 1;
                    let range = request.header("range").unwrap_or("-").to_owned();
                    lines.lock().unwrap().push(format!("{} {range}", request.line));
                    let reply = handler(&request);
                    // The client may have closed the connection, which is fine. A pause must not
                    // delay the next connection.
                    if reply.silence.is_some() || reply.endless.is_some() {
                        std::thread::spawn(move || send(stream, &reply));
                    } else {
                        let _ = send(stream, &reply);
                    }
                }
            }
        });
        Self { port, stop, log, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Returns the request lines, each with the requested range.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read_head(stream: &TcpStream) -> Option<(String, Vec<String>)> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut lines = BufReader::new(stream.take(64 << 10)).lines();
    let first = lines.next()?.ok()?;
    let mut headers = Vec::new();
    for line in lines {
        match line.ok()? {
            line if line.is_empty() => return Some((first, headers)),
            line => headers.push(line),
        }
    }
    None
}

fn send(mut stream: TcpStream, reply: &Answer) -> std::io::Result<()> {
    match reply.silence {
        Some((after, silence)) => {
            let (before, behind) = reply.bytes.split_at(after.min(reply.bytes.len()));
            stream.write_all(before)?;
            std::thread::sleep(silence);
            stream.write_all(behind)?;
        }
        None => stream.write_all(&reply.bytes)?,
    }
    if let Some((bytes, pause)) = &reply.endless {
        let started = std::time::Instant::now();
        while started.elapsed() < Duration::from_secs(60) {
            stream.write_all(bytes)?;
            std::thread::sleep(*pause);
        }
    }
    stream.shutdown(Shutdown::Write)
}

/// Returns 100,000 bytes in which no tenth equals another.
pub fn content() -> Vec<u8> {
    (0u32..25_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

pub const MD5: DigestAlgorithm = DigestAlgorithm::Md5;

pub fn remote(body: &[u8], mirrors: &[String]) -> Remote {
    Remote {
        name: "file.bin".into(),
        mirrors: mirrors.to_vec(),
        size: Size::Exactly(body.len() as u64),
        digest: MD5.digest(body),
    }
}

/// A folder, a downloader that does not sleep, and the waits that it asked for.
pub struct Bench {
    pub folder: TempDir,
    pub downloader: Downloader,
    pub waits: Arc<Mutex<Vec<Duration>>>,
    pub events: Vec<String>,
}

impl Bench {
    pub fn new() -> Self {
        let waits = Arc::new(Mutex::new(Vec::new()));
        let slept = Arc::clone(&waits);
        let mut retry_policy = RetryPolicy::default()
            .with_sleep(move |wait: Duration| slept.lock().unwrap().push(wait));
        retry_policy.read_timeout = Duration::from_millis(300);
        let downloader = Downloader { retry_policy, ..Downloader::default() };
        let folder = tempfile::tempdir().unwrap();
        Self { folder, downloader, waits, events: Vec::new() }
    }

    pub fn fetch(&mut self, remote: &Remote) -> Result<PathBuf, Error> {
        let events = &mut self.events;
        self.downloader.fetch(remote, self.folder.path(), &mut |event| match event {
            Event::Asking { from, .. } => events.push(format!("asking from {from}")),
            Event::Waiting { why, .. } => events.push(format!("waiting: {why}")),
            Event::GivenUp { why, .. } => events.push(format!("given up: {why}")),
            _ => {}
        })
    }

    pub fn waited(&self) -> Vec<u64> {
        self.waits.lock().unwrap().iter().map(Duration::as_secs).collect()
    }

    pub fn part(&self) -> PathBuf {
        self.folder.path().join("file.bin.part")
    }

    /// Returns the names in the folder.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    /// Checks that the file arrived complete, and that nothing else is in the folder.
    pub fn check(&self, done: Result<PathBuf, Error>, body: &[u8]) {
        let path = done.unwrap_or_else(|e| panic!("{e}\n{:?}", self.events));
        assert!(std::fs::read(path).unwrap() == body, "another content");
        assert_eq!(self.files(), ["file.bin"]);
    }
}
