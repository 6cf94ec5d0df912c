//! The page in a browser: headless Chromium, driven by WebDriver. Skipped where there is none.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use candle_core::Device;
use fantoccini::{Client, ClientBuilder, Locator};
use fewshot::Album;
use fewshot_data::glyphs::{GlyphOptions, Glyphs};
use fewshot_experiment::{Checkpoint, Model, RawConfig, TrainingState};
use serde_json::json;

/// A process that ends with this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and returns the part of its first line of output that holds `part`.
fn start(command: &mut Command, part: &str) -> Option<(Process, String)> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut process = Process(child.ok()?);
    let output = BufReader::new(process.0.stdout.take().unwrap());
    let mut lines = output.lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains(part))?;
    // Whatever else it prints has to go somewhere.
    std::thread::spawn(move || lines.for_each(drop));
    Some((process, line))
}

/// An album of two classes, served.
struct Desk {
    folder: tempfile::TempDir,
    server: Option<Process>,
    address: String,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut raw = RawConfig::default();
        for setting in ["method.backbone=conv4", "method.image_size=32"] {
            raw.set(setting).unwrap();
        }
        let config = raw.check().unwrap();
        let model = Model::new(&config, 4, &Device::Cpu).unwrap();
        let net = folder.path().join("net.safetensors");
        Checkpoint::write(&net, &config.to_toml(), &TrainingState::default(), &model).unwrap();
        let mut desk = Self { folder, server: None, address: String::new() };
        for (name, class) in [("anchor", 80), ("bell", 84)] {
            (0..3).for_each(|index| {
                drop(desk.photo(&format!("known/{name}/{index}.png"), class, index))
            });
        }
        let mut fit = Command::new(env!("CARGO_BIN_EXE_fewshot"));
        fit.current_dir(desk.folder.path()).args([
            "fit",
            "known",
            "--model",
            "net.safetensors",
            "-q",
        ]);
        assert!(fit.output().unwrap().status.success());
        desk.serve();
        desk
    }

    fn serve(&mut self) {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_fewshot"));
        serve.current_dir(self.folder.path()).args(["serve", "known.fewshot", "--port", "0"]);
        let (server, line) = start(&mut serve, "http://").unwrap();
        self.address = line[line.find("http://").unwrap()..].trim().to_owned();
        self.server = Some(server);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Draws a photo into a file.
    fn photo(&self, name: &str, class: u32, index: u64) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let glyphs = Glyphs::new(&GlyphOptions { size: 40, ..GlyphOptions::default() });
        glyphs.draw(class, index).save(&path).unwrap();
        path
    }
}

/// A driver with its port, or nothing where no browser is installed.
fn driver() -> Option<(Process, u16)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
    let mut driver = Command::new("chromedriver");
    let (process, _) = start(driver.arg(format!("--port={port}")), "started successfully")?;
    Some((process, port))
}

