//! How work is laid out over a GPU: arithmetic on sizes alone, so that sums are taken in one
//! order on every device, and so that it can be tested without one.

/// Threads of a block.
const BLOCK: usize = 256;

/// Blocks of a kernel in which each thread strides over the elements.
pub(crate) fn blocks(threads: usize) -> u32 {
    threads.div_ceil(BLOCK).clamp(1, 1 << 16) as u32
}

/// A grid of blocks of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) grid: (u32, u32, u32),
    pub(crate) block: (u32, u32, u32),
}

impl Shape {
    /// One thread an element, or fewer that stride.
    pub(crate) fn flat(threads: usize) -> Self {
        Self { grid: (blocks(threads), 1, 1), block: (BLOCK as u32, 1, 1) }
    }

    /// Tiles of 32 by 32 over each matrix of a batch.
    pub(crate) fn transposition(batch: usize, rows: usize, columns: usize) -> Self {
        let tiles = |side: usize| side.div_ceil(32) as u32;
        Self { grid: (tiles(columns), tiles(rows), batch as u32), block: (32, 8, 1) }
    }

    /// A warp a row.
    pub(crate) fn warps(rows: usize) -> Self {
        Self { grid: (rows.div_ceil(8).max(1) as u32, 1, 1), block: (BLOCK as u32, 1, 1) }
    }

    /// 32 channels by 8 chunks a block, over all channels.
    pub(crate) fn totals(channels: usize) -> Self {
        Self { grid: (channels.div_ceil(32) as u32, 1, 1), block: (32, 8, 1) }
    }
}

/// Channels that a thread takes at once: as many as 16 bytes hold, where all divide evenly.
pub(crate) fn width(channels: usize, wide: usize, addresses: &[u64]) -> usize {
    let is_aligned = addresses.iter().all(|address| address.is_multiple_of(16));
    if channels.is_multiple_of(wide) && is_aligned { wide } else { 1 }
}

/// Rows `[rows, channels]` over blocks of which each thread keeps to its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Threads side by side over channels, and above each other over rows.
    lanes: usize,
    /// Blocks over channels.
    tiles: usize,
    /// Blocks over rows.
    pub(crate) chunks: usize,
}

impl Rows {
    /// `width` channels a thread; at most about `blocks` blocks.
    pub(crate) fn new(rows: usize, channels: usize, width: usize, blocks: usize) -> Self {
        let packs = channels / width;
        let lanes = packs.next_power_of_two().min(32);
        let tiles = packs.div_ceil(lanes);
        let height = BLOCK / lanes;
        let most = (blocks / tiles).max(1);
        Self { lanes, tiles, chunks: rows.div_ceil(4 * height).clamp(1, most) }
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape {
            grid: (self.tiles as u32, self.chunks as u32, 1),
            block: (self.lanes as u32, (BLOCK / self.lanes) as u32, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row and channel is some thread's, exactly once, as `place` of batch_norm.cu has it.
    #[test]
    fn rows_cover_everything_once() {
        for (rows, channels, width) in
            [(1, 1, 1), (7, 3, 1), (100, 64, 8), (1000, 640, 8), (33, 40, 4), (5, 130, 2)]
        {
            let layout = Rows::new(rows, channels, width, 64);
            let Shape { grid, block } = layout.shape();
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
        let largest = Rows::new(1 << 28, 64, 8, 2048);
        assert!(largest.chunks <= 2048);
        assert_eq!(blocks(0), 1);
        assert_eq!(blocks(1 << 40), 1 << 16);
        assert_eq!(Shape::transposition(2, 33, 64).grid, (2, 2, 2));
    }

    #[test]
    fn packs_are_wide_only_where_they_fit() {
        assert_eq!(width(64, 8, &[256, 512]), 8);
        assert_eq!(width(60, 8, &[256]), 1);
        assert_eq!(width(64, 8, &[256, 8]), 1);
    }
}
