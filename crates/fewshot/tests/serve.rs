//! The page's server, by requests as browsers and others send them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use candle_core::Device;
use fewshot::Album;
use fewshot_data::glyphs::{GlyphOptions, Glyphs};
use fewshot_experiment::{Checkpoint, Model, RawConfig, TrainingState};
use serde_json::{Value, json};

/// A server of an album of two classes, ended when this is dropped.
struct Served {
    folder: tempfile::TempDir,
    child: Child,
    /// `127.0.0.1:PORT`
    address: String,
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Served {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut raw = RawConfig::default();
        for setting in ["method.backbone=conv4", "method.image_size=32"] {
            raw.set(setting).unwrap();
        }
        let config = raw.check().unwrap();
        let model = Model::new(&config, 4, &Device::Cpu).unwrap();
        Checkpoint::write(
            &path("net.safetensors"),
            &config.to_toml(),
            &TrainingState::default(),
            &model,
        )
        .unwrap();
        for (name, class) in [("anchor", 80), ("bell", 84)] {
            fs::create_dir_all(path(&format!("known/{name}"))).unwrap();
            for index in 0..3 {
                fs::write(path(&format!("known/{name}/{index}.png")), photo(class, index)).unwrap();
            }
        }
        let program = env!("CARGO_BIN_EXE_fewshot");
        let fit = ["fit", "known", "--model", "net.safetensors", "-q"];
        let fitted = Command::new(program).current_dir(folder.path()).args(fit).output().unwrap();
        assert!(fitted.status.success(), "{}", String::from_utf8_lossy(&fitted.stderr));
        let mut command = Command::new(program);
        command
            .current_dir(folder.path())
            .args(["serve", "known.fewshot", "--port", "0"])
            .args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().to_owned();
        Self { folder, child, address }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn send(&self, request: &str, headers: &[&str], body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut text = format!(
            "{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            text += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|header| text += &format!("{header}\r\n"));
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        // A server that refuses by the headers need not read the rest.
        let _ = stream.write_all(body);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        let end = reply.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("{request}: {}", String::from_utf8_lossy(&reply)));
        let head = String::from_utf8_lossy(&reply[..end]).to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = reply[end + 4..].to_vec();
        if head.contains("transfer-encoding: chunked") {
            body = dechunked(&body);
        }
        Reply { status, head, body }
    }

    fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path}"), &[], b"")
    }

    fn post(&self, path: &str, body: &[u8]) -> Reply {
        self.send(&format!("POST {path}"), &[], body)
    }

    /// Numbers of photos by class.
    fn counts(&self) -> Value {
        let album = self.get("/api/album").json();
        let classes = album["classes"].as_array().unwrap().iter();
        let counts = classes.map(|class| {
            (
                class["name"].as_str().unwrap().to_owned(),
                json!(class["photos"].as_array().unwrap().len()),
            )
        });
        Value::Object(counts.collect())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&body[end + 2..][..size]);
        body = &body[end + 2 + size + 2..];
    }
    whole
}

/// A drawn photo as PNG.
fn photo(class: u32, index: u64) -> Vec<u8> {
    let glyphs = Glyphs::new(&GlyphOptions { size: 40, ..GlyphOptions::default() });
    let mut png = std::io::Cursor::new(Vec::new());
    glyphs.draw(class, index).write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

#[test]
fn photos_are_labelled_learned_undone_and_saved() {
    let served = Served::start(&[]);
    let known = fs::read(served.path("known/bell/1.png")).unwrap();
    let answer = served.post("/api/predict?name=in%2Fgarden%2Fa.png", &known).json();
    assert_eq!((&answer["label"], &answer["name"]), (&json!("bell"), &json!("a.png")), "{answer}");
    assert_eq!(answer["nearest"]["name"], "bell/1.png");
    let id = answer["nearest"]["id"].as_str().unwrap();
    let thumbnail = served.get(&format!("/api/photos/{id}/thumbnail"));
    assert!(
        thumbnail.head.contains("content-type: image/jpeg")
            && thumbnail.body.starts_with(&[0xff, 0xd8])
    );

    // A correction, a new class, and its photo is of it from then on.
    let clef = photo(89, 0);
    let album = served.post("/api/classes/treble%20clef/photos?name=c.png", &clef).json();
    assert_eq!((&album["changed"], &album["can_undo"]), (&json!(true), &json!(true)));
    assert_eq!(served.counts(), json!({"anchor": 3, "bell": 3, "treble clef": 1}));
    assert_eq!(served.post("/api/predict", &clef).json()["nearest"]["class"], "treble clef");
    // Again is no change; in another class it is a contradiction.
    let again = served.post("/api/classes/treble%20clef/photos?name=d.png", &clef).json();
    assert_eq!(again["version"], album["version"]);
    let other = served.post("/api/classes/bell/photos?name=d.png", &clef);
    assert_eq!(other.status, 422, "{}", other.text());
    assert!(
        other.json()["error"].as_str().unwrap().contains("treble clef/c.png"),
        "{}",
        other.text()
    );

    let saved = served.post("/api/save", b"").json();
    assert_eq!(saved["changed"], false);
    assert_eq!(Album::load(&served.path("known.fewshot")).unwrap().supports.len(), 7);
    let undone = served.post("/api/undo", b"").json();
    assert_eq!((&undone["changed"], &undone["can_undo"]), (&json!(true), &json!(false)));
    assert_eq!(served.counts(), json!({"anchor": 3, "bell": 3}));
    let taken = served.send(&format!("DELETE /api/photos/{id}"), &[], b"").json();
    assert_eq!(taken["changed"], true);
    assert_eq!(served.counts(), json!({"anchor": 3, "bell": 2}));
    assert_eq!(served.send("DELETE /api/photos/none", &[], b"").status, 422);

    // Another program has written the file.
    let path = served.path("known.fewshot");
    let album = fs::read(&path).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(&path, &album).unwrap();
    let refused = served.post("/api/save", b"");
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("another program"), "{}", refused.text());
}

