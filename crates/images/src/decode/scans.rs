//! JPEGs that the decoder is known to get wrong, which are refused instead.
//!
//! zune-jpeg 0.5.16-rc3 decodes some sequential JPEGs in several scans to noise, and enlarges
//! components wrongly or not at all that are sampled by 2 beside others by 4, say. Few encoders write
//! such files. The test `scans` tries every combination.

/// What the markers tell of the scans of a JPEG.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scans {
    count: usize,
    /// Whether a scan holds several components.
    interleaved: bool,
    /// Whether restart markers divide one.
    restarts: bool,
}

impl Scans {
    /// Adds a scan, given its segment.
    pub(super) fn add(&mut self, segment: &[u8], restarts: bool) {
        self.count += 1;
        self.interleaved |= segment.get(2).is_some_and(|&components| components > 1);
        self.restarts |= restarts;
    }

    /// Tells why an image with this frame is refused, if it is: the marker of the frame, and its
    /// segment.
    pub(super) fn refusal(&self, marker: u8, frame: &[u8]) -> Option<String> {
        let components = frame.get(8..).unwrap_or_default().chunks_exact(3);
        let factors: Vec<_> = components.map(|c| (c[1] >> 4, c[1] & 15)).collect();
        let most_h = factors.iter().map(|&(h, _)| h).max()?;
        let most_v = factors.iter().map(|&(_, v)| v).max()?;
        let enlarged = |&(h, v): &(u8, u8)| {
            let whole = h > 0 && v > 0 && most_h.is_multiple_of(h) && most_v.is_multiple_of(v);
            whole && h != 3 && !(most_v == 4 && v == 2) && !(most_h / h == 4 && v > 1)
        };
        let is_sequential = matches!(marker, 0xc0 | 0xc1);
        let in_parts = is_sequential && self.count > 1;
        let what = if !factors.iter().all(enlarged) {
            format!("a JPEG with the sampling factors {factors:?}")
        } else if in_parts && self.restarts {
            "a sequential JPEG in several scans with restart markers".into()
        } else if in_parts && self.interleaved && factors.iter().any(|&factor| factor != (1, 1)) {
            "a subsampled sequential JPEG in several scans, one of them of several components"
                .into()
        } else if self.count > 1 && most_h == 4 && factors.iter().any(|&(h, _)| h == 2) {
            format!("a JPEG in several scans with the sampling factors {factors:?}")
        } else {
            return None;
        };
        Some(format!("{what}, a kind that is not read; save it again in a single scan, or as PNG"))
    }
}
