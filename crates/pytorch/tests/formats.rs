//! Files that PyTorch wrote; `fixtures/make_fixtures.py` shows their values.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Tensor};
use common::fixture;
use fewshot_pytorch::{Checkpoint, Error};

fn both(name: &str) -> [Checkpoint; 2] {
    ["legacy", "zip"].map(|format| {
        Checkpoint::from_bytes(fixture(&format!("{name}_{format}.tar"))).expect(format)
    })
}

fn assert_same(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) {
    assert!(a.keys().eq(b.keys()));
    for (name, tensor) in a {
        assert_eq!(tensor.dtype(), b[name].dtype(), "{name}");
        assert_eq!(tensor.dims(), b[name].dims(), "{name}");
        assert_eq!(floats(tensor), floats(&b[name]), "{name}");
    }
}

fn floats(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).and_then(|tensor| tensor.flatten_all());
    tensor.and_then(|tensor| tensor.to_vec1()).unwrap()
}

/// Checks type, shape and values of a tensor.
fn assert_tensor(tensor: &Tensor, dtype: DType, dims: &[usize], values: &[f64]) {
    assert_eq!(tensor.dtype(), dtype);
    assert_eq!(tensor.dims(), dims);
    assert!(tensor.is_contiguous());
    assert_eq!(floats(tensor), values);
}

#[test]
fn both_formats_of_a_trained_conv4_agree() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/parity/checkpoints");
    let states = ["conv4_legacy.tar", "conv4_zip.tar"].map(|name| {
        let checkpoint = Checkpoint::read(Path::new(folder).join(name)).unwrap();
        let root = checkpoint.root();
        assert_eq!(root.get("epoch").unwrap().as_int().unwrap(), 7);
        assert_eq!(root.get("acc").unwrap().as_float().unwrap(), 0.5);
        assert_eq!(root.get("best_acc").unwrap().as_float().unwrap(), 0.625);
        root.get("state").unwrap().tensors().unwrap()
    });
    assert_same(&states[0], &states[1]);
    let state = &states[0];
    assert_eq!(state["feature.trunk.0.C.weight"].dims(), [64, 3, 3, 3]);
    let by_place = floats(&state["feature.trunk.0.trunk.0.weight"]);
    assert_eq!(floats(&state["feature.trunk.0.C.weight"]), by_place);
}

#[test]
fn the_published_layout() {
    for checkpoint in both("published") {
        let root = checkpoint.root();
        assert_eq!(root.get("epoch").unwrap().as_int().unwrap(), 7);
        assert_eq!(root.get("acc").unwrap().as_float().unwrap(), 0.5);
        assert_eq!(root.get("best_acc").unwrap().as_float().unwrap(), 0.625);
        let state = root.get("state").unwrap().tensors().unwrap();
        assert!(state.keys().eq(["layer.bias", "layer.weight"]));
        assert_tensor(&state["layer.weight"], DType::F32, &[2, 3], &[0., 1., 2., 3., 4., 5.]);
        assert_tensor(&state["layer.bias"], DType::F32, &[2], &[0.5, -0.5]);

        let optimizer = root.get("optimizer").unwrap();
        let group = optimizer.get("param_groups").unwrap().items().unwrap().next().unwrap();
        assert_eq!(group.get("lr").unwrap().as_float().unwrap(), 0.25);
        let momentum = optimizer.get("state").unwrap().entries().unwrap().next().unwrap();
        assert_eq!(momentum.0.as_int().unwrap(), 0);
        let momentum = momentum.1.get("momentum_buffer").unwrap().tensor().unwrap();
        assert_tensor(&momentum, DType::F32, &[2, 3], &[1.0; 6]);
    }
}

#[test]
fn every_type_and_view() {
    for checkpoint in both("tensors").into_iter().chain(both("tensors_protocol4")) {
        let all = checkpoint.root().tensors().unwrap();
        assert_eq!(all.len(), 19);
        let twelve: Vec<_> = (0..12).map(f64::from).collect();
        let by_column: Vec<_> = (0..12).map(|i| f64::from(i % 3 * 4 + i / 3)).collect();
        assert_tensor(&all["f16"], DType::F16, &[2], &[1.5, -2.0]);
        assert_tensor(&all["bf16"], DType::BF16, &[2], &[1.5, -2.0]);
        assert_tensor(&all["f32"], DType::F32, &[3, 4], &twelve);
        assert_tensor(&all["f64"], DType::F64, &[1], &[0.1]);
        assert_tensor(&all["i8"], DType::I64, &[2], &[-1.0, 127.0]);
        assert_tensor(&all["i16"], DType::I16, &[1], &[-300.0]);
        assert_tensor(&all["i32"], DType::I32, &[1], &[-70000.0]);
        assert_tensor(&all["i64"], DType::I64, &[1], &[-(2f64.powi(40))]);
        assert_tensor(&all["u8"], DType::U8, &[2], &[0.0, 255.0]);
        assert_tensor(&all["bool"], DType::U8, &[2], &[1.0, 0.0]);
        assert_tensor(&all["transposed"], DType::F32, &[4, 3], &by_column);
        assert_tensor(&all["sliced"], DType::F32, &[2, 2], &[5.0, 7.0, 9.0, 11.0]);
        assert_tensor(&all["row"], DType::F32, &[4], &[8.0, 9.0, 10.0, 11.0]);
        assert_tensor(&all["same"], DType::F32, &[3, 4], &twelve);
        assert_tensor(&all["expanded"], DType::F32, &[2, 3], &[3.0; 6]);
        assert_tensor(&all["steps"], DType::I64, &[3], &[3.0, 6.0, 9.0]);
        assert_tensor(&all["scalar"], DType::I64, &[], &[42.0]);
        assert_tensor(&all["empty"], DType::F32, &[0, 3], &[]);
        assert_tensor(&all["parameter"], DType::F32, &[1], &[9.0]);
    }
}

