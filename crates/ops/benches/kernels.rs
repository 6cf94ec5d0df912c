//! Each kernel at the sizes of ResNet-18 at 84 px, batch 64, on all threads.
//!
//! Throughputs of convolutions count the operations of direct convolution, two for each product,
//! so that `Gelem/s` means GFLOP/s, and Winograd's method may exceed the machine's peak.
//! `cargo xtask ci` runs each once, at batch 1; `cargo xtask bench kernels` compares with PyTorch.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fewshot_ops::Activation;
use fewshot_ops::cpu::batch_norm::{Affine, Normalization, apply, gradients, moments};
use fewshot_ops::cpu::conv::{self, Epilogue};
use fewshot_ops::cpu::pool;
use rand::Rng;

/// Input channels, side of the images, output channels, side of the kernel, stride.
const CONVOLUTIONS: [[usize; 5]; 8] = [
    [3, 84, 64, 7, 2],
    [64, 21, 64, 3, 1],
    [128, 11, 128, 3, 1],
    [256, 6, 256, 3, 1],
    [512, 3, 512, 3, 1],
    [64, 21, 128, 3, 2],
    [256, 6, 512, 3, 2],
    [64, 21, 128, 1, 2],
];

/// Returns 64 images for measurements, or one to test that the benchmarks run.
fn batch() -> usize {
    if std::env::args().any(|argument| argument == "--bench") { 64 } else { 1 }
}

fn numbers(name: &str, count: usize) -> Vec<f32> {
    let mut rng = fewshot_seed::stream(0, name, &[]);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn convolutions(criterion: &mut Criterion) {
    for [from, side, to, kernel, stride] in CONVOLUTIONS {
        let kernel_shape = [to, from, kernel, kernel];
        let x_shape = [batch(), side, side, from];
        let g = conv::Geometry::new(&x_shape, &kernel_shape, stride, kernel / 2).unwrap();
        let x = numbers("x", x_shape.iter().product());
        let weights = numbers("kernel", kernel_shape.iter().product());
        let dy = numbers("dy", g.out_shape().iter().product());
        let operations = 2 * dy.len() * g.patch();

        let name = format!("conv {from}→{to} {kernel}×{kernel} stride {stride}, {side} px");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(operations as u64));
        group.bench_function("forward", |b| {
            b.iter(|| conv::forward(&g, black_box(&x), &weights, Epilogue::bias(None)));
        });
        group.bench_function("gradient of the input", |b| {
            b.iter(|| conv::input_gradient(&g, black_box(&dy), &weights));
        });
        group.bench_function("gradient of the kernel", |b| {
            b.iter(|| conv::kernel_gradient(&g, black_box(&x), &dy));
        });
    }
}

/// 64 channels of 42×42 pixels, as after the first convolution; throughput in bytes of the images.
fn batch_norm(criterion: &mut Criterion) {
    const CHANNELS: usize = 64;
    let x = numbers("x", batch() * 42 * 42 * CHANNELS);
    let dy = numbers("dy", x.len());
    let affine = Affine { scale: numbers("scale", CHANNELS), shift: numbers("shift", CHANNELS) };
    let weight = numbers("weight", CHANNELS);
    let (mean, inverse_deviation) = ([0.0; CHANNELS], [1.0; CHANNELS]);
    let normalization =
        Normalization { mean: &mean, inverse_deviation: &inverse_deviation, from_batch: true };

    let mut group = criterion.benchmark_group("batch norm, 64 channels, 42 px");
    group.throughput(Throughput::Bytes(size_of_val(&x[..]) as u64));
    group.bench_function("moments", |b| b.iter(|| moments(black_box(&x), CHANNELS)));
    group.bench_function("forward with ReLU", |b| {
        b.iter(|| apply(black_box(&x), &affine, Activation::Relu, None));
    });
    group.bench_function("forward with ReLU and residual", |b| {
        b.iter(|| apply(black_box(&x), &affine, Activation::Relu, Some(&dy)));
    });
    group.bench_function("gradients with ReLU", |b| {
        let slices = [black_box(&x[..]), &dy];
        b.iter(|| gradients(slices, &affine, &weight, &normalization, Activation::Relu, None));
    });
}

fn pooling(criterion: &mut Criterion) {
    const CHANNELS: usize = 64;
    let x = numbers("x", batch() * 42 * 42 * CHANNELS);
    for [window, stride, padding] in [[3, 2, 1], [2, 2, 0]] {
        let g = pool::Geometry::new([42, 42], window, stride, padding).unwrap();
        let (y, indices) = pool::max(&g, &x, CHANNELS);
        let name = format!("max pool {window}×{window}, 64 channels, 42 px");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(size_of_val(&x[..]) as u64));
        group.bench_function("forward", |b| b.iter(|| pool::max(&g, black_box(&x), CHANNELS)));
        group.bench_function("gradient", |b| {
            b.iter(|| pool::max_gradient(&g, black_box(&y), &indices, CHANNELS));
        });
    }
}

fn main_group(criterion: &mut Criterion) {
    fewshot_ops::keep_freed_memory();
    convolutions(criterion);
    batch_norm(criterion);
    pooling(criterion);
}

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(20);
    targets = main_group
}
criterion_main!(kernels);
