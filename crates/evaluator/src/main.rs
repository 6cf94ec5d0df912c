//! Trains a few-shot backbone.
fn main() {}
