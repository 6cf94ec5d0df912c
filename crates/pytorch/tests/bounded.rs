//! Reading any file neither panics nor takes more memory than its size and the documented limit
//! allow.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::LazyLock;

use common::exercise::{exercise, exercise_pickle};
use common::*;
use fewshot_pytorch::Checkpoint;
use proptest::prelude::*;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts the bytes that each thread has allocated, as tests run in parallel.
struct Counting;

fn count(change: isize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is passed unchanged to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's guarantees are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as for `alloc`; `pointer` came from there.
        unsafe { System.dealloc(pointer, layout) }
    }

    // The default `realloc` allocates, copies and frees: the worst case of a real one.
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the peak memory of this thread during `work`, in addition to what it holds before.
fn peak<T>(work: impl FnOnce() -> T) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    drop(work());
    (PEAK.get() - before) as usize
}

fn reading_limit(bytes: &[u8]) -> usize {
    (64 << 10) + 64 * bytes.len()
}

/// Reads a file and all of its values, within the limits.
fn assert_bounded(bytes: &[u8]) {
    let reading = peak(|| Checkpoint::from_bytes(bytes));
    assert!(reading <= reading_limit(bytes), "{reading} bytes for a file of {}", bytes.len());
    let asking = peak(|| exercise(bytes));
    let limit = reading_limit(bytes) + (16 << 20).max(8 * bytes.len());
    assert!(asking <= limit, "{asking} bytes for a file of {}", bytes.len());
    let of_arrays = peak(|| exercise_pickle(bytes));
    assert!(of_arrays <= limit, "{of_arrays} bytes for a pickle of {}", bytes.len());
}

/// The elements of an array are not copied, in any of their encodings.
#[test]
fn arrays_stay_in_the_file() {
    const LEN: usize = 1 << 20;
    let of = |data: Vec<u8>, marker: &[u8]| {
        let start =
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R(K\x01";
        let shape = naturals(&[LEN as i128, 3]);
        let element = b"cnumpy\ndtype\nX\x02\0\0\0u1\x89\x88\x87R(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89";
        pickle(&[&start[..], &shape, element, marker, &data, b"tb"].concat())
    };
    let bytes: Vec<u8> = (0..3 * LEN).map(|i| (i % 251) as u8).collect();
    let prefixed = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
    let latin1: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let encoded = [&b"X"[..], &prefixed(latin1.as_bytes()), b"X\x06\0\0\0latin1\x86R"].concat();
    for file in
        [of(prefixed(&bytes), b"B"), of(prefixed(&bytes), b"T"), of(encoded, b"c_codecs\nencode\n")]
    {
        let checkpoint = Checkpoint::from_pickle(file.clone()).unwrap();
        let array = checkpoint.root().array().unwrap();
        assert_eq!((array.shape(), array.type_name()), (&[LEN, 3][..], "u1"));
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut array.reader(), &mut read).unwrap();
        assert!(read == bytes);
        // The copy of the file that is passed in counts, and hardly anything else may.
        let taken = peak(|| exercise_pickle(&file));
        assert!(taken < file.len() + (128 << 10), "{taken} bytes for {}", file.len());
    }
}

#[test]
fn opcodes_that_build_much_from_few_bytes() {
    const MANY: usize = 50_000;
    let repeated = |start: &[u8], repeated: &[u8]| [start, &repeated.repeat(MANY)].concat();
    let long_text = text(&"a".repeat(MANY));
    for object in [
        repeated(b"", b"]"),
        repeated(b"", b"}"),
        repeated(b"", b")"),
        repeated(b"", b"("),
        repeated(b"N", b"2"),
        repeated(b"N", b"\x85"),
        repeated(b"N", b"\x94"),
        repeated(b"", b"]\x94"),
        repeated(b"", b"K\x01"),
        repeated(b"", b"U\x01a"),
        repeated(b"", b"(t"),
        repeated(b"", b"(l"),
        repeated(b"", b"(d"),
        repeated(b"]", b"Na"),
        repeated(b"}", b"NNs"),
        repeated(b"N", b"0N"),
        repeated(b"ccollections\nOrderedDict\nq\0", b"h\0)R"),
        // A text that is encoded many times.
        [
            &b"c_codecs\nencode\nq\0"[..],
            &long_text,
            b"q\x01X\x06\0\0\0latin1\x86q\x02",
            &b"0h\0(h\x01X\x06\0\0\0latin1tR".repeat(MANY / 20),
        ]
        .concat(),
        // A list of ten lists of ten lists of …
        [
            b"]q\0".to_vec(),
            (0..200u8)
                .flat_map(|i| [b"](", &[b'h', i].repeat(10)[..], b"eq", &[i + 1]].concat())
                .collect(),
        ]
        .concat(),
        // Every index of the memo a power of two.
        (0..32).flat_map(|i| [b"Nr", &(1u32 << i).to_le_bytes()[..]].concat()).collect(),
    ] {
        assert_bounded(&legacy(&object, &[]));
        assert_bounded(&zipped(&object, &[]));
    }
}

