//! Reads arbitrary bytes as a pickled cache of mini-ImageNet, and every image of it.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/datasets/src/prepare/cache.rs"]
mod cache;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(cache) = cache::Cache::from_bytes(bytes.to_vec()) else { return };
    let listed: usize = cache.classes().values().map(Vec::len).sum();
    let mut seen = 0;
    let read = cache.for_each(|image| {
        assert_eq!(image.pixels.len(), image.height * image.width * 3);
        assert_eq!(image.pixels.len(), cache.bytes_per_image());
        seen += 1;
        Ok(())
    });
    assert!(read.is_ok() && seen == listed);
});
