//! Checked configurations, run folders and checkpoints of a few-shot experiment
