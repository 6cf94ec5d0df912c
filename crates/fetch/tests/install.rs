//! From archives on a server to a folder.

#[path = "common/archives.rs"]
mod archives;
mod common;

use std::fs;

use archives::{tar_gz, zip};
use common::{Bench, MD5, Server, ranged, status, whole};
use fewshot_fetch::{
    Archive, Error, Format, Installed, Installer, Limits, Package, Readiness, Remote, Size,
    Unpacked,
};

fn tar_bytes() -> Vec<u8> {
    tar_gz(&[("top/list.txt", Some(b"1 a")), ("top/images/a.png", Some(b"A")), ("note", Some(b""))])
}

fn zip_bytes() -> Vec<u8> {
    zip(&[("more/", None), ("more/b.png", Some(b"B"))])
}

fn archive(name: &str, url: String, bytes: &[u8], format: Format) -> Archive {
    let digest = MD5.digest(bytes);
    let size = Size::Exactly(bytes.len() as u64);
    let remote = Remote { name: name.into(), mirrors: vec![url], size, digest };
    Archive { remote, format, strip: Some("top".into()) }
}

fn package(server: &Server) -> Package {
    Package {
        folder: "letters".into(),
        archives: vec![
            archive("a.tgz", server.url("/a"), &tar_bytes(), Format::TarGz),
            archive("b.zip", server.url("/b"), &zip_bytes(), Format::Zip),
        ],
        on_disk: 1_000,
        limits: Limits { bytes: 1_000, entries: 10 },
        required_paths: vec!["list.txt".into(), "more".into()],
    }
}

fn good_server() -> Server {
    Server::start(|request| {
        let body = if request.path() == "/a" { tar_bytes() } else { zip_bytes() };
        ranged(&body, request, usize::MAX, &[])
    })
}

fn install(bench: &Bench, installer: &Installer, package: &Package) -> Result<Installed, Error> {
    let downloader = bench.downloader.clone();
    Installer { downloader, ..installer.clone() }.install(package, bench.folder.path(), &mut |_| {})
}

#[test]
fn archives_become_a_folder_and_a_finished_folder_is_left_alone() {
    let (server, bench) = (good_server(), Bench::new());
    let (package, installer) = (package(&server), Installer::default());
    let folder = bench.folder.path().join("letters");
    assert_eq!(package.readiness(bench.folder.path()), Readiness::Absent);
    let unpacked = Unpacked { files: 4, bytes: 5 };
    let done = install(&bench, &installer, &package).unwrap();
    assert_eq!(done, Installed::New(folder.clone(), unpacked));
    assert_eq!(bench.files(), ["letters"]);
    for (name, content) in
        [("list.txt", "1 a"), ("images/a.png", "A"), ("note", ""), ("more/b.png", "B")]
    {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), content);
    }
    assert_eq!(package.readiness(bench.folder.path()), Readiness::Ready);

    fs::write(folder.join("note"), "mine").unwrap();
    let again = install(&bench, &installer, &package).unwrap();
    assert_eq!(again, Installed::Already(folder.clone()));
    assert_eq!(fs::read_to_string(folder.join("note")).unwrap(), "mine");
    assert_eq!(server.log().len(), 2);

    fs::remove_file(folder.join("list.txt")).unwrap();
    let error = install(&bench, &installer, &package).unwrap_err().to_string();
    assert!(error.contains("has no list.txt") && error.contains("move it away"), "{error}");
    assert_eq!(package.readiness(bench.folder.path()), Readiness::Incomplete);
}

#[test]
fn archives_are_kept_on_request_or_if_they_were_on_disk_before() {
    let (server, bench) = (good_server(), Bench::new());
    let keep = Installer { keep_archives: true, ..Installer::default() };
    install(&bench, &keep, &package(&server)).unwrap();
    assert_eq!(bench.files(), ["a.tgz", "b.zip", "letters"]);

    // An archive on disk is verified, not downloaded, and not deleted.
    let bench = Bench::new();
    fs::write(bench.folder.path().join("b.zip"), zip_bytes()).unwrap();
    assert_eq!(
        package(&server).readiness(bench.folder.path()),
        Readiness::Downloading(zip_bytes().len() as u64)
    );
    install(&bench, &Installer::default(), &package(&server)).unwrap();
    assert_eq!(bench.files(), ["b.zip", "letters"]);
    assert_eq!(server.log().len(), 3);
}

