//! Speed of single convolutions, and the machine's peak.

use std::hint::black_box;
use std::time::Instant;

use fewshot_ops::cpu::Real as _;
use fewshot_ops::cpu::conv::{Epilogue, Geometry, forward, input_gradient, kernel_gradient};
use fewshot_ops::cpu::simd::{SimdKernel, Vector};
use fewshot_seed::stream;
use rand::Rng;
use serde_json::json;

use super::Error;
use super::case::{Case, Measure, Setup};
use super::row::Better;

const BATCH: usize = 64;
/// Input channels, side of the images, output channels, side of the kernel, stride: all
/// convolutions of ResNet-18 at 84 px.
const CONVOLUTIONS: [[usize; 5]; 9] = [
    [3, 84, 64, 7, 2],
    [64, 21, 64, 3, 1],
    [64, 21, 128, 3, 2],
    [64, 21, 128, 1, 2],
    [128, 11, 128, 3, 1],
    [128, 11, 256, 3, 2],
    [256, 6, 256, 3, 1],
    [256, 6, 512, 3, 2],
    [512, 3, 512, 3, 1],
];
/// Least duration of a measurement, in seconds.
const MIN_SECONDS: f64 = 0.2;
/// Independent chains of fused multiply-adds, more than the pipelines are deep.
const CHAINS: usize = 16;

/// Returns a row for the machine's peak, and three for each convolution. Operations are counted as
/// in a direct convolution, two for each multiply-add, so that an algorithm with fewer of them may
/// exceed the peak.
///
/// # Errors
/// None in practice: the sizes are valid.
pub fn cases(setup: &Setup) -> Result<Vec<Case>, Error> {
    let batch = if setup.smallest { 1 } else { BATCH };
    let steps = if setup.smallest { 1 << 10 } else { 1 << 24 };
    let threads = setup.threads;
    let peak = move || -> Result<Measure, Error> { Ok(Box::new(move || Ok(peak(threads, steps)))) };
    let product = json!({ "kind": "product", "side": if setup.smallest { 8 } else { 2048 } });
    let name = "float32 peak (PyTorch: a matrix product)";
    let mut cases = vec![Case::new(name, "GFLOP/s", Better::Higher, peak).against(product)];
    for sizes in CONVOLUTIONS {
        for pass in ["forward", "gradient of the input", "gradient of the kernel"] {
            // Images need no gradient.
            if sizes[0] > 3 || pass != "gradient of the input" {
                cases.push(case(sizes, pass, batch)?);
            }
        }
    }
    Ok(cases)
}

fn case(sizes: [usize; 5], pass: &'static str, batch: usize) -> Result<Case, Error> {
    let [from, side, to, kernel, stride] = sizes;
    let (x_shape, kernel_shape) = ([batch, side, side, from], [to, from, kernel, kernel]);
    let g = Geometry::new(&x_shape, &kernel_shape, stride, kernel / 2)?;
    let request = json!({
        "kind": "convolution",
        "pass": pass,
        "x": [batch, from, side, side],
        "kernel": kernel_shape,
        "stride": stride,
    });
    let ours = move || -> Result<Measure, Error> {
        let x = numbers("x", x_shape.iter().product());
        let weights = numbers("kernel", kernel_shape.iter().product());
        let dy = numbers("dy", g.out_shape().iter().product());
        let operations = (2 * dy.len() * g.patch()) as f64;
        Ok(Box::new(move || {
            let work = || match pass {
                "forward" => forward(&g, black_box(&x), &weights, Epilogue::bias(None)).len(),
                "gradient of the input" => input_gradient(&g, black_box(&dy), &weights).len(),
                _ => kernel_gradient(&g, black_box(&x), &dy).len(),
            };
            let (started, mut times) = (Instant::now(), 0.0);
            while times == 0.0 || batch > 1 && started.elapsed().as_secs_f64() < MIN_SECONDS {
                black_box(work());
                times += 1.0;
            }
            Ok(operations * times / started.elapsed().as_secs_f64() / 1e9)
        }))
    };
    let name = format!("{kernel}×{kernel} {from}→{to}, {side} px, stride {stride}: {pass}");
    Ok(Case::new(name, "GFLOP/s", Better::Higher, ours).against(request))
}

fn numbers(name: &str, count: usize) -> Vec<f32> {
    let mut rng = stream(0, name, &[]);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Measures the GFLOP/s of independent fused multiply-adds on all threads.
fn peak(threads: usize, steps: usize) -> f64 {
    let started = Instant::now();
    let operations: Vec<f64> = rayon::broadcast(|_| f32::run(Peak { steps }));
    debug_assert_eq!(operations.len(), threads);
    operations.iter().sum::<f64>() / started.elapsed().as_secs_f64() / 1e9
}

struct Peak {
    steps: usize,
}

impl SimdKernel<f32> for Peak {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector<Scalar = f32>>(self) -> f64 {
        // SAFETY: a kernel runs only where its vectors' instruction set is available, and `lanes`
        // has room for the widest vector.
        unsafe {
            let (factor, summand) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
            let mut chains = [summand; CHAINS];
            for _ in 0..self.steps {
                for chain in &mut chains {
                    *chain = chain.fma(factor, summand);
                }
            }
            let mut lanes = [0.0; 16];
            for chain in chains {
                chain.store(lanes.as_mut_ptr());
                black_box(&lanes);
            }
        }
        2.0 * (CHAINS * V::LANES * self.steps) as f64
    }
}
