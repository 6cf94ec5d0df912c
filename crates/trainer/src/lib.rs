//! Trains a few-shot backbone with a margin classifier
