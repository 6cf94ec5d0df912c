//! Dropout and DropBlock as the published code applies them after a residual block.

use candle_core::{Result, Tensor};
use fewshot_ops::{Tape, TapeTensor};
use fewshot_seed::{ChaCha8Rng, stream};
use rand::Rng;
use rayon::prelude::*;

use crate::Pass;

/// Training forwards over which DropBlock's keep rate falls (published `20 * 2000`).
const RAMP: f64 = 40_000.0;

/// How much is dropped in training. By default nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropOptions {
    /// Probability of dropout in the early stages, and the rate at which DropBlock arrives
    /// in the last two, in [0, 1).
    pub rate: f64,
    /// Side of DropBlock's squares, in feature-map pixels.
    pub block_size: usize,
}

impl Default for DropOptions {
    fn default() -> Self {
        Self { rate: 0.0, block_size: 5 }
    }
}

/// What is dropped after one block.
#[derive(Clone, Copy)]
pub enum Drop {
    /// Single values, independently.
    Units { rate: f64 },
    /// Whole squares (Ghiasi et al., 2018), their rate ramped up from zero.
    Blocks { rate: f64, size: usize },
}

impl Drop {
    /// The published choice: units in the early stages, blocks in the last two.
    pub fn for_stage(options: DropOptions, is_late: bool) -> Self {
        let DropOptions { rate, block_size: size } = options;
        if is_late { Self::Blocks { rate, size } } else { Self::Units { rate } }
    }

    /// Drops from `x [B, C, H, W]`; `layer` tells apart the layers that drop.
    pub fn forward(
        self,
        tape: &mut Tape,
        x: TapeTensor,
        pass: Pass,
        layer: u64,
    ) -> Result<TapeTensor> {
        let Pass::Train { seed, forward } = pass else { return Ok(x) };
        let &[batch, height, width, channels] = x.dims() else { return Ok(x) };
        let shape = [batch, channels, height, width];
        let key = |purpose| move |image| stream(seed, purpose, &[layer, forward, image]);
        let mask = match self {
            Self::Units { rate } if rate > 0.0 => units(&x, shape, rate, key("dropout"))?,
            Self::Blocks { rate, size } if rate > 0.0 => {
                // A map smaller than the block, as small images give, is dropped whole.
                let size = size.min(height).min(width);
                let gamma = gamma(rate, size, height, forward);
                blocks(&x, shape, size, gamma, key("dropblock"))?
            }
            _ => return Ok(x),
        };
        tape.mask(&x, &mask)
    }
}

/// A mask `[B, C, H, W]` for `x`: 0 with probability `rate`, else what keeps the mean. `rng` gives an
/// image's generator.
fn units(
    x: &TapeTensor,
    shape: [usize; 4],
    rate: f64,
    rng: impl Fn(u64) -> ChaCha8Rng + Sync,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        let keys = keys(shape, &rng);
        return fewshot_ops::cuda::drop::units(&keys, shape, rate, x.dtype(), x.device());
    }
    let keep = (1.0 / (1.0 - rate)) as f32;
    let mask = per_image(shape, |image, mask| {
        let mut rng = rng(image);
        let mut draw = || if rng.random::<f32>() < rate as f32 { 0.0 } else { keep };
        mask.iter_mut().for_each(|m| *m = draw());
    });
    Tensor::from_vec(mask, &shape[..], x.device())?.to_dtype(x.dtype())
}

/// A mask of squares, each of whose corners is drawn with probability `gamma`.
fn blocks(
    x: &TapeTensor,
    shape: [usize; 4],
    size: usize,
    gamma: f64,
    rng: impl Fn(u64) -> ChaCha8Rng + Sync,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        let keys = keys(shape, &rng);
        return fewshot_ops::cuda::drop::squares(&keys, shape, size, gamma, x.dtype(), x.device());
    }
    let [_, _, height, width] = shape;
    let mut mask = per_image(shape, |image, mask| {
        let mut rng = rng(image);
        mask.fill(1.0);
        for plane in mask.chunks_exact_mut(height * width) {
            drop_blocks(plane, [height, width], size, gamma, &mut rng);
        }
    });
    let kept: f64 = mask.iter().map(|&m| f64::from(m)).sum();
    let scale = if kept > 0.0 { mask.len() as f64 / kept } else { 0.0 } as f32;
    mask.iter_mut().for_each(|m| *m *= scale);
    Tensor::from_vec(mask, &shape[..], x.device())?.to_dtype(x.dtype())
}

/// What the images' generators start from.
#[cfg(feature = "cuda")]
fn keys(shape: [usize; 4], rng: &impl Fn(u64) -> ChaCha8Rng) -> Vec<[u8; 32]> {
    (0..shape[0] as u64).map(|image| rng(image).get_seed()).collect()
}

/// Rate of block corners, `(1-keep)/block² · feat²/(feat-block+1)²`, with the keep rate
/// falling linearly from 1 to `1 - rate` over the first 40,000 training forwards.
fn gamma(rate: f64, block: usize, side: usize, forward: u64) -> f64 {
    let keep = (1.0 - rate / RAMP * forward as f64).max(1.0 - rate);
    let (block, side) = (block as f64, side as f64);
    (1.0 - keep) / block.powi(2) * side.powi(2) / (side - block + 1.0).powi(2)
}

