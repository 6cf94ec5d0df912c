//! mini-ImageNet of two images a class, from a hub that breaks off.

#[path = "../../../../fetch/tests/common/hub.rs"]
mod fake;
#[path = "../../../tests/common/mod.rs"]
mod shards;

use common::{Answer, Request, Server, status};
use fake::hub;
use fewshot_data::{SourceKind, SourceSpec, Split};
use fewshot_fetch::{Downloader, RetryPolicy, datasets};
use image::RgbImage;
use shards::{Row, SCHEMA, note, parquet, row};
use tempfile::TempDir;

use super::super::Download;
use super::super::tests::{arguments, common};
use super::*;

const REPOSITORY: &str = "datasets/timm/mini-imagenet";

fn jpeg(shade: usize) -> Vec<u8> {
    let image = RgbImage::from_pixel(8, 8, image::Rgb([shade as u8; 3]));
    crate::pack::shrink::jpeg(&image).unwrap()
}

fn wnids() -> Vec<&'static str> {
    let mut all: Vec<_> = mini_imagenet::classes().map(|class| class.wnid).collect();
    // As `datasets` orders them, which is not by split.
    all.sort();
    all
}

/// One image of each class, told apart by its shade.
fn rows(split: &str) -> Vec<Row> {
    let name = |n: usize| format!("{split}/{}_{n}.JPEG", wnids()[n]);
    (0..100).map(|n| row(n as i64, &jpeg(2 * n), &name(n))).collect()
}

fn shard(rows: &[Row]) -> Vec<u8> {
    let groups: Vec<_> = rows.chunks(30).map(<[_]>::to_vec).collect();
    parquet(SCHEMA, Some(note(&wnids())), &groups, true)
}

fn files() -> Vec<(String, Vec<u8>)> {
    let name = |split: &str| format!("data/{split}-00000-of-00001.parquet");
    vec![
        ("README.md".to_owned(), b"---".to_vec()),
        (name("train"), shard(&rows("train"))),
        (name("validation"), shard(&rows("val"))),
        (name("test"), b"not asked for".to_vec()),
    ]
}

struct Case {
    server: Server,
    data: TempDir,
    dataset: PublishedDataset,
}

impl Case {
    fn of(
        files: Vec<(String, Vec<u8>)>,
        first: impl FnMut(&Request) -> Option<Answer> + Send + 'static,
    ) -> Self {
        let mut dataset = datasets().into_iter().find(|d| d.name == "mini-imagenet").unwrap();
        (dataset.classes, dataset.images) = (100, 200);
        dataset.package.on_disk = 1 << 20;
        let tenth = files[1].1.len() / 10 + 1;
        let server = hub(REPOSITORY, files, tenth, first);
        Self { server, data: tempfile::tempdir().unwrap(), dataset }
    }

    fn new() -> Self {
        Self::of(files(), |_| None)
    }

    fn get(
        &self,
        change: impl FnOnce(&mut Download),
        token: Option<&str>,
    ) -> Result<String, String> {
        let mut arguments = arguments();
        change(&mut arguments);
        let retry_policy = RetryPolicy::default().with_sleep(|_| {});
        let downloader = Downloader { retry_policy, ..Downloader::default() };
        let home = self.data.path().join("home");
        let hub = Hub::new(&self.server.url(""), home, token.map(Into::into), downloader).unwrap();
        arguments.get_from_hub(self.dataset.clone(), hub, &self.data.path().join("data"))
    }

