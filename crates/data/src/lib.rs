//! Few-shot image data: sources, splits, archives, transforms and a deterministic parallel loader