/// Zeroes squares of one feature map, each corner drawn with probability `gamma` among
/// those whose square fits.
fn drop_blocks(
    plane: &mut [f32],
    [height, width]: [usize; 2],
    size: usize,
    gamma: f64,
    rng: &mut impl Rng,
) {
    for y in 0..=height - size {
        for x in 0..=width - size {
            if rng.random::<f64>() < gamma {
                for row in plane[y * width..(y + size) * width].chunks_exact_mut(width) {
                    row[x..x + size].fill(0.0);
                }
            }
        }
    }
}

/// A mask of `[B, C, H, W]`, filled image by image on all threads.
fn per_image(shape: [usize; 4], fill: impl Fn(u64, &mut [f32]) + Sync) -> Vec<f32> {
    let [batch, channels, height, width] = shape;
    let image = channels * height * width;
    let mut mask = vec![0f32; batch * image];
    mask.par_chunks_mut(image.max(1)).enumerate().for_each(|(i, mask)| fill(i as u64, mask));
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn train(forward: u64) -> Pass {
        Pass::Train { seed: 3, forward }
    }

    fn ones() -> Tensor {
        Tensor::ones((8, 16, 10, 10), DType::F32, &Device::Cpu).unwrap()
    }

    fn values(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// What `drop` leaves of ones.
    fn dropped(drop: Drop, pass: Pass, layer: u64) -> Vec<f32> {
        let mut tape = Tape::new();
        let x = tape.input(&ones()).unwrap();
        values(&drop.forward(&mut tape, x, pass, layer).unwrap().to_tensor().unwrap())
    }

    #[test]
    #[cfg(feature = "cuda")]
    fn a_gpu_drops_what_the_cpu_does() {
        if !fewshot_parity::is_gpu() {
            return;
        }
        // Streams that end within a block of ChaCha, and squares as large as the map.
        for (shape, size) in [((3, 5, 7, 6), 3), ((2, 4, 4, 4), 4), ((2, 16, 10, 10), 5)] {
            let on = |device: &Device, drop: Drop, dtype| {
                let mut tape = Tape::new();
                let ones = Tensor::ones(shape, dtype, &Device::Cpu).unwrap();
                let x = tape.input(&ones.to_device(device).unwrap()).unwrap();
                let y = drop.forward(&mut tape, x, train(30_000), 4).unwrap();
                let y = y.to_tensor().unwrap().to_device(&Device::Cpu).unwrap();
                values(&y.to_dtype(DType::F32).unwrap())
            };
            for drop in [Drop::Units { rate: 0.3 }, Drop::Blocks { rate: 0.4, size }] {
                let expected = on(&Device::Cpu, drop, DType::F32);
                assert!(expected.contains(&0.0) && expected.iter().any(|&v| v > 1.0));
                let gpu = fewshot_parity::device();
                assert_eq!(on(gpu, drop, DType::F32), expected);
                assert_eq!(on(gpu, drop, DType::F64), expected);
                for (brain, expected) in on(gpu, drop, DType::BF16).iter().zip(expected) {
                    assert!((brain - expected).abs() <= expected / 256.0);
                }
            }
        }
    }

    #[test]
    fn evaluation_and_rate_zero_drop_nothing() {
        let blocks = Drop::Blocks { rate: 0.5, size: 3 };
        assert_eq!(dropped(blocks, Pass::Eval, 0), values(&ones()));
        let none = Drop::Units { rate: 0.0 };
        assert_eq!(dropped(none, train(9), 0), values(&ones()));
    }

    #[test]
    fn dropout_drops_its_rate_and_keeps_the_mean() {
        let y = dropped(Drop::Units { rate: 0.3 }, train(0), 0);
        let dropped = y.iter().filter(|&&v| v == 0.0).count() as f64 / y.len() as f64;
        assert!((dropped - 0.3).abs() < 0.03, "{dropped}");
        assert!(y.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.7).abs() < 1e-6));
    }

    #[test]
    fn block_rate_ramps_up_and_the_output_is_rescaled() {
        let blocks = Drop::Blocks { rate: 0.2, size: 3 };
        let first = dropped(blocks, train(0), 0);
        assert!(first.iter().all(|&v| v == 1.0), "the first forward keeps all");
        let share = |forward| {
            let y = dropped(blocks, train(forward), 0);
            let mean = y.iter().sum::<f32>() / y.len() as f32;
            assert!((mean - 1.0).abs() < 1e-4, "count / kept keeps the mean: {mean}");
            y.iter().filter(|&&v| v == 0.0).count() as f64 / y.len() as f64
        };
        let (early, full, later) = (share(20_000), share(40_000), share(90_000));
        assert!(early < full && (full - later).abs() < 0.03, "{early} {full} {later}");
        // Overlapping squares drop a little less than the nominal rate.
        assert!((0.12..0.21).contains(&full), "{full}");
    }

    #[test]
    fn gamma_is_the_published_formula() {
        let expected = 0.1 / 25.0 * 196.0 / 100.0;
        assert!((gamma(0.1, 5, 14, 40_000) - expected).abs() < 1e-15);
        assert!((gamma(0.1, 5, 14, 10_000) - expected / 4.0).abs() < 1e-15);
    }

    #[test]
    fn dropped_squares_are_whole() {
        let mut plane = vec![1f32; 36];
        drop_blocks(&mut plane, [6, 6], 6, 1.0, &mut stream(0, "test", &[]));
        assert!(plane.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn masks_differ_between_steps_and_layers_but_repeat() {
        let drop = Drop::Units { rate: 0.5 };
        let mask = |forward, layer| dropped(drop, train(forward), layer);
        assert_eq!(mask(1, 1), mask(1, 1));
        assert_ne!(mask(1, 1), mask(2, 1));
        assert_ne!(mask(1, 1), mask(1, 2));
    }
}
