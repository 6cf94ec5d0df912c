//! Malicious and broken files.

mod common;

use common::exercise::exercise;
use common::*;
use fewshot_pytorch::{Checkpoint, Error};
use zip::CompressionMethod::{Deflated, Stored};

/// Makes files of both formats with one storage, `k`, of three floats.
fn with_storage(object: &[u8]) -> [Checkpoint; 2] {
    let data = [1f32, 2.0, 3.0].map(f32::to_le_bytes).concat();
    let files = [legacy(object, &[("k", 3, &data)]), zipped(object, &[("k", &data)])];
    files.map(|file| Checkpoint::from_bytes(file).unwrap())
}

/// Returns the error message of a tensor that is a view of the three floats.
fn tensor_refusal(offset: i128, size: &[i128], stride: &[i128]) -> String {
    let object = dict(&[("t", tensor(storage("k", 3), offset, size, stride))]);
    let [a, b] = with_storage(&object).map(|checkpoint| {
        let error = checkpoint.root().tensors().unwrap_err();
        assert!(matches!(&error, Error::Tensor { name, .. } if name == "t"), "{error}");
        error.to_string()
    });
    // The limit depends on the size of the file.
    assert_eq!(a.split(',').next(), b.split(',').next());
    a
}

#[track_caller]
fn assert_contains(message: &str, part: &str) {
    assert!(message.contains(part), "{message}");
}

