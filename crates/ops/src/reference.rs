//! Naive implementations in `f64`, written to be read: the definitions that kernels are tested
//! against. Tensors are row-major slices.

use crate::{Conv2dOptions, PoolOptions};

/// Returns the convolution of `x [B, C, H, W]` with `kernel [O, C, kh, kw]`, by seven loops.
pub fn conv2d(
    x: &[f64],
    [batch, channels, height, width]: [usize; 4],
    kernel: &[f64],
    [out_channels, kh, kw]: [usize; 3],
    options: Conv2dOptions,
) -> Vec<f64> {
    let Conv2dOptions { stride, padding } = options;
    let out_height = (height + 2 * padding - kh) / stride + 1;
    let out_width = (width + 2 * padding - kw) / stride + 1;
    let mut y = Vec::with_capacity(batch * out_channels * out_height * out_width);
    for b in 0..batch {
        for o in 0..out_channels {
            for oy in 0..out_height {
                for ox in 0..out_width {
                    let mut sum = 0.0;
                    for c in 0..channels {
                        for ky in 0..kh {
                            for kx in 0..kw {
                                let (iy, ix) = (oy * stride + ky, ox * stride + kx);
                                let inside = iy >= padding
                                    && ix >= padding
                                    && iy - padding < height
                                    && ix - padding < width;
                                if inside {
                                    let (iy, ix) = (iy - padding, ix - padding);
                                    sum += x[((b * channels + c) * height + iy) * width + ix]
                                        * kernel[((o * channels + c) * kh + ky) * kw + kx];
                                }
                            }
                        }
                    }
                    y.push(sum);
                }
            }
        }
    }
    y
}

/// Returns the maxima over windows of `x [planes, H, W]`.
pub fn max_pool2d(
    x: &[f64],
    [planes, height, width]: [usize; 3],
    options: PoolOptions,
) -> Vec<f64> {
    let PoolOptions { window, stride, padding } = options;
    let out = |size: usize| (size + 2 * padding - window) / stride + 1;
    let mut y = Vec::new();
    for plane in 0..planes {
        for oy in 0..out(height) {
            for ox in 0..out(width) {
                let mut largest = f64::NEG_INFINITY;
                for iy in oy * stride..oy * stride + window {
                    for ix in ox * stride..ox * stride + window {
                        if iy >= padding
                            && ix >= padding
                            && iy - padding < height
                            && ix - padding < width
                        {
                            let (iy, ix) = (iy - padding, ix - padding);
                            largest = largest.max(x[(plane * height + iy) * width + ix]);
                        }
                    }
                }
                y.push(largest);
            }
        }
    }
    y
}

/// Returns mean and biased variance of each channel of `x [B, C, plane]`.
pub fn moments(x: &[f64], [batch, channels, plane]: [usize; 3]) -> (Vec<f64>, Vec<f64>) {
    let count = (batch * plane) as f64;
    let at = |b: usize, c: usize, i: usize| x[(b * channels + c) * plane + i];
    let sum = |c: usize, f: &dyn Fn(f64) -> f64| -> f64 {
        (0..batch).flat_map(|b| (0..plane).map(move |i| (b, i))).map(|(b, i)| f(at(b, c, i))).sum()
    };
    let mean: Vec<f64> = (0..channels).map(|c| sum(c, &|v| v) / count).collect();
    let variance = (0..channels).map(|c| sum(c, &|v| (v - mean[c]).powi(2)) / count).collect();
    (mean, variance)
}

/// Returns `weight·(x - mean)/sqrt(variance + eps) + bias` for each channel of `x [B, C, plane]`.
pub fn batch_norm(
    x: &[f64],
    [_, channels, plane]: [usize; 3],
    [mean, variance, weight, bias]: [&[f64]; 4],
    eps: f64,
) -> Vec<f64> {
    let normalize = |(i, &v): (usize, &f64)| {
        let c = i / plane % channels;
        weight[c] * (v - mean[c]) / (variance[c] + eps).sqrt() + bias[c]
    };
    x.iter().enumerate().map(normalize).collect()
}

/// Returns the mean of `-log softmax(scores)[label]`, `scores [B, C]`.
pub fn cross_entropy(scores: &[f64], classes: usize, labels: &[u32]) -> f64 {
    let rows = scores.chunks_exact(classes).zip(labels);
    let loss = rows.map(|(row, &label)| {
        let sum: f64 = row.iter().map(|v| v.exp()).sum();
        -(row[label as usize].exp() / sum).ln()
    });
    loss.sum::<f64>() / labels.len() as f64
}
