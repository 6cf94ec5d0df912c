//! The downloads from the outside. Nothing but this machine is asked.

#[path = "../../fetch/tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;

use common::{Server, status, whole};

fn datasets(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_datasets"));
    command.args(arguments).env("FEWSHOT_DATA", data);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FEWSHOT_OFFLINE"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env_remove("SSL_CERT_FILE");
    // Whatever is not this machine is asked by a proxy that is not there.
    command.env("HTTPS_PROXY", "http://127.0.0.1:9").env("NO_PROXY", "127.0.0.1");
    command
}

/// Exit status, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn offline_is_refused_with_a_remedy() {
    let data = tempfile::tempdir().unwrap();
    for name in ["download-cub", "download-omniglot", "download-cifar-fs"] {
        let by_option = run(&mut datasets(&[name, "--offline", "--yes"], data.path()));
        let by_variable = run(datasets(&[name, "--yes"], data.path()).env("FEWSHOT_OFFLINE", "1"));
        for (code, out, errors) in [by_option, by_variable] {
            assert_eq!((code, &*out), (2, ""), "{errors}");
            for part in ["error: ", "would have to be downloaded", "--from", "https://"] {
                assert!(errors.contains(part), "{errors}");
            }
        }
    }
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn what_is_not_the_published_file_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let wrong = data.path().join("wrong.zip");
    std::fs::write(&wrong, "wrong").unwrap();
    let from = wrong.to_str().unwrap();
    let (code, _, errors) = run(&mut datasets(&["download-omniglot", "--from", from], data.path()));
    assert_eq!(code, 2);
    // The digest of the five letters, and those of the table.
    for part in ["wrong.zip", "md5:2bda2998d9b0ee197da142a0447f6725", "md5:68d2efa1b9178cc5"] {
        assert!(errors.contains(part), "{errors}");
    }
    let (code, _, errors) =
        run(&mut datasets(&["download-cub", "--from", "no/such.tgz"], data.path()));
    assert!(code == 2 && errors.contains("no/such.tgz"), "{errors}");

    // A mirror that has another file, and mirrors that cannot be reached.
    let server = Server::start(|request| match request.number {
        0 => whole(b"another file", usize::MAX, &[]),
        _ => status("404 Not Found", &[]),
    });
    let mirror = server.url("/images_background.zip");
    let arguments = ["download-omniglot", "--mirror", &mirror, "--yes", "--offline"];
    let (code, _, errors) = run(&mut datasets(&arguments, data.path()));
    assert!(code == 2 && errors.contains(&mirror), "{errors}");
    assert!(server.log().is_empty());
}

#[test]
fn datasets_are_listed_for_people_and_programs() {
    let data = tempfile::tempdir().unwrap();
    let (code, out, errors) = run(&mut datasets(&["datasets", "--json"], data.path()));
    assert_eq!((code, &*errors), (0, ""));
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    let rows = rows.as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cub", "omniglot", "cifar-fs", "mini-imagenet"]);
    for row in rows {
        assert_eq!(row["state"], "absent");
        for key in ["about", "terms", "page", "path", "root", "source"] {
            assert!(row[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {row}");
        }
    }
    assert_eq!(rows[0]["archives"][0]["bytes"], 1_150_585_339u64);
    let (code, out, _) = run(&mut datasets(&["datasets"], data.path()));
    assert!(code == 0 && out.contains("cub: Caltech-UCSD Birds"), "{out}");
    let (code, _, errors) = run(&mut datasets(&["datasets", "--data", ""], data.path()));
    assert!(code == 2 && errors.contains("--data"), "{errors}");
}

#[test]
fn help_teaches() {
    for name in ["download-cub", "download-omniglot", "download-mini-imagenet", "datasets"] {
        let (code, out, _) = run(&mut datasets(&[name, "--help"], Path::new("unused")));
        assert_eq!(code, 0);
        for part in ["Examples:", "Exit status: 0 ", "--data", "FEWSHOT_DATA"] {
            assert!(out.contains(part), "{name}: {part}\n{out}");
        }
    }
    let (code, _, errors) =
        run(&mut datasets(&["download-cub", "--nonsense"], Path::new("unused")));
    assert!(code == 2 && errors.contains("--nonsense"), "{errors}");
}

#[test]
fn a_proxy_that_is_none_is_named() {
    let data = tempfile::tempdir().unwrap();
    let mut command = datasets(&["download-cub"], data.path());
    let (code, _, errors) = run(command.env("HTTPS_PROXY", "ftp://name:word@host"));
    assert!(code == 2 && errors.contains("HTTPS_PROXY is no address"), "{errors}");
    assert!(!errors.contains("word"), "{errors}");
}
