//! Files that are right, and files that are not.

mod common;

use std::io::Write;
use std::path::Path;

use common::{Row, SCHEMA, note, parquet, row};
use fewshot_datasets::shards::ParquetShard;
use proptest::prelude::*;

/// Row number, label, image, path.
type Seen = (usize, usize, Vec<u8>, Option<String>);

fn read(bytes: &[u8]) -> Result<(Vec<String>, Vec<Seen>), String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let shard = ParquetShard::open(file.path()).map_err(|e| e.to_string())?;
    let mut seen = Vec::new();
    let all = shard.for_each(&mut |row| {
        seen.push((row.row, row.label, row.bytes.to_vec(), row.path.map(Into::into)));
        Ok(())
    });
    all.map_err(|e| e.to_string())?;
    Ok((shard.names().to_vec(), seen))
}

fn rows(count: usize) -> Vec<Row> {
    let image = |n: usize| [&[0xff, 0xd8][..], &n.to_le_bytes(), &[n as u8; 300]].concat();
    (0..count).map(|n| row((n % 2) as i64, &image(n), &format!("n{n}.jpg"))).collect()
}

#[test]
fn every_row_of_every_group_is_read_in_order() {
    for packed in [false, true] {
        let all = rows(150);
        let groups = [all[..100].to_vec(), all[100..].to_vec()];
        let file = parquet(SCHEMA, Some(note(&["a", "b"])), &groups, packed);
        let (names, seen) = read(&file).unwrap();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(seen.len(), 150);
        for (n, (seen, (label, image, path))) in seen.iter().zip(&all).enumerate() {
            assert_eq!((seen.0, seen.1 as i64), (n, label.unwrap()));
            assert_eq!((Some(&seen.2), &seen.3), (image.as_ref(), path));
        }
    }
}

#[test]
fn what_is_missing_is_told() {
    let one = |label, image: Option<&[u8]>| vec![vec![(label, image.map(<[u8]>::to_vec), None)]];
    let names = Some(note(&["a"]));
    let good = parquet(SCHEMA, names.clone(), &one(Some(0), Some(b"x")), true);
    assert_eq!(read(&good).unwrap().1, [(0, 0, b"x".to_vec(), None)]);
    let other = SCHEMA.replace("label", "fine_label");
    let real = SCHEMA.replace("int64", "double");
    for (file, part) in [
        (parquet(SCHEMA, None, &one(Some(0), Some(b"x")), true), "no note `huggingface`"),
        (parquet(SCHEMA, Some("{".into()), &[], true), "its note `huggingface`"),
        (parquet(SCHEMA, names.clone(), &one(Some(1), Some(b"x")), true), "of class 1, but 1 have"),
        (parquet(SCHEMA, names.clone(), &one(Some(-1), Some(b"x")), true), "of class -1"),
        (parquet(SCHEMA, names.clone(), &one(None, Some(b"x")), true), "row 0 has no label"),
        (parquet(SCHEMA, names.clone(), &one(Some(0), None), true), "row 0 has no image"),
        (parquet(&other, names.clone(), &[], true), "no column `label`"),
        (parquet(&real, names.clone(), &[], true), "`label` is not of INT64"),
        (b"PAR1".to_vec(), "too short"),
        (b"<html>not here</html>".to_vec(), "does not end in PAR1"),
        ([&good[..good.len() - 8], &[255, 255, 255, 0], b"PAR1"].concat(), "bytes of metadata"),
    ] {
        let error = read(&file).unwrap_err();
        assert!(error.contains(part), "no `{part}`: {error}");
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let file = parquet(SCHEMA, Some(note(&["a", "b"])), &[rows(3)], true);
    for length in 0..file.len() {
        assert!(read(&file[..length]).is_err(), "{length} of {}", file.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// An error, or rows with labels that have names; never a panic or an end of the process.
    #[test]
    fn bytes_that_were_changed_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        packed: bool,
    ) {
        let mut file = parquet(SCHEMA, Some(note(&["a", "b"])), &[rows(9), rows(5)], packed);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok((names, seen)) = read(&file) {
            prop_assert!(seen.iter().all(|(_, label, ..)| *label < names.len()));
        }
    }

    #[test]
    fn metadata_of_anything_do_no_harm(metadata in prop::collection::vec(any::<u8>(), 0..200)) {
        let length = (metadata.len() as u32).to_le_bytes();
        let file = [b"PAR1", &metadata[..], &length, b"PAR1"].concat();
        prop_assert!(read(&file).is_err());
    }

    #[test]
    fn rows_come_back_as_they_were_written(
        images in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..60),
        packed: bool,
    ) {
        let rows: Vec<_> = images.iter().map(|image| row(0, image, "x")).collect();
        let file = parquet(SCHEMA, Some(note(&["a"])), &[rows], packed);
        let back: Vec<_> = read(&file).unwrap().1.into_iter().map(|(_, _, image, _)| image).collect();
        prop_assert_eq!(back, images);
    }
}

/// For fuzz/README.md.
#[test]
#[ignore = "writes files"]
fn seeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/parquet");
    std::fs::create_dir_all(&folder).unwrap();
    for packed in [false, true] {
        for count in [0, 1, 20] {
            let file = parquet(SCHEMA, Some(note(&["a", "b"])), &[rows(count), rows(2)], packed);
            std::fs::write(folder.join(format!("seed-{packed}-{count}")), file).unwrap();
        }
    }
}
