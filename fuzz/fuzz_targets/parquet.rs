//! Reads arbitrary bytes as a shard of images, and every row of it.

#![no_main]

use std::io::Write;

use fewshot_datasets::shards::ParquetShard;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: {
    // Panics of the reader are caught and become errors; libFuzzer's hook would end the process
    // before that.
    std::panic::set_hook(Box::new(|_| {}));
}, |bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    let Ok(shard) = ParquetShard::open(file.path()) else { return };
    let names = shard.names().len();
    let mut is_named = true;
    let _ = shard.for_each(&mut |row| {
        is_named &= row.label < names;
        Ok(())
    });
    // Not in the closure, where a panic would become an error.
    assert!(is_named);
});
