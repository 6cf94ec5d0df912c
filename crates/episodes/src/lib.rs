//! Few-shot episodes: N-way K-shot sampling, adaptation to a support set, accuracy with its 95 % interval
