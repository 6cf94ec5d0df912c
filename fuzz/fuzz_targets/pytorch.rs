//! Reads arbitrary bytes as a PyTorch checkpoint.

#![no_main]

#[path = "../../crates/pytorch/tests/common/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = exercise::exercise(bytes);
});
