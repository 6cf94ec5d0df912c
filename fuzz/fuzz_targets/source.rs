//! Any bytes as an archive that a dataset is read from in place. The first byte selects the form, a
//! zip, which may be a pack, or a tar, and the kind of source. Everything that opens is checked.

#![no_main]

use fewshot_data::{SourceKind, SourceSpec, check_image};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&form, content)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join(if form % 2 == 0 { "base.zip" } else { "base.tar" });
    std::fs::write(&root, content).unwrap();
    let kinds = || SourceKind::VARIANTS.iter().copied().filter(|kind| kind.needs_root());
    let Some(kind) = kinds().nth(usize::from(form / 2) % kinds().count()) else { return };
    let Ok(survey) = SourceSpec::new(kind, root).survey() else { return };
    let datasets = survey.splits.iter().map(|split| &split.images).chain([&survey.unlisted]);
    for dataset in datasets {
        for index in 0..dataset.len() {
            if let Ok(bytes) = dataset.bytes(index) {
                let _ = check_image(&dataset.image_name(index), bytes);
            }
        }
    }
});