/// The zip crate misreads these by default.
#[test]
fn an_archive_whose_name_has_21_characters() {
    let name = "tensors_protocol4_zip";
    assert_eq!(name.len(), 21);
    let checkpoint = Checkpoint::from_bytes(fixture(&format!("{name}.tar"))).unwrap();
    assert_eq!(checkpoint.root().entries().unwrap().len(), 19);
}

#[test]
fn every_plain_value() {
    for checkpoint in both("plain").into_iter().chain(both("plain_protocol4")) {
        let root = checkpoint.root();
        let get = |key| root.get(key).unwrap();
        assert!(get("none").is_none());
        let bools: Vec<_> = get("bools").items().unwrap().map(|v| v.as_bool().unwrap()).collect();
        assert_eq!(bools, [true, false]);
        let ints: Vec<_> = get("ints").items().unwrap().map(|v| v.as_int().unwrap()).collect();
        assert_eq!(ints, [0, 255, 65535, -1, i64::from(i32::MAX), 1 << 40, i64::MIN]);
        assert!(get("huge").as_int().is_err());
        assert_eq!(get("huge").as_float().unwrap(), 2f64.powi(100));
        assert_eq!(get("float").as_float().unwrap(), -0.125);
        assert_eq!(get("text").as_str().unwrap(), "é🐦");
        assert_eq!(get("bytes").as_bytes().unwrap(), b"\x00\xff");
        let size: Vec<_> = get("size").items().unwrap().map(|v| v.as_int().unwrap()).collect();
        assert_eq!(size, [2, 3]);
        let numpy: Vec<_> = get("numpy").items().unwrap().collect();
        assert_eq!(numpy[0].as_float().unwrap(), 1.5);
        assert_eq!(numpy[1].as_int().unwrap(), -3);
        assert!(numpy[2].as_bool().unwrap());
        assert_eq!(numpy[3].as_float().unwrap(), 0.5);
        let nested = get("nested").entries().unwrap().next().unwrap().1;
        let empty = nested.get("a").unwrap().items().unwrap().next().unwrap();
        assert_eq!(empty.items().unwrap().len(), 0);
        assert_eq!(
            get("cycle").get("cycle").unwrap().get("text").unwrap().as_str().unwrap(),
            "é🐦"
        );
    }
}

#[test]
fn tensors_of_the_same_elements_share_memory() {
    let [checkpoint, _] = both("tensors");
    let all = checkpoint.root().tensors().unwrap();
    let address = |name: &str| {
        let (storage, _) = all[name].storage_and_layout();
        let candle_core::Storage::Cpu(storage) = &*storage else { panic!("not on the CPU") };
        storage.as_slice::<f32>().unwrap().as_ptr()
    };
    assert_eq!(address("f32"), address("same"));
    assert_ne!(address("f32"), address("transposed"));
}

#[test]
fn messages_name_what_was_found() {
    let [checkpoint, _] = both("published");
    let root = checkpoint.root();
    let message = |error: Error| error.to_string();
    assert_eq!(
        message(root.get("Epoch").unwrap_err()),
        "`the checkpoint` has no entry `Epoch`; it has `epoch`, `state`, `acc`, `best_acc`, \
         `optimizer`"
    );
    assert_eq!(
        message(root.get("epoch").unwrap().as_str().unwrap_err()),
        "`epoch` is an integer; expected a string"
    );
    assert_eq!(message(root.tensors().unwrap_err()), "`epoch` is an integer; expected a tensor");
    assert_eq!(
        message(root.get("acc").unwrap().get("x").unwrap_err()),
        "`acc` is a number; expected a dict"
    );
    assert_eq!(format!("{checkpoint:?}"), "Checkpoint { root: a dict, .. }");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.tar");
    let error = Checkpoint::read(&absent).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: ", absent.display())), "{error}");
    let text = folder.path().join("text.tar");
    std::fs::write(&text, "hello, world").unwrap();
    let error = Checkpoint::read(&text).unwrap_err().to_string();
    assert!(
        error.contains("text.tar: not a PyTorch checkpoint: it starts with `hello, w`"),
        "{error}"
    );
}
