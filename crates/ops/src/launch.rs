//! How work is divided among a GPU's blocks and threads. It depends on sizes alone, so that sums
//! have the same order on every GPU, and so that it can be tested without one.

/// Threads per block.
const BLOCK: usize = 256;

/// Returns the number of blocks of a kernel in which each thread strides over the elements.
pub(crate) fn blocks(threads: usize) -> u32 {
    threads.div_ceil(BLOCK).clamp(1, 1 << 16) as u32
}

/// Sizes of a launch: blocks of the grid and threads of each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaunchShape {
    pub(crate) grid: (u32, u32, u32),
    pub(crate) block: (u32, u32, u32),
}

impl LaunchShape {
    /// One thread per element, or fewer threads that stride over the elements.
    pub(crate) fn linear(threads: usize) -> Self {
        Self { grid: (blocks(threads), 1, 1), block: (BLOCK as u32, 1, 1) }
    }

    /// Tiles of 32×32 elements of each matrix of a batch.
    pub(crate) fn transpose(batch: usize, rows: usize, columns: usize) -> Self {
        let tiles = |side: usize| side.div_ceil(32) as u32;
        Self { grid: (tiles(columns), tiles(rows), batch as u32), block: (32, 8, 1) }
    }

    /// One warp per row.
    pub(crate) fn warp_per_row(rows: usize) -> Self {
        Self { grid: (rows.div_ceil(8).max(1) as u32, 1, 1), block: (BLOCK as u32, 1, 1) }
    }

    /// Blocks of 32 channels by 8 chunks of partial sums.
    pub(crate) fn channel_totals(channels: usize) -> Self {
        Self { grid: (channels.div_ceil(32) as u32, 1, 1), block: (32, 8, 1) }
    }
}

/// Returns the number of channels that a thread processes at once: `wide`, which is as many as 16
/// bytes hold, if the channels divide evenly and all addresses are aligned, else 1.
pub(crate) fn width(channels: usize, wide: usize, addresses: &[u64]) -> usize {
    let is_aligned = addresses.iter().all(|address| address.is_multiple_of(16));
    if channels.is_multiple_of(wide) && is_aligned { wide } else { 1 }
}

/// Division of rows `[rows, channels]` among blocks; each thread processes the same channels of
/// several rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowLayout {
    /// Threads of a block along the channels; the others lie along the rows.
    lanes: usize,
    /// Blocks along the channels.
    tiles: usize,
    /// Blocks along the rows.
    pub(crate) chunks: usize,
}

impl RowLayout {
    /// Divides rows so that a thread processes `width` channels, in about `blocks` blocks at most.
    pub(crate) fn new(rows: usize, channels: usize, width: usize, blocks: usize) -> Self {
        let packs = channels / width;
        let lanes = packs.next_power_of_two().min(32);
        let tiles = packs.div_ceil(lanes);
        let height = BLOCK / lanes;
        let max_chunks = (blocks / tiles).max(1);
        Self { lanes, tiles, chunks: rows.div_ceil(4 * height).clamp(1, max_chunks) }
    }

    pub(crate) fn shape(&self) -> LaunchShape {
        LaunchShape {
            grid: (self.tiles as u32, self.chunks as u32, 1),
            block: (self.lanes as u32, (BLOCK / self.lanes) as u32, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row and channel belongs to exactly one thread, computed as `thread_rows` of
    /// batch_norm.cu does.
    #[test]
    fn rows_cover_everything_once() {
        for (rows, channels, width) in
            [(1, 1, 1), (7, 3, 1), (100, 64, 8), (1000, 640, 8), (33, 40, 4), (5, 130, 2)]
        {
            let layout = RowLayout::new(rows, channels, width, 64);
            let LaunchShape { grid, block } = layout.shape();
            assert_eq!(block.0 * block.1, 256);
            let mut seen = vec![0; rows * channels];
            let chunk = (rows as u64).div_ceil(grid.1.into());
            for bx in 0..grid.0 {
                for by in 0..u64::from(grid.1) {
                    for tx in 0..block.0 {
                        for ty in 0..u64::from(block.1) {
                            let channel = ((bx * block.0 + tx) as usize) * width;
                            if channel >= channels {
                                continue;
                            }
                            let end = (chunk * (by + 1)).min(rows as u64);
                            let mut row = chunk * by + ty;
                            while row < end {
                                for c in channel..channel + width {
                                    seen[row as usize * channels + c] += 1;
                                }
                                row += u64::from(block.1);
                            }
                        }
                    }
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{rows} {channels} {width}");
        }
    }

    #[test]
    fn grids_stay_within_the_limits() {
        let largest = RowLayout::new(1 << 28, 64, 8, 2048);
        assert!(largest.chunks <= 2048);
        assert_eq!(blocks(0), 1);
        assert_eq!(blocks(1 << 40), 1 << 16);
        assert_eq!(LaunchShape::transpose(2, 33, 64).grid, (2, 2, 2));
    }

    #[test]
    fn packs_are_wide_only_where_they_fit() {
        assert_eq!(width(64, 8, &[256, 512]), 8);
        assert_eq!(width(60, 8, &[256]), 1);
        assert_eq!(width(64, 8, &[256, 8]), 1);
    }
}