#[test]
fn what_is_no_photo_is_told_and_nothing_changes() {
    let served = Served::start(&[]);
    for (body, part) in [
        (&b""[..], "no image"),
        (b"a text file named .jpg", "no image"),
        (&photo(80, 5)[..100], "broken image"),
    ] {
        let reply = served.post("/api/predict?name=x.jpg", body);
        assert_eq!(reply.status, 422, "{}", reply.text());
        assert!(reply.text().contains(part) && reply.text().contains("x.jpg"), "{}", reply.text());
        assert_eq!(served.post("/api/classes/new/photos?name=x.jpg", body).status, 422);
    }
    // 100,000 pixels a side in a few bytes.
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bomb.extend([0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0, 8, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(served.post("/api/predict", &bomb).status, 422);
    assert_eq!(served.post("/api/classes/%20/photos", &photo(80, 9)).status, 400);
    let long = format!("/api/classes/{}/photos", "x".repeat(300));
    assert_eq!(served.post(&long, &photo(80, 9)).status, 400);
    let too_long = served.send("POST /api/predict", &[], &vec![0; 65 << 20]);
    assert_eq!(too_long.status, 413);
    assert_eq!(served.get("/etc/passwd").status, 404);
    assert_eq!(served.get("/api/photos/..%2f..%2fknown.fewshot/thumbnail").status, 404);
    let album = served.get("/api/album").json();
    assert_eq!((&album["changed"], &album["version"]), (&json!(false), &json!(0)));
}

#[test]
fn other_pages_may_not_ask() {
    let served = Served::start(&[]);
    let page = served.get("/");
    assert!(
        page.status == 200 && page.head.contains("content-security-policy: default-src 'none'")
    );
    for file in ["/page.js", "/page.css", "/openapi.json"] {
        assert_eq!(served.get(file).status, 200, "{file}");
    }
    assert_eq!(served.get("/openapi.json").json()["openapi"], "3.1.0");
    let foreign =
        [&["Host: evil.example"][..], &["Origin: http://evil.example"], &["Origin: null"]];
    for headers in foreign {
        let reply = served.send("POST /api/undo", headers, b"");
        assert_eq!(reply.status, 403, "{headers:?}");
    }
    assert_eq!(served.send("GET /api/album", &["Host: evil.example"], b"").status, 403);
    let own = format!("Origin: http://{}", served.address);
    assert_eq!(served.send("POST /api/undo", &[&own], b"").status, 200);

    let output = Command::new(env!("CARGO_BIN_EXE_fewshot"))
        .current_dir(served.folder.path())
        .args(["serve", "known.fewshot", "--host", "0.0.0.0", "--port", "0"])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && message.contains("--token"), "{message}");
    let open = Served::start(&["--token", "secret"]);
    assert_eq!(open.get("/").status, 200);
    assert_eq!(open.get("/api/album").status, 403);
    assert_eq!(open.send("GET /api/album", &["Authorization: Bearer secret"], b"").status, 200);
}

#[test]
fn many_requests_at_once_lose_nothing() {
    let served = Served::start(&[]);
    std::thread::scope(|scope| {
        for number in 0..12u64 {
            let served = &served;
            scope.spawn(move || {
                let class = if number % 2 == 0 { "even" } else { "odd" };
                let path = format!("/api/classes/{class}/photos?name={number}.png");
                let reply = served.post(&path, &photo(60 + number as u32, number));
                assert_eq!(reply.status, 200, "{}", reply.text());
            });
        }
    });
    assert_eq!(served.counts(), json!({"anchor": 3, "bell": 3, "even": 6, "odd": 6}));
}