#[test]
fn a_kill_at_any_time_leaves_what_the_next_call_resumes_from() {
    let (server, bench) = (good_server(), Bench::new());
    let data = bench.folder.path();
    // What a kill during unpacking leaves, with one archive and a half.
    fs::write(data.join("a.tgz"), tar_bytes()).unwrap();
    fs::write(data.join("b.zip.part"), &zip_bytes()[..100]).unwrap();
    fs::create_dir_all(data.join(".letters.unpacking/images/a.png")).unwrap();
    fs::write(data.join(".letters.unpacking/stale"), "").unwrap();
    fs::write(data.join(".letters.lock"), "").unwrap();
    install(&bench, &Installer::default(), &package(&server)).unwrap();
    assert_eq!(bench.files(), ["a.tgz", "letters"]);
    assert!(!data.join("letters/stale").exists());
    assert_eq!(server.log(), ["GET /b HTTP/1.1 bytes=100-"]);
}

#[test]
fn given_archives_are_told_apart_by_their_digests() {
    let (server, bench) = (Server::start(|_| status("404 Not Found", &[])), Bench::new());
    let elsewhere = tempfile::tempdir().unwrap();
    let path = |name: &str| elsewhere.path().join(name);
    fs::write(path("first"), zip_bytes()).unwrap();
    fs::write(path("second"), tar_bytes()).unwrap();
    fs::write(path("other"), "other").unwrap();
    let mut installer = Installer { local_archives: vec![path("other")], ..Installer::default() };
    let error = install(&bench, &installer, &package(&server)).unwrap_err().to_string();
    let got = MD5.digest(b"other").to_string();
    for part in ["other", &got, "a.tgz with md5:", " or b.zip with md5:"] {
        assert!(error.contains(part), "{error}");
    }
    installer.local_archives = vec![path("none")];
    let error = install(&bench, &installer, &package(&server)).unwrap_err().to_string();
    assert!(error.contains("none"), "{error}");

    // One is given, the other would have to be downloaded.
    installer.local_archives = vec![path("first")];
    let error = install(&bench, &installer, &package(&server)).unwrap_err().to_string();
    assert!(error.contains("a.tgz could not be downloaded") && error.contains("404"), "{error}");
    installer.local_archives = vec![path("first"), path("second")];
    install(&bench, &installer, &package(&server)).unwrap();
    assert_eq!(bench.files(), ["letters"]);
    assert!(path("first").exists() && path("second").exists());
    assert_eq!(server.log().len(), 1);
}

#[test]
fn a_hostile_archive_leaves_nothing_though_its_digest_is_right() {
    let hostile = archives::gzip(&archives::raw_tar(&[
        (b"list.txt", tar::EntryType::Regular, b"x"),
        (b"../more", tar::EntryType::Regular, b"x"),
    ]));
    let sent = hostile.clone();
    let (server, bench) = (Server::start(move |_| whole(&sent, usize::MAX, &[])), Bench::new());
    let mut package = package(&server);
    package.archives = vec![archive("a.tgz", server.url("/a"), &hostile, Format::TarGz)];
    let error = install(&bench, &Installer::default(), &package).unwrap_err().to_string();
    assert!(error.contains("a.tgz: entry `../more`"), "{error}");
    assert_eq!(bench.files(), ["a.tgz"]);
}

#[test]
fn an_archive_that_lacks_what_it_should_hold_becomes_no_folder() {
    let (server, bench) = (good_server(), Bench::new());
    let mut package = package(&server);
    package.required_paths.push("images/c.png".into());
    let error = install(&bench, &Installer::default(), &package).unwrap_err().to_string();
    assert!(error.contains("has no images/c.png"), "{error}");
    assert_eq!(bench.files(), ["a.tgz", "b.zip"]);
}

#[test]
fn too_little_space_is_an_error_before_any_request() {
    let (server, bench) = (good_server(), Bench::new());
    let mut package = package(&server);
    package.on_disk = 1 << 60;
    let error = install(&bench, &Installer::default(), &package).unwrap_err();
    assert!(matches!(error, Error::Space { .. }), "{error}");
    assert!(server.log().is_empty() && bench.files().is_empty());
    let regardless = Installer { ignore_space: true, ..Installer::default() };
    install(&bench, &regardless, &package).unwrap();
    assert_eq!(bench.files(), ["letters"]);
}

#[test]
fn two_processes_do_not_install_the_same() {
    let (server, bench) = (good_server(), Bench::new());
    let held = fs::File::create(bench.folder.path().join(".letters.lock")).unwrap();
    held.lock().unwrap();
    let error = install(&bench, &Installer::default(), &package(&server)).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert!(server.log().is_empty());
}