async fn browser(port: u16, more: &[&str]) -> Client {
    let mut arguments =
        vec!["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
    arguments.extend(more);
    let mut capabilities = serde_json::Map::new();
    capabilities.insert("goog:chromeOptions".to_owned(), json!({ "args": arguments }));
    let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
    builder.capabilities(capabilities).connect(&format!("http://127.0.0.1:{port}")).await.unwrap()
}

/// Waits until a script returns true.
#[track_caller]
fn until<'c>(client: &'c Client, what: &'c str) -> impl Future<Output = ()> + 'c {
    let place = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            let done = client.execute(&format!("return {what}"), Vec::new()).await;
            if done.as_ref().is_ok_and(|value| *value == json!(true)) {
                return;
            }
            let text = client.execute("return document.body.innerText", Vec::new()).await;
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{place}: {what}: {done:?}\n{text:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn choose(client: &Client, files: &[PathBuf]) {
    let input = client.find(Locator::Id("files")).await.unwrap();
    let names: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
    input.send_keys(&names.join("\n")).await.unwrap();
}

async fn press(client: &Client, selector: &str) {
    client.find(Locator::Css(selector)).await.unwrap().click().await.unwrap();
}

/// Learns the first answer as a photo of a class.
async fn learn(client: &Client, class: &str) {
    let field = client.find(Locator::Css("#answers .class")).await.unwrap();
    field.clear().await.unwrap();
    field.send_keys(class).await.unwrap();
    press(client, "#answers button[type=submit]").await;
}

const ANSWERED: &str =
    "[...document.querySelectorAll('.answer .label')].every((l) => l.textContent !== '…')";
/// Number of photos by class, as the page shows them.
const COUNTS: &str =
    "[...document.querySelectorAll('#classes h3')].map((h) => h.textContent).join()";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_labels_learns_undoes_and_saves() {
    let Some((_driver, port)) = driver() else {
        println!("skipped: chromedriver is not installed, or does not start");
        return;
    };
    let mut desk = Desk::new();
    let page = browser(port, &["--window-size=1200,900"]).await;
    page.goto(&desk.address).await.unwrap();
    until(&page, &format!("{COUNTS} === 'anchor (3),bell (3)'")).await;
    until(&page, "[...document.images].every((i) => i.naturalWidth > 0)").await;

    // Ten photos are dropped, all are labelled, and one is corrected into a new class.
    let ten: Vec<PathBuf> =
        (0..10).map(|i| desk.photo(&format!("drop/{i}.png"), 84, 50 + i)).collect();
    choose(&page, &ten).await;
    until(&page, "document.querySelectorAll('.answer').length === 10").await;
    until(&page, ANSWERED).await;
    learn(&page, "clef").await;
    until(&page, &format!("{COUNTS} === 'anchor (3),bell (3),clef (1)'")).await;
    until(&page, "document.querySelectorAll('.answer').length === 9").await;

    // A reload shows the same, since the server keeps it; another tab, too.
    page.execute("window.onbeforeunload = null", Vec::new()).await.unwrap();
    let second = browser(port, &["--window-size=600,900", "--force-dark-mode"]).await;
    second.goto(&desk.address).await.unwrap();
    until(&second, &format!("{COUNTS} === 'anchor (3),bell (3),clef (1)'")).await;
    choose(&second, &[desk.photo("second.png", 80, 70)]).await;
    until(&second, ANSWERED).await;
    learn(&second, "anchor").await;
    until(&second, &format!("{COUNTS} === 'anchor (4),bell (3),clef (1)'")).await;
    // The first tab notices, and what it adds then is added to that.
    until(&page, &format!("{COUNTS} === 'anchor (4),bell (3),clef (1)'")).await;
    learn(&page, "clef").await;
    until(&second, &format!("{COUNTS} === 'anchor (4),bell (3),clef (2)'")).await;

    press(&page, "#save").await;
    until(&page, "document.getElementById('save').disabled").await;
    assert_eq!(Album::load(&desk.path("known.fewshot")).unwrap().supports.len(), 9);
    press(&page, "#undo").await;
    until(&page, &format!("{COUNTS} === 'anchor (4),bell (3),clef (1)'")).await;

    // What is no photo is told beside it; a photo of 40 megapixels is one.
    fs::write(desk.path("text.jpg"), "a text file").unwrap();
    let large = desk.path("large.png");
    image::RgbImage::from_pixel(8_000, 5_000, image::Rgb([90, 120, 30])).save(&large).unwrap();
    choose(&second, &[desk.path("text.jpg"), large]).await;
    until(&second, ANSWERED).await;
    until(&second, "document.querySelectorAll('.answer.failed').length === 1").await;

    // Two hundred at once.
    let many: Vec<PathBuf> =
        (0..200).map(|i| desk.photo(&format!("many/{i}.png"), 80 + (i % 20) as u32, i)).collect();
    choose(&second, &many).await;
    until(&second, "document.querySelectorAll('.answer').length === 202").await;
    until(&second, ANSWERED).await;
    until(&second, "document.querySelectorAll('.answer.failed').length === 1").await;
    keep(&page, "light").await;
    keep(&second, "dark-narrow").await;

    // The server is killed: the file is as it was saved, and so is a new server's page.
    desk.server = None;
    assert_eq!(Album::load(&desk.path("known.fewshot")).unwrap().supports.len(), 9);
    press(&page, "#undo").await;
    until(&page, "!document.getElementById('message').hidden").await;
    desk.serve();
    second.goto(&desk.address).await.unwrap();
    until(&second, &format!("{COUNTS} === 'anchor (4),bell (3),clef (2)'")).await;
    page.close().await.unwrap();
    second.close().await.unwrap();
}

/// Keeps a screenshot where `FEWSHOT_SCREENSHOTS` names a folder.
async fn keep(client: &Client, name: &str) {
    let Some(folder) = std::env::var_os("FEWSHOT_SCREENSHOTS") else { return };
    let png = client.screenshot().await.unwrap();
    fs::write(Path::new(&folder).join(format!("{name}.png")), png).unwrap();
}