    fn refused(&self, parts: &[&str]) {
        let error = self.get(|_| {}, None).unwrap_err();
        parts.iter().for_each(|part| assert!(error.contains(part), "no `{part}`: {error}"));
        assert!(!self.path("mini-imagenet").exists());
        for hidden in [".mini-imagenet.unpacking", ".mini-imagenet.making", ".mini-imagenet.lock"] {
            assert!(!self.path(hidden).exists(), "{hidden}");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.path().join("data").join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    fn check(&self) {
        let root = self.path("mini-imagenet");
        let spec = SourceSpec::new(SourceKind::MiniImageNet, &root);
        for (split, classes) in [(Split::Base, 64), (Split::Val, 16), (Split::Novel, 20)] {
            let opened = spec.open(split).unwrap();
            assert_eq!((opened.class_count(), opened.len()), (classes, 2 * classes));
        }
        for (n, wnid) in wnids().into_iter().enumerate() {
            let class = mini_imagenet::class(wnid).unwrap();
            let image = root.join(class.folder()).join(wnid).join(format!("{wnid}_{n}.JPEG"));
            assert_eq!(fs::read(image).unwrap(), jpeg(2 * n), "{wnid}");
        }
    }
}

#[test]
fn shards_become_folders_of_classes() {
    let case = Case::new();
    let said = case.get(|_| {}, None).unwrap();
    assert!(said.contains("mini-imagenet with 100 classes, 200 images"), "{said}");
    case.check();
    let log = case.server.log();
    assert!(log.iter().all(|line| !line.contains("test-0") && !line.contains("README")), "{log:?}");
    assert!(log.len() > 2 * 2 * 10, "it did not break off: {log:?}");
    assert_eq!(case.names(), [".mini-imagenet.list", "mini-imagenet"]);

    let said = case.get(|_| {}, None).unwrap();
    assert!(said.contains("is there already"), "{said}");
    assert_eq!(case.server.log().len(), log.len());
    fs::remove_dir_all(case.path("mini-imagenet/val/n01855672")).unwrap();
    let error = case.get(|_| {}, None).unwrap_err();
    assert!(error.contains("99 classes and 198 images, but mini-imagenet has 100"), "{error}");
}

#[test]
fn shards_on_disk_are_taken_with_and_without_a_network() {
    let case = Case::new();
    let folder = case.data.path().join("shards");
    fs::create_dir(&folder).unwrap();
    for (path, bytes) in files() {
        fs::write(folder.join(path.rsplit('/').next().unwrap()), bytes).unwrap();
    }
    let offline = case.get(|a| a.offline = true, None).unwrap_err();
    assert!(offline.contains("list of files would have to be downloaded"), "{offline}");
    let said = case.get(|a| (a.offline, a.from) = (true, vec![folder.clone()]), None).unwrap();
    assert!(said.contains("note: the hub was not asked"), "{said}");
    assert!(case.server.log().is_empty());
    case.check();

    fs::remove_dir_all(case.path("mini-imagenet")).unwrap();
    let said =
        case.get(|a| (a.keep_archives, a.from) = (true, vec![folder.clone()]), None).unwrap();
    assert!(!said.contains("note:"), "{said}");
    assert_eq!(case.server.log().len(), 1, "only the list");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4);

    // From now on digests are known off the network, too.
    fs::remove_dir_all(case.path("mini-imagenet")).unwrap();
    let first = folder.join("train-00000-of-00001.parquet");
    let mut bytes = fs::read(&first).unwrap();
    bytes[100] ^= 1;
    fs::write(&first, bytes).unwrap();
    let error = case.get(|a| (a.offline, a.from) = (true, vec![folder.clone()]), None).unwrap_err();
    assert!(error.contains("its digest is sha256:") && error.contains("expected is"), "{error}");
    let empty = case.data.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let error = case.get(|a| a.from = vec![empty], None).unwrap_err();
    assert!(error.contains("no .parquet is in it"), "{error}");
}

#[test]
fn a_hub_that_refuses_or_is_busy_is_dealt_with() {
    let case = Case::of(files(), |request| {
        let mine = request.header("authorization") == Some("Bearer hf_mine");
        let of_hub = !request.path().starts_with("/cdn/");
        match request.number {
            1 => Some(status("429 Too Many Requests", &["Retry-After: 3"])),
            4 | 9 => Some(status("503 Service Unavailable", &[])),
            _ if of_hub && !mine => Some(status("401 Unauthorized", &[])),
            _ => None,
        }
    });
    case.refused(&["timm/mini-imagenet: the hub answers 401", "set HF_TOKEN"]);
    case.get(|_| {}, Some("hf_mine")).unwrap();
    case.check();
    Case::of(files(), |_| Some(status("404 Not Found", &[]))).refused(&["404", "no such"]);
    let wrong = Case::of(files(), |request| {
        request.path().starts_with("/cdn/").then(|| common::whole(b"other", 5, &[]))
    });
    wrong.refused(&["the server has a file of 5 bytes", "--from"]);
}

#[test]
fn shards_that_are_not_mini_imagenet_are_refused_with_what_was_got() {
    let with = |change: &dyn Fn(&mut Vec<Row>), names: &[&str]| {
        let mut all = rows("train");
        change(&mut all);
        let groups: Vec<_> = all.chunks(30).map(<[_]>::to_vec).collect();
        let mut files = files();
        files[1].1 = parquet(SCHEMA, Some(note(names)), &groups, true);
        Case::of(files, |_| None)
    };
    let all = wnids();
    let lacks = with(&|rows| drop(rows.remove(3)), &all);
    lacks.refused(&[&format!("should have 2 images, but {} has 1: shards", all[3])]);
    let text = with(&|rows| rows[7].1 = Some(b"<html>".to_vec()), &all);
    text.refused(&["train-00000-of-00001.parquet: row 7 is no JPEG"]);
    let mut other = all.clone();
    other[5] = "../../n01440764";
    with(&|_| {}, &other).refused(&["`../../n01440764` is no class of mini-ImageNet"]);
    other[5] = other[6];
    with(&|_| {}, &other).refused(&["it names 100 classes, 99 of them different"]);
    let mut files = files();
    files.truncate(1);
    files.push(("data/other.parquet".into(), vec![0; 100]));
    Case::of(files, |_| None).refused(&["timm/mini-imagenet has no data/train-….parquet"]);
}

#[test]
fn names_that_lead_elsewhere_are_made_anew() {
    for (path, name) in [
        ("n01_1.JPEG", Some("n01_1.JPEG")),
        ("a/../b/n01.jpg", Some("n01.jpg")),
        ("..\\n01.jpg", Some("n01.jpg")),
        ("..", None),
        (".jpg", None),
        ("x.jpg/", None),
        ("con\0.jpg", None),
        ("x.exe", None),
        ("", None),
    ] {
        assert_eq!(plain_name(path), name, "{path:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer { out: folder.path(), images_per_class: 2, counts: BTreeMap::new() };
    let bytes = jpeg(0);
    for (row, path) in [(1, Some("../same.jpg")), (2, Some("same.jpg")), (3, None)] {
        writer.write("n01532829", 4, Labelled { row, label: 0, bytes: &bytes, path }).unwrap();
    }
    // One more than a class has is told at the end; beyond that there is no use in going on.
    let more = Labelled { row: 4, label: 0, bytes: &bytes, path: None };
    let refused = writer.write("n01532829", 4, more).unwrap_err();
    assert!(refused.contains("each class should have 2 images, but n01532829 has 3"), "{refused}");
    let class = folder.path().join("train/n01532829");
    let mut names: Vec<_> = fs::read_dir(class).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["n01532829_04-00002.jpg", "n01532829_04-00003.jpg", "same.jpg"]);
}