#[test]
fn other_globals_are_refused_by_name() {
    let run = [b"cos\nsystem\n", &tuple(&[text("echo")])[..], b"R"].concat();
    assert_contains(&refusal_of(&run), "refuses to construct `os.system` (byte 4");
    assert_contains(&refusal(&zipped(&run, &[])), "refuses to construct `os.system`");
    let by_stack = [&text("builtins")[..], &text("eval"), b"\x93"].concat();
    assert_contains(&refusal_of(&by_stack), "`builtins.eval`");
    // Names nested in an allowed module or class are not allowed.
    for (module, name) in [
        ("torch", "nn.Linear"),
        ("torch", "FloatStorage.__reduce__"),
        ("torch", "ComplexFloatStorage"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections.OrderedDict", ""),
        ("numpy.core", "multiarray.scalar"),
        ("torch.storage", "_load_from_bytes"),
    ] {
        let object = [&text(module)[..], &text(name), b"\x93"].concat();
        assert_contains(&refusal_of(&object), &format!("`{module}.{name}`"));
    }
    assert_contains(&refusal_of(b"cos\nPopen\n)\x81"), "`os.Popen`");
    assert_contains(&refusal_of(&[b"c", &[b'a'; 5000][..], b"\nb\n"].concat()), "aaa….b`");
    assert_contains(&refusal_of(b"KKKK\x93"), "whose name is no string");
}

#[test]
fn allowed_globals_are_not_misused() {
    for (object, part) in [
        (&b"K\x01)R"[..], "calls an integer"),
        (b"ctorch\nFloatStorage\n)R", "Storage(F32) of 0 unknown arguments"),
        (b"ctorch\nFloatStorage\n)\x81", "Storage(F32) of 0 unknown arguments"),
        (b"ccollections\nOrderedDict\nK\x01R", "arguments that are no tuple"),
        (b"ccollections\nOrderedDict\n]\x85R", "OrderedDict of 1 unknown arguments"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(NNNNNNtR", "a tensor of None"),
        (b"ctorch._utils\n_rebuild_parameter\nN\x88}\x87R", "a parameter of None"),
        (b"cnumpy\ndtype\nX\x01\0\0\0O\x85R", "numpy type `O`"),
        (b"cnumpy.core.multiarray\nscalar\nNN\x86R", "a numpy number of type None"),
        (b"cnumpy\ndtype\nX\x02\0\0\0f8\x85R(K\x03X\x01\0\0\0>tb", "byte order `>`"),
        (b"cnumpy\ndtype\nX\x02\0\0\0f8\x85R)b", "without byte order"),
        (b"c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0rot13\x86R", "expected a string and `latin1`"),
        (b"c_codecs\nencode\nX\x03\0\0\0\xe2\x82\xacX\x06\0\0\0latin1\x86R", "not in Latin-1"),
        (b"ctorch\nFloatStorage\n}b", "sets a dict as the state of an object"),
        (b"K\x01}b", "sets a dict as the state of an integer"),
        (b"]}b", "sets a dict as the state of a list"),
        (b"}]b", "sets a list as the state of a dict"),
        (b"NQ", "a persistent id that is not of a storage"),
        (b"(X\x07\0\0\0storageNNNNtQ", "a persistent id that is not of a storage"),
    ] {
        assert_contains(&refusal_of(object), part);
    }
}

#[test]
fn malformed_opcodes_name_their_place() {
    let start = legacy(b"", &[]).len() - b"\x80\x02](e..".len();
    for (object, part) in [
        (&b"\x97"[..], "opcode 0x97 is not one that is read"),
        (b"i", "opcode 0x69"),
        (b"\x80\x06", "protocol 6"),
        (b"0", "nothing on the stack"),
        (b"N(0(0(s", "nothing on the stack"),
        (b"N(\x85", "too few values"),
        (b"1", "no mark"),
        (b"N(a", "nothing on the stack"),
        (b"NNa", "appends to None; expected a list"),
        (b"NNNs", "sets items of None; expected a dict"),
        (b"}(Nu", "a key without a value"),
        (b"(Nd", "a key without a value"),
        (b"h\x05", "nothing in the memo at 5"),
        (b"g-1\n", "`-1`; expected a place in the memo"),
        (b"I1x\n", "`1x`; expected an integer"),
        (b"Fx\n", "`x`; expected a number"),
        (b"X\x01\0\0\0\xff", "not UTF-8"),
        (b"\x8b\xff\xff\xff\xff", "a length of -1"),
        (b"T\xff\xff\xff\xff", "a length of -1"),
        (b"\x8a\x1100000000000000000", "an integer of 17 bytes"),
    ] {
        let message = refusal_of(object);
        assert_contains(&message, part);
        assert_contains(&message, "malformed pickle at byte ");
        let place = message.split("byte ").nth(1).unwrap().split(':').next().unwrap();
        let place: usize = place.parse().unwrap();
        assert!((start..start + object.len() + 3).contains(&place), "{message}");
    }
}

#[test]
fn old_opcodes_are_read() {
    let object =
        b"(lp0\nI01\naI-5\naL12L\naF0.5\naV\\u00e9\na(I1\nVx\ndaU\x02abaT\x01\0\0\0\xffa(g0\nta";
    let checkpoint = opened(object).unwrap();
    let items: Vec<_> = checkpoint.root().items().unwrap().collect();
    assert!(items[0].as_bool().unwrap());
    assert_eq!(items[1].as_int().unwrap(), -5);
    assert_eq!(items[2].as_int().unwrap(), 12);
    assert_eq!(items[3].as_float().unwrap(), 0.5);
    assert_eq!(items[4].as_str().unwrap(), "é");
    assert_eq!(items[5].entries().unwrap().next().unwrap().0.as_int().unwrap(), 1);
    assert_eq!(items[6].as_str().unwrap(), "ab");
    assert_eq!(items[7].as_bytes().unwrap(), b"\xff");
    assert_eq!(items[8].items().unwrap().next().unwrap().items().unwrap().len(), 9);
    let put_far_away = opened(b"]r\xff\xff\xff\xff0j\xff\xff\xff\xff").unwrap();
    assert_eq!(put_far_away.root().items().unwrap().len(), 0);
}

#[test]
fn cycles_are_harmless() {
    for object in [
        &b"]q\0h\0a"[..],
        b"}q\0h\0h\0s",
        b"]q\0h\0\x85a",
        b"]q\0(h\0h\0tq\x010h\0h\x01a0h\x01",
        b"}q\0X\x05\0\0\0stateh\0s",
    ] {
        exercise(&legacy(object, &[])).unwrap();
        exercise(&zipped(object, &[])).unwrap();
    }
    let itself = opened(b"}q\0X\x05\0\0\0stateh\0s").unwrap();
    let error = itself.root().get("state").unwrap().get("state").unwrap().tensors().unwrap_err();
    assert_eq!(error.to_string(), "`state` is a dict; expected a tensor");
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    const DEPTH: usize = 100_000;
    for object in [
        [vec![b']'; DEPTH], vec![b'a'; DEPTH - 1]].concat(),
        [vec![b'('; DEPTH], vec![b't'; DEPTH]].concat(),
        [vec![b'('; DEPTH], vec![b'l'; DEPTH]].concat(),
        [vec![b'N'], vec![b'\x85'; DEPTH]].concat(),
        [vec![b'}'], b"N}".repeat(DEPTH), vec![b's'; DEPTH]].concat(),
        [vec![b'('; DEPTH], vec![b'0'; DEPTH], vec![b'N']].concat(),
    ] {
        exercise(&legacy(&object, &[])).unwrap();
        exercise(&zipped(&object, &[])).unwrap();
    }
}

#[test]
fn impossible_lengths_are_errors() {
    let far = u64::MAX.to_le_bytes();
    for object in [
        [b"\x8d", &far[..]].concat(),
        [b"\x8e", &far[..]].concat(),
        [b"\x95", &far[..]].concat(),
        b"X\xff\xff\xff\xff".to_vec(),
        b"B\xff\xff\xff\xff".to_vec(),
        b"T\xff\xff\xff\x7f".to_vec(),
        b"\x8b\xff\xff\xff\x7f".to_vec(),
        b"Vwithout end".to_vec(),
    ] {
        let error = Checkpoint::from_bytes(legacy(&object, &[])).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{error}");
        // In an archive, the pickle must not be read beyond its entry.
        let error = Checkpoint::from_bytes(zipped(&object, &[])).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{error}");
    }
}

#[test]
fn tensors_stay_inside_their_storage() {
    let inside = dict(&[
        ("reversed", tensor(storage("k", 3), 1, &[2, 1], &[1, 1 << 62])),
        ("scalar", tensor(storage("k", 3), 2, &[], &[])),
        ("empty", tensor(storage("k", 3), 1 << 40, &[0, 5], &[5, 1])),
    ]);
    for checkpoint in with_storage(&inside) {
        let tensors = checkpoint.root().tensors().unwrap();
        assert_eq!(tensors["reversed"].to_vec2::<f32>().unwrap(), [[2.0], [3.0]]);
        assert_eq!(tensors["scalar"].to_scalar::<f32>().unwrap(), 3.0);
        assert_eq!(tensors["empty"].dims(), [0, 5]);
    }
    let far = i128::from(i64::MAX);
    assert_contains(&tensor_refusal(0, &[3], &[-1]), "tensor `t`: stride -1");
    assert_contains(&tensor_refusal(-1, &[3], &[1]), "storage offset -1");
    assert_contains(&tensor_refusal(0, &[-3], &[1]), "size -3");
    assert_contains(&tensor_refusal(far + 1, &[1], &[1]), "storage offset 9223372036854775808");
    assert_contains(&tensor_refusal(1 << 100, &[1], &[1]), "storage offset 12676");
    assert_contains(&tensor_refusal(1, &[3], &[1]), "reaches outside its storage of 3 elements");
    assert_contains(&tensor_refusal(far, &[3], &[far]), "reaches outside");
    assert_contains(&tensor_refusal(0, &[2, 2], &[far, far]), "reaches outside");
    assert_contains(&tensor_refusal(3, &[], &[]), "reaches outside");
    assert_contains(&tensor_refusal(0, &[3], &[]), "differ in length");
    assert_contains(&tensor_refusal(0, &[1 << 50], &[0]), "more than the limit of 16777216");
    assert_contains(&tensor_refusal(0, &[1 << 40, 1 << 40], &[0, 0]), "too many elements");
    assert_contains(&tensor_refusal(0, &[1 << 40, 1 << 40, 0], &[0; 3]), "too many elements");
    assert_contains(&tensor_refusal(0, &[1; 17], &[1; 17]), "17 dimensions");
}

#[test]
fn many_expanded_tensors_share_the_limit() {
    let names: Vec<_> = (0..40).map(|i| format!("t{i}")).collect();
    let entries: Vec<_> = (0..)
        .zip(&names)
        .map(|(i, name)| (&name[..], tensor(storage("k", 3), 0, &[1 << 17, i + 1], &[0, 0])))
        .collect();
    for checkpoint in with_storage(&dict(&entries)) {
        let error = checkpoint.root().tensors().unwrap_err().to_string();
        assert_contains(&error, "tensor `t7`: with those before it");
        for (_, value) in checkpoint.root().entries().unwrap().take(8) {
            value.tensor().unwrap();
        }
    }
}

#[test]
fn shapes_are_tuples_of_integers() {
    let hooks = call("collections\nOrderedDict", &[]);
    for (size, part) in [
        (b"N".to_vec(), "size is None, not a tuple"),
        (b"](K\x01e".to_vec(), "size is a list, not a tuple"),
        (b"N\x85".to_vec(), "size is None"),
    ] {
        let arguments =
            [storage("k", 3), long(0), size, naturals(&[1]), b"\x89".to_vec(), hooks.clone()];
        let object = dict(&[("t", call("torch._utils\n_rebuild_tensor_v2", &arguments))]);
        for checkpoint in with_storage(&object) {
            assert_contains(&checkpoint.root().tensors().unwrap_err().to_string(), part);
        }
    }
}

#[test]
fn storages_match_their_declarations() {
    let one = tensor(storage("k", 3), 0, &[3], &[1]);
    let data = [0; 12];
    for (declared, part) in [
        (2, "`k` has 2 elements where its data is, and 3 where it is used"),
        (-1, "`k` has -1 elements"),
        (i64::MAX, "`k` has 9223372036854775807 elements"),
    ] {
        assert_contains(&refusal(&legacy(&one, &[("k", declared, &data)])), part);
    }
    assert_contains(&refusal(&legacy(&one, &[])), "the data of a tensor is missing");
    assert_contains(&refusal(&legacy(&one, &[("j", 3, &data)])), "`j` is no tensor's");
    let twice = [("k", 3, &data[..]), ("k", 3, &data[..])];
    assert_contains(&refusal(&legacy(&one, &twice)), "`k` is there twice");
    assert_contains(&refusal(&zipped(&one, &[])), "no entry `a/data/k`");
    assert_contains(&refusal(&zipped(&one, &[("k", &data[..11])])), "`k` has 11 bytes");
    assert_contains(&refusal(&zipped(&one, &[("k", &[0; 13])])), "`k` has 13 bytes");

    let far = tensor(storage("k", i128::from(u64::MAX)), 0, &[3], &[1]);
    assert_contains(
        &refusal(&zipped(&far, &[("k", &data)])),
        "one of 18446744073709551615 elements",
    );
    assert_contains(&refusal_of(&storage("k", -1)), "a length of -1");
    assert_contains(&refusal_of(&storage(&"k".repeat(257), 1)), "key has 257 bytes");
    let two_types = [storage("k", 3), storage_of("LongStorage", "k", 3)].concat();
    assert_contains(&refusal_of(&two_types), "3 elements of I64 here, and 3 of F32 before");
}

/// A storage that is a part of another, as PyTorch before 0.4 wrote them.
#[test]
fn parts_of_storages() {
    let part = |start, len| {
        let class = b"ctorch\nFloatStorage\n".to_vec();
        let part = tuple(&[text("p"), long(start), long(len)]);
        let id = tuple(&[text("storage"), class, text("k"), text("cpu"), long(3), part]);
        [&id[..], b"Q"].concat()
    };
    let data = [1f32, 2.0, 3.0].map(f32::to_le_bytes).concat();
    let file = |part, offset| {
        let object = dict(&[("t", tensor(part, offset, &[2], &[1]))]);
        legacy(&object, &[("k", 3, &data)])
    };
    let checkpoint = Checkpoint::from_bytes(file(part(1, 2), 0)).unwrap();
    let tensors = checkpoint.root().tensors().unwrap();
    assert_eq!(tensors["t"].to_vec1::<f32>().unwrap(), [2.0, 3.0]);
    let checkpoint = Checkpoint::from_bytes(file(part(1, 2), 1)).unwrap();
    assert_contains(&checkpoint.root().tensors().unwrap_err().to_string(), "storage of 2 elements");
    assert_contains(
        &refusal(&file(part(2, 2), 0)),
        "a part of 2 elements from 2 on, of a storage of 3",
    );
    assert_contains(&refusal(&file(part(u64::MAX.into(), 2), 0)), "a part of 2 elements");
}

#[test]
fn files_that_are_no_checkpoints_get_an_explanation() {
    for (bytes, part) in [
        (&b""[..], "it is empty"),
        (b"\x1f\x8b\x08", "it starts with `\\x1f\\x8b\\x08`"),
        (b"\x80\x02K\x01.", "a pickle without the magic number"),
        (b"\x80\x02cos\nsystem\n.", "a pickle without the magic number"),
    ] {
        let error = Checkpoint::from_bytes(bytes).unwrap_err();
        assert!(matches!(error, Error::NotACheckpoint { .. }), "{error}");
        assert_contains(&error.to_string(), part);
        assert_contains(&error.to_string(), "zip archive (PyTorch 1.6 and later) or a legacy");
    }
    let other = zip_of(&[("a/b", b"c")], Stored);
    assert_contains(&refusal(&other), "a zip archive without `data.pkl`");
    let future = [&LEGACY_START[..15], b"\x80\x02M\xea\x03.\x80\x02}."].concat();
    assert_contains(&refusal(&future), "protocol version 1002; expected 1001");
    let big_endian =
        [LEGACY_START, &pickle(&dict(&[("little_endian", b"\x89".to_vec())]))].concat();
    assert_contains(&refusal(&big_endian), "not noted as little-endian");
}

#[test]
fn archives_are_as_pytorch_writes_them() {
    let object = pickle(b"N");
    let with = |entries: &[(&str, &[u8])]| {
        zip_of(&[&[("a/data.pkl", &object[..])], entries].concat(), Stored)
    };
    Checkpoint::from_bytes(with(&[])).unwrap();
    assert_contains(&refusal(&with(&[("a/byteorder", b"big")])), "byte order `big`");
    assert_contains(&refusal(&with(&[("b/data.pkl", b"")])), "more than one `data.pkl`");
    let deflated = zip_of(&[("a/data.pkl", &object)], Deflated);
    assert_contains(&refusal(&deflated), "entry `a/data.pkl`: compressed");

    // An entry whose name becomes that of another.
    let mut duplicated = with(&[("a/data.pkk", b"x")]);
    let places: Vec<_> =
        (0..duplicated.len()).filter(|i| duplicated[*i..].starts_with(b"pkk")).collect();
    places.iter().for_each(|i| duplicated[i + 2] = b'l');
    assert_contains(&refusal(&duplicated), "two entries have the same name");

    let mut damaged = with(&[]);
    let content = damaged.windows(2).position(|bytes| bytes == b"\x80\x02").unwrap();
    damaged[content + 2] = b')';
    assert_contains(&refusal(&damaged), "entry `a/data.pkl`: ");
}

/// Sets each field of the list of entries and of the end record to its largest value, and to half
/// of that.
#[test]
fn wrong_sizes_in_archives_are_errors() {
    let sound = zipped(&tensor(storage("k", 1), 0, &[1], &[1]), &[("k", &[0; 4])]);
    exercise(&sound).unwrap();
    let list = sound.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let end = sound.len() - 22;
    for (place, len) in [
        (list + 20, 4),
        (list + 24, 4),
        (list + 28, 2),
        (list + 30, 2),
        (list + 42, 4),
        (end + 4, 2),
        (end + 8, 2),
        (end + 10, 2),
        (end + 12, 4),
        (end + 16, 4),
        (end + 20, 2),
    ] {
        let mut file = sound.clone();
        file[place..place + len].fill(0xff);
        assert!(exercise(&file).is_err(), "{place}");
        file[place..place + len].fill(0xff - 0x80);
        assert!(exercise(&file).is_err(), "{place}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for name in ["published_legacy.tar", "tensors_legacy.tar", "published_zip.tar", "plain_zip.tar"]
    {
        let whole = fixture(name);
        exercise(&whole).unwrap();
        for end in 0..whole.len() {
            assert!(Checkpoint::from_bytes(&whole[..end]).is_err(), "{name} up to {end}");
        }
    }
}