#[test]
fn tensors_that_claim_much_from_few_bytes() {
    // Many tensors of the same view, of the highest rank that is accepted.
    let start = [
        &storage("k", 1)[..],
        b"q\0",
        &naturals(&[1; 16]),
        b"q\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02}q\x03",
    ]
    .concat();
    let one = b"(h\0K\0h\x01h\x01\x89h\x03tR";
    let entries: Vec<u8> = (0..20_000u32)
        .flat_map(|i| [b"U\x04", &format!("{i:04x}").as_bytes()[..4], b"h\x02", one].concat())
        .collect();
    let object = [&start[..], b"}(", &entries, b"u"].concat();
    let data = 1f32.to_le_bytes();
    assert_bounded(&legacy(&object, &[("k", 1, &data)]));
    assert_bounded(&zipped(&object, &[("k", &data)]));

    // Many storages.
    let keys: Vec<_> = (0..2000).map(|i| format!("{i}")).collect();
    let object: Vec<u8> = keys.iter().flat_map(|key| storage(key, 0)).collect();
    let storages: Vec<_> = keys.iter().map(|key| (&key[..], 0, &[][..])).collect();
    assert_bounded(&legacy(&object, &storages));
    let storages: Vec<_> = keys.iter().map(|key| (&key[..], &[][..])).collect();
    assert_bounded(&zipped(&object, &storages));
}

/// The zip crate reserves memory for as many entries as are declared, at most 65535 in the end
/// record of a small archive: 12 MB for this one of 70 KB, if its end were not checked first.
#[test]
fn archives_that_declare_many_entries() {
    // More bytes than entries are declared: otherwise the crate refuses their number.
    let filling = vec![0; 70_000];
    let sound = zip_of(&[("a/filling", &filling)], zip::CompressionMethod::Stored);
    let end = sound.len() - 22;
    let list = end - (46 + "a/filling".len());
    assert_bounded(&sound);
    let mut declared = sound.clone();
    declared[end + 8..end + 12].fill(0xff);
    assert_bounded(&declared);
    declared[end + 12..end + 16].copy_from_slice(&(1u32 << 30).to_le_bytes());
    assert_bounded(&declared);

    // The same with a zip64 end record, to which the end record refers.
    let (count, size) = ((list as u64 - 1).to_le_bytes(), (1u64 << 40).to_le_bytes());
    let start = (list as u64).to_le_bytes();
    let (at, version) = (end as u64, [45, 0, 45, 0]);
    let large =
        [b"PK\x06\x06", &44u64.to_le_bytes()[..], &version, &[0; 8], &count, &count, &size, &start];
    let locator = [b"PK\x06\x07", &[0; 4][..], &at.to_le_bytes(), &1u32.to_le_bytes()];
    let referring = [b"PK\x05\x06", &[0; 4][..], &[0xff; 12], &[0; 2]];
    let file = [&sound[..end], &large.concat(), &locator.concat(), &referring.concat()].concat();
    assert_bounded(&file);
}

const OPCODES: &[u8] = b"().012FGIJKLMNQRTUVXabcdeghjlpqrstu}]BC\
    \x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x93\x94\x95\
    \0\x01\x02\x03\x04\xff\n";

