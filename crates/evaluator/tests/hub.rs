//! Checkpoints of the Hugging Face hub, served by this process.
#![cfg(feature = "hub")]

#[path = "../../fetch/tests/common/mod.rs"]
mod common;
#[path = "common/mod.rs"]
#[allow(dead_code)]
mod drawn;
#[path = "../../fetch/tests/common/hub.rs"]
mod fake;

use std::path::Path;
use std::process::{Command, Output};

use common::status;
use drawn::{FEW, checkpoint};
use fake::{COMMIT, hub};
use serde_json::Value;

const ADDRESS: &str = "hf://o/r/model.safetensors";

fn evaluate(endpoint: &str, home: &Path, more: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluator"));
    for name in ["FEWSHOT_DATA", "FEWSHOT_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "SSL_CERT_FILE"] {
        command.env_remove(name);
    }
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"] {
        command.env_remove(name);
    }
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", home).args(FEW).arg("--json");
    command.args(more).envs(variables.iter().copied()).output().unwrap()
}

fn results(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.starts_with("error: ") && !message.contains("panicked"), "{message}");
    parts.iter().for_each(|part| assert!(message.contains(part), "no `{part}`: {message}"));
}

#[test]
fn a_checkpoint_of_the_hub_is_one_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &[]);
    let bytes = std::fs::read(&path).unwrap();
    let tenth = bytes.len() / 10 + 1;
    let server = hub("o/r", vec![("model.safetensors".into(), bytes)], tenth, |request| {
        let mine = Some("Bearer hf_mine");
        let of_hub = !request.path().starts_with("/cdn/");
        (of_hub && request.header("authorization") != mine).then(|| status("401 Unauthorized", &[]))
    });
    let (endpoint, home) = (server.url(""), folder.path().join("home"));
    let path = path.to_str().unwrap();
    let run =
        |more: &[&str], variables: &[(&str, &str)]| evaluate(&endpoint, &home, more, variables);
    refused(&run(&["--checkpoint", ADDRESS], &[]), &[ADDRESS, "401", "set HF_TOKEN"]);
    let offline = [("HF_HUB_OFFLINE", "1")];
    refused(&run(&["--checkpoint", ADDRESS], &offline), &[ADDRESS, "not in the cache"]);
    refused(&run(&["--checkpoint", "hf://o/r"], &[]), &["hf://o/r: the file `` is empty"]);

    let local = results(&run(&["--checkpoint", path], &[]));
    let token = [("HF_TOKEN", "hf_mine")];
    let mut here = results(&run(&["--checkpoint", ADDRESS], &token));
    assert_eq!(here["checkpoint"], format!("{ADDRESS}@{COMMIT}"));
    here["checkpoint"] = local["checkpoint"].clone();
    assert_eq!(here, local);

    let asked = server.log().len();
    for offline in [offline, [("FEWSHOT_OFFLINE", "1")]] {
        let both = ["--checkpoint", path, "--compare", ADDRESS];
        let compared = results(&run(&both, &offline));
        assert_eq!(compared["comparison"]["second"]["results"], local["results"]);
    }
    // Where huggingface_hub looks, too.
    let (cache, elsewhere) = (home.join("hub"), folder.path().join("elsewhere"));
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"] {
        let variables = [offline[0], (name, cache.to_str().unwrap())];
        let cached =
            results(&evaluate(&endpoint, &elsewhere, &["--checkpoint", ADDRESS], &variables));
        assert_eq!(cached["results"], local["results"]);
    }
    assert_eq!(server.log().len(), asked, "the cache was not enough");
}

#[test]
fn a_file_of_the_hub_that_is_no_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = vec![("model.safetensors".to_owned(), b"cos\nsystem\n(S'id'\ntR.".to_vec())];
    let server = hub("o/r", files, usize::MAX, |_| None);
    let home = folder.path().join("home");
    refused(&evaluate(&server.url(""), &home, &["--checkpoint", ADDRESS], &[]), &["safetensors"]);
    let other = folder.path().join("other");
    let failed = evaluate(
        "http://hub.example",
        &other,
        &["--checkpoint", ADDRESS],
        &[("HTTP_PROXY", "ftp://name:word@host")],
    );
    refused(&failed, &["HTTP_PROXY is no address of a proxy"]);
}
