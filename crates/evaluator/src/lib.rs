//! Evaluates a few-shot checkpoint on episodes of unseen classes