/// An opcode, or a larger piece of a checkpoint.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![Just(0i128), Just(-1), Just(1 << 62), 0..4i128];
    let numbers = prop::collection::vec(number.clone(), 0..4);
    prop_oneof![
        8 => prop::sample::select(OPCODES).prop_map(|opcode| vec![opcode]),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        2 => (0..4u8).prop_map(|index| vec![b'h', index]),
        2 => (0..4u8).prop_map(|index| vec![b'q', index]),
        1 => number.clone().prop_map(long),
        1 => prop::sample::select(&["k", "latin1", "state", "f8", "<", "storage"]).prop_map(text),
        1 => prop::sample::select(&[
            "torch\nFloatStorage", "torch\nSize", "torch._utils\n_rebuild_tensor_v2",
            "torch._utils\n_rebuild_parameter", "collections\nOrderedDict", "numpy\ndtype",
            "numpy.core.multiarray\nscalar", "_codecs\nencode", "os\nsystem",
            "numpy\nndarray", "numpy.core.multiarray\n_reconstruct",
            "numpy._core.numeric\n_frombuffer",
        ]).prop_map(|global| format!("c{global}\n").into_bytes()),
        1 => Just(storage("k", 3)),
        2 => (number, numbers.clone(), numbers)
            .prop_map(|(offset, size, stride)| tensor(storage("k", 3), offset, &size, &stride)),
    ]
}

static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    ["published", "tensors", "plain_protocol4"]
        .iter()
        .flat_map(|name| ["legacy", "zip"].map(|format| fixture(&format!("{name}_{format}.tar"))))
        .collect()
});

/// A file with some of its bytes replaced, at fractions of its length.
fn damaged(edits: impl Strategy<Value = (f64, u8)>) -> impl Strategy<Value = Vec<u8>> {
    (0..FILES.len(), prop::collection::vec(edits, 1..8)).prop_map(|(file, edits)| {
        let mut bytes = FILES[file].clone();
        for (place, value) in edits {
            let at = (place * bytes.len() as f64) as usize;
            bytes[at] = value;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..500), start in 0..4usize) {
        let start = [&b""[..], b"PK\x03\x04", b"\x80\x02", LEGACY_START][start];
        assert_bounded(&[start, &bytes].concat());
        assert_bounded(&legacy(&bytes, &[]));
    }

    #[test]
    fn any_opcodes(pieces in prop::collection::vec(piece(), 0..60)) {
        let object = pieces.concat();
        let data = [1f32, 2.0, 3.0].map(f32::to_le_bytes).concat();
        assert_bounded(&legacy(&object, &[("k", 3, &data)]));
        assert_bounded(&legacy(&object, &[]));
        assert_bounded(&zipped(&object, &[("k", &data)]));
        assert_bounded(&pickle(&object));
    }

    #[test]
    fn any_tensor(size in prop::collection::vec(0..5usize, 0..4), stride in prop::collection::vec(0..5usize, 4), offset in 0..4usize) {
        let rank = size.len();
        let wide = |values: &[usize]| values.iter().map(|v| *v as i128).collect::<Vec<_>>();
        let object = tensor(storage("k", 20), offset as i128, &wide(&size), &wide(&stride[..rank]));
        let data: Vec<u8> = (0..20u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
        let checkpoint = Checkpoint::from_bytes(legacy(&object, &[("k", 20, &data)])).unwrap();
        let reach = offset + size.iter().zip(&stride).map(|(n, s)| n.saturating_sub(1) * s).sum::<usize>();
        let made = checkpoint.root().tensor();
        prop_assert_eq!(made.is_ok(), size.contains(&0) || reach < 20);
        let Ok(made) = made else { return Ok(()) };
        let values = made.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (place, value) in values.into_iter().enumerate() {
            let (mut rest, mut at) = (place, offset);
            for (n, s) in size.iter().zip(&stride).rev() {
                at += rest % n * s;
                rest /= n;
            }
            prop_assert_eq!(value, at as f32);
        }
    }

    #[test]
    fn damaged_files(bytes in damaged((0.0..1.0, any::<u8>()))) {
        assert_bounded(&bytes);
    }

    #[test]
    fn files_with_other_opcodes(bytes in damaged((0.0..1.0, prop::sample::select(OPCODES)))) {
        assert_bounded(&bytes);
    }

    #[test]
    fn spliced_files(a in 0..6usize, b in 0..6usize, cut in 0.0..1.0, join in 0.0..1.0) {
        let at = |bytes: &[u8], share: f64| (share * bytes.len() as f64) as usize;
        let (a, b) = (&FILES[a], &FILES[b]);
        assert_bounded(&[&a[..at(a, cut)], &b[at(b, join)..]].concat());
    }
}
