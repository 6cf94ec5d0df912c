//! Every kernel against the naive reference for a table of shapes, in `f32` and `f64`, and
//! its gradients against finite differences.

mod common;

use candle_core::{DType, Result, Tensor};
use common::{assert_close, check_gradients, random, values};
use fewshot_ops::{
    Activation, BatchStatistics, Conv2dOptions, FollowingNorm, MarginOptions, PoolOptions, Tape,
    TapeContext, activate, batch_norm, conv2d, count_correct, cross_entropy, global_avg_pool,
    instruction_set, l2_normalize, linear, margin_scores, max_pool2d, reference,
};
use fewshot_parity::{device, is_gpu};

/// Batch, channels, height, width; outputs, kernel height and width; stride, padding.
const CONVOLUTIONS: &[([usize; 4], [usize; 3], usize, usize)] = &[
    ([1, 1, 1, 1], [1, 1, 1], 1, 0),
    ([1, 3, 5, 7], [2, 3, 3], 1, 1),
    ([2, 3, 9, 8], [4, 3, 3], 2, 1),
    ([3, 4, 6, 5], [5, 1, 1], 1, 0),
    ([3, 4, 7, 5], [5, 1, 1], 2, 0),
    ([2, 3, 13, 15], [4, 7, 7], 2, 3),
    ([5, 2, 3, 3], [3, 3, 3], 1, 1),
    ([2, 2, 4, 4], [3, 3, 3], 3, 2),
    ([2, 2, 2, 2], [3, 3, 3], 1, 2),
    ([2, 3, 6, 4], [2, 2, 4], 1, 0),
    ([1, 2, 1, 5], [2, 1, 3], 2, 1),
    ([9, 8, 10, 10], [33, 3, 3], 1, 1),
    ([2, 1, 3, 3], [1, 5, 5], 4, 3),
    // Channels that fill vectors: Winograd's method, with tiles that exceed the image.
    ([2, 16, 7, 5], [16, 3, 3], 1, 1),
    ([1, 32, 3, 4], [16, 3, 3], 1, 0),
    ([3, 16, 4, 4], [48, 3, 3], 1, 2),
    ([2, 80, 3, 3], [80, 3, 3], 1, 1),
    ([1, 16, 6, 6], [144, 3, 3], 1, 1),
    ([2, 16, 5, 5], [32, 3, 3], 2, 1),
    ([2, 32, 3, 3], [16, 1, 1], 1, 0),
];

/// Planes, height, width; window, stride, padding.
const POOLS: &[([usize; 3], usize, usize, usize)] = &[
    ([1, 1, 1], 1, 1, 0),
    ([2, 4, 4], 2, 2, 0),
    ([3, 5, 7], 2, 2, 0),
    ([2, 7, 6], 3, 2, 1),
    ([4, 9, 9], 3, 1, 1),
    ([2, 5, 5], 3, 3, 0),
    ([1, 2, 2], 3, 2, 1),
];

fn in_both_types(check: impl Fn(DType, f64)) {
    // cuDNN may sum in another order.
    check(DType::F32, if is_gpu() { 2e-5 } else { 2e-6 });
    check(DType::F64, 1e-13);
}

#[test]
fn conv2d_is_the_naive_one() {
    for &(x_shape, kernel_shape, stride, padding) in CONVOLUTIONS {
        let options = Conv2dOptions { stride, padding };
        let [out, kh, kw] = kernel_shape;
        let (x, kernel) = (random("x", &x_shape), random("kernel", &[out, x_shape[1], kh, kw]));
        let bias = random("bias", &[out]);
        let plain =
            reference::conv2d(&values(&x), x_shape, &values(&kernel), kernel_shape, options);
        in_both_types(|dtype, tolerance| {
            let cast = |t: &Tensor| t.to_dtype(dtype).unwrap();
            let name = format!("{dtype:?} {x_shape:?} {kernel_shape:?} {stride} {padding}");
            let y = conv2d(&cast(&x), &cast(&kernel), None, options).unwrap();
            assert_close(&name, &values(&y), &plain, 4.0 * tolerance);
            let biased = conv2d(&cast(&x), &cast(&kernel), Some(&cast(&bias)), options).unwrap();
            let expected = Tensor::from_vec(plain.clone(), y.dims(), device())
                .unwrap()
                .broadcast_add(&bias.reshape((1, out, 1, 1)).unwrap())
                .unwrap();
            assert_close(&name, &values(&biased), &values(&expected), 4.0 * tolerance);
        });
    }
}

/// A batch norm folded into the convolution before it equals one that is not.
#[test]
fn conv2d_normed_is_both_layers() {
    for &(x_shape, [out, kh, kw], stride, padding) in CONVOLUTIONS {
        let options = Conv2dOptions { stride, padding };
        let (x, kernel) = (random("x", &x_shape), random("kernel", &[out, x_shape[1], kh, kw]));
        let vector = |name| random(name, &[out]);
        let (bias, weight, shift) = (vector("bias"), vector("weight"), vector("shift"));
        let variance = vector("variance").abs().unwrap();
        let running = BatchStatistics::running(&vector("mean"), &variance, 1e-5).unwrap();
        let activation = Activation::LeakyRelu(0.1);
        let y = conv2d(&x, &kernel, Some(&bias), options).unwrap();
        let residual = random("residual", y.dims());
        let expected =
            batch_norm(&y, &weight, &shift, &running, activation, Some(&residual)).unwrap();
        in_both_types(|dtype, tolerance| {
            let cast = |t: &Tensor| t.to_dtype(dtype).unwrap();
            let (weight, shift) = (cast(&weight), cast(&shift));
            let mut tape = Tape::new();
            let (x, r) = (tape.input(&cast(&x)).unwrap(), tape.input(&cast(&residual)).unwrap());
            let norm = FollowingNorm {
                weight: &weight,
                bias: &shift,
                statistics: &running,
                activation,
                residual: Some(&r),
            };
            let bias = cast(&bias);
            let y = tape.conv2d_normed(&x, &cast(&kernel), Some(&bias), options, &norm).unwrap();
            let y = tape.finish(y).unwrap();
            let name = format!("{dtype:?} {x_shape:?} {out} {kh} {kw} {stride} {padding}");
            assert_close(&name, &values(&y), &values(&expected), 10.0 * tolerance);
        });
    }
}

/// A layer through which gradients do not flow refuses arguments that need one, and a second
/// backward pass is an error.
#[test]
fn tapes_lose_no_gradient_silently() {
    let kernel = candle_core::Var::from_tensor(&random("kernel", &[1, 1, 1, 1])).unwrap();
    let ones = Tensor::ones(1, DType::F64, device()).unwrap();
    let mut tape = Tape::new();
    let x = tape.input(&random("x", &[1, 1, 2, 2])).unwrap();
    let statistics = BatchStatistics::running(&ones, &ones, 1e-5).unwrap();
    let options = Conv2dOptions { stride: 1, padding: 0 };
    let norm = FollowingNorm {
        weight: &ones,
        bias: &ones,
        statistics: &statistics,
        activation: Activation::Relu,
        residual: None,
    };
    let refused = tape.conv2d_normed(&x, &kernel, None, options, &norm).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("gradient"));

    // The residual, too.
    let tracked = candle_core::Var::from_tensor(&random("residual", &[1, 1, 2, 2])).unwrap();
    let tracked = tape.input(&tracked).unwrap();
    let (norm, frozen) =
        (FollowingNorm { residual: Some(&tracked), ..norm }, kernel.as_detached_tensor());
    let refused = tape.conv2d_normed(&x, &frozen, None, options, &norm).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("gradient"));

    let y = tape.conv2d(&x, &kernel, None, options).unwrap();
    let y = tape.finish(y).unwrap().sum_all().unwrap();
    assert!(y.backward().unwrap().get(&kernel).is_some());
    assert!(y.backward().unwrap_err().to_string().contains("pass forward again"));
}

/// `backward_with` reports each gradient once it is complete, the last layer's first, and returns
/// the same.
#[test]
fn gradients_are_reported_as_they_become_complete() {
    let var = |name| candle_core::Var::from_tensor(&random(name, &[2, 2, 3, 3])).unwrap();
    let (shared, last) = (var("shared"), var("last"));
    let options = Conv2dOptions { stride: 1, padding: 1 };
    let context = TapeContext::new();
    let mut tape = Tape::with_context(&context);
    let x = tape.input(&random("x", &[1, 2, 4, 4])).unwrap();
    let x = tape.conv2d(&x, &shared, None, options).unwrap();
    let x = tape.conv2d(&x, &shared, None, options).unwrap();
    let x = tape.conv2d(&x, &last, None, options).unwrap();
    let loss = tape.finish(x).unwrap().sum_all().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let gradients = context
        .backward_with(&loss, move |gradient| {
            sender.send(gradient.clone()).unwrap();
            Ok(())
        })
        .unwrap();
    let reported: Vec<Tensor> = receiver.iter().collect();
    assert_eq!(reported.len(), 2, "one that two layers share is reported once");
    for (reported, variable) in reported.iter().zip([&last, &shared]) {
        assert_eq!(values(reported), values(gradients.get(variable).unwrap()));
    }
}

/// Runs all other tests with each lesser instruction set of this machine.
#[test]
fn every_instruction_set_of_this_machine_is_right() {
    const CHOICE: &str = "FEWSHOT_INSTRUCTION_SET";
    if is_gpu() {
        return println!("skipped: instruction sets are the CPU's");
    }
    if let Ok(set) = std::env::var(CHOICE) {
        assert!([&set, "portable"].contains(&instruction_set()), "{} for {set}", instruction_set());
        return;
    }
    for set in ["portable", "avx2"] {
        let tests = std::process::Command::new(std::env::current_exe().unwrap())
            .env(CHOICE, set)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&tests.stdout);
        assert!(tests.status.success(), "{set}:\n{printed}");
        assert!(printed.contains(" passed; 0 failed"), "{set}:\n{printed}");
    }
}

#[test]
fn conv2d_gradients() {
    for &(x_shape, kernel_shape, stride, padding) in CONVOLUTIONS {
        let [out, kh, kw] = kernel_shape;
        let options = Conv2dOptions { stride, padding };
        let inputs = [
            random("x", &x_shape),
            random("kernel", &[out, x_shape[1], kh, kw]),
            random("bias", &[out]),
        ];
        let name = format!("conv2d {x_shape:?} {kernel_shape:?} {stride} {padding}");
        check_gradients(&name, &inputs[..2], |t| conv2d(&t[0], &t[1], None, options));
        check_gradients(&name, &inputs, |t| conv2d(&t[0], &t[1], Some(&t[2]), options));
    }
}

/// Winograd's method gives what direct convolution does, forward and backward, at the sizes of each
/// stage of a ResNet.
#[test]
fn fewer_products_give_the_same() {
    if is_gpu() {
        return println!("skipped: cuDNN chooses its own algorithms");
    }
    for [channels, out, side] in [[64, 64, 21], [128, 128, 11], [256, 128, 6], [256, 256, 3]] {
        let cast = |t: Tensor| t.to_dtype(DType::F32).unwrap();
        let x = candle_core::Var::from_tensor(&cast(random("x", &[4, channels, side, side])));
        let kernel = candle_core::Var::from_tensor(&cast(random("kernel", &[out, channels, 3, 3])));
        let (x, kernel) = (x.unwrap(), kernel.unwrap());
        let weighting = cast(random("weighting", &[4, out, side, side]));
        let run = |context: TapeContext| -> Result<[Vec<f64>; 3]> {
            let mut tape = Tape::with_context(&context);
            let x_value = tape.input(&x)?;
            let options = Conv2dOptions { stride: 1, padding: 1 };
            let y = tape.conv2d(&x_value, &kernel, None, options)?;
            let y = tape.finish(y)?;
            let g = context.backward(&(&y * &weighting)?.sum_all()?)?;
            Ok([values(&y), values(g.get(&x).unwrap()), values(g.get(&kernel).unwrap())])
        };
        let fast = run(TapeContext::new()).unwrap();
        let direct = run(TapeContext::new().with_direct_convolution()).unwrap();
        assert_ne!(fast[0], direct[0], "both are computed the same way");
        for (fast, direct) in fast.iter().zip(&direct) {
            assert_close(&format!("{channels} channels, {side} px"), fast, direct, 2e-5);
        }
    }
}

/// Weight gradients in `f32` sum over many groups at real sizes.
#[test]
fn conv2d_at_real_size_agrees_between_number_types() {
    let x = random("x", &[24, 64, 21, 21]);
    let kernel = random("kernel", &[64, 64, 3, 3]);
    let gradients = |dtype| -> Result<[Vec<f64>; 2]> {
        let x = candle_core::Var::from_tensor(&x.to_dtype(dtype)?)?;
        let kernel = candle_core::Var::from_tensor(&kernel.to_dtype(dtype)?)?;
        let y = conv2d(&x, &kernel, None, Conv2dOptions { stride: 1, padding: 1 })?;
        let g = y.sqr()?.sum_all()?.backward()?;
        Ok([values(g.get(&x).unwrap()), values(g.get(&kernel).unwrap())])
    };
    let (single, double) = (gradients(DType::F32).unwrap(), gradients(DType::F64).unwrap());
    for (single, double) in single.iter().zip(&double) {
        assert_close("f32 against f64", single, double, 2e-5);
    }
}

#[test]
fn max_pool2d_is_the_naive_one_and_its_gradient_follows() {
    for &([planes, height, width], window, stride, padding) in POOLS {
        let options = PoolOptions { window, stride, padding };
        let x = random("x", &[1, planes, height, width]);
        let expected = reference::max_pool2d(&values(&x), [planes, height, width], options);
        in_both_types(|dtype, tolerance| {
            let y = max_pool2d(&x.to_dtype(dtype).unwrap(), options).unwrap();
            assert_close(&format!("{options:?}"), &values(&y), &expected, tolerance);
        });
        check_gradients(&format!("{options:?}"), &[x], |t| max_pool2d(&t[0], options));
    }
}

#[test]
fn max_pool2d_gradient_goes_to_the_first_maximum() {
    let x = candle_core::Var::ones((1, 1, 2, 2), DType::F32, device()).unwrap();
    let options = PoolOptions { window: 2, stride: 2, padding: 0 };
    let g = max_pool2d(&x, options).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(values(g.get(&x).unwrap()), [1.0, 0.0, 0.0, 0.0]);
}

/// Batch norm for a table of shapes, with and without a residual, with each activation.
#[test]
fn batch_norm_is_the_naive_one_and_its_gradients_follow() {
    let activations = [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.1)];
    for shape in [[2, 1, 1, 1], [1, 3, 2, 3], [3, 4, 5, 7], [2, 2, 6, 9], [4, 5, 1, 1]] {
        let [batch, channels, height, width] = shape;
        let sizes = [batch, channels, height * width];
        let (x, residual) = (random("x", &shape), random("residual", &shape));
        let (weight, bias) = (random("weight", &[channels]), random("bias", &[channels]));
        let (mean, variance) = reference::moments(&values(&x), sizes);
        for activation in activations {
            let slope = match activation {
                Activation::Identity => 1.0,
                Activation::Relu => 0.0,
                Activation::LeakyRelu(slope) => slope,
            };
            let normalized = reference::batch_norm(
                &values(&x),
                sizes,
                [&mean, &variance, &values(&weight), &values(&bias)],
                1e-5,
            );
            let sums = normalized.iter().zip(values(&residual)).map(|(n, r)| n + r);
            let expected: Vec<f64> = sums.map(|v| if v > 0.0 { v } else { slope * v }).collect();
            in_both_types(|dtype, tolerance| {
                let cast = |t: &Tensor| t.to_dtype(dtype).unwrap();
                let statistics = BatchStatistics::of(&cast(&x), 1e-5).unwrap();
                let (w, b, r) = (cast(&weight), cast(&bias), cast(&residual));
                let y = batch_norm(&cast(&x), &w, &b, &statistics, activation, Some(&r)).unwrap();
                assert_close("batch norm", &values(&y), &expected, 100.0 * tolerance);
            });
            // Two values in a channel normalize to ±1 whatever they are: differences are noise.
            if batch * height * width > 2 {
                let inputs = [x.clone(), weight.clone(), bias.clone(), residual.clone()];
                let name = format!("batch norm {shape:?} {activation:?}");
                check_gradients(&name, &inputs[..3], |t| {
                    let s = BatchStatistics::of(&t[0], 1e-5)?;
                    batch_norm(&t[0], &t[1], &t[2], &s, activation, None)
                });
                check_gradients(&name, &inputs, |t| {
                    let s = BatchStatistics::of(&t[0], 1e-5)?;
                    batch_norm(&t[0], &t[1], &t[2], &s, activation, Some(&t[3]))
                });
            }
        }
        let fixed = BatchStatistics::running(
            &random("mean", &[channels]),
            &random("variance", &[channels]).abs().unwrap(),
            1e-5,
        )
        .unwrap();
        check_gradients("evaluation form", &[x, weight, bias], |t| {
            batch_norm(&t[0], &t[1], &t[2], &fixed, Activation::Relu, None)
        });
    }
}

#[test]
fn batch_statistics_are_the_naive_ones() {
    let x = random("x", &[3, 4, 5, 7]);
    let (mean, variance) = reference::moments(&values(&x), [3, 4, 35]);
    let statistics = BatchStatistics::of(&x, 1e-5).unwrap();
    assert_close("mean", &statistics.mean().unwrap(), &mean, 1e-12);
    let unbiased: Vec<f64> = variance.iter().map(|v| v * 105.0 / 104.0).collect();
    assert_close("variance", &statistics.unbiased_variance().unwrap(), &unbiased, 1e-12);
}

#[test]
fn small_layers() {
    let x = random("x", &[3, 4, 5, 7]);
    let pooled = global_avg_pool(&x).unwrap();
    assert_close("mean", &values(&pooled), &values(&x.mean((2, 3)).unwrap()), 1e-12);
    check_gradients("global average", std::slice::from_ref(&x), |t| global_avg_pool(&t[0]));
    for activation in [Activation::Relu, Activation::LeakyRelu(0.1)] {
        check_gradients("activation", std::slice::from_ref(&x), |t| activate(&t[0], activation));
    }
    let relu = values(&activate(&x, Activation::Relu).unwrap());
    assert_close("relu", &relu, &values(&x.relu().unwrap()), 0.0);

    let (x, w, b) = (random("x", &[3, 5]), random("w", &[4, 5]), random("b", &[4]));
    let expected = x.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap();
    assert_close("linear", &values(&linear(&x, &w, Some(&b)).unwrap()), &values(&expected), 1e-13);
    check_gradients("linear", &[x.clone(), w, b], |t| linear(&t[0], &t[1], Some(&t[2])));
    check_gradients("l2", std::slice::from_ref(&x), |t| l2_normalize(&t[0]));
    let lengths = l2_normalize(&x).unwrap().sqr().unwrap().sum(1).unwrap();
    assert_close("length", &values(&lengths), &[1.0; 3], 1e-13);
}

#[test]
fn a_zero_row_normalises_to_zero_with_a_finite_gradient() {
    let x = candle_core::Var::zeros((1, 3), DType::F32, device()).unwrap();
    let y = l2_normalize(&x).unwrap();
    assert_eq!(values(&y), [0.0; 3]);
    let gradient = y.sum_all().unwrap().backward().unwrap();
    assert!(values(gradient.get(&x).unwrap()).iter().all(|v| v.is_finite()));
}

#[test]
fn cross_entropy_is_the_naive_one_and_its_gradient_follows() {
    let scores = (random("scores", &[6, 5]) * 4.0).unwrap();
    let labels = [0u32, 3, 4, 1, 2, 2];
    let tensor = Tensor::new(&labels, device()).unwrap();
    let expected = reference::cross_entropy(&values(&scores), 5, &labels);
    in_both_types(|dtype, tolerance| {
        let loss = cross_entropy(&scores.to_dtype(dtype).unwrap(), &tensor).unwrap();
        assert_close("cross entropy", &values(&loss), &[expected], tolerance);
    });
    check_gradients("cross entropy", &[scores], |t| cross_entropy(&t[0], &tensor));
    let huge = Tensor::new(&[[1e4f32, -1e4]], device()).unwrap();
    let loss = cross_entropy(&huge, &Tensor::new(&[1u32], device()).unwrap()).unwrap();
    assert_eq!(values(&loss), [2e4]);
}

/// Margin scores with each option, and the number of correct rows.
#[test]
fn margin_scores_are_the_naive_ones_and_their_gradient_follows() {
    let z = random("z", &[4, 70]);
    let labels = [0u32, 69, 33, 5];
    let tensor = Tensor::new(&labels, device()).unwrap();
    for (margin, subtract_min) in [(0.0, false), (-0.3, false), (0.2, true)] {
        let options = MarginOptions { scale: 3.0, margin, subtract_min };
        let mut expected = values(&z);
        for (row, &label) in expected.chunks_exact_mut(70).zip(&labels) {
            let min = row.iter().copied().fold(f64::INFINITY, f64::min);
            row.iter_mut().for_each(|v| *v -= if subtract_min { min } else { 0.0 });
            row[label as usize] -= margin;
            row.iter_mut().for_each(|v| *v *= 3.0);
        }
        in_both_types(|dtype, tolerance| {
            let y = margin_scores(&z.to_dtype(dtype).unwrap(), Some(&tensor), options).unwrap();
            assert_close("margin scores", &values(&y), &expected, tolerance);
        });
        check_gradients("margin scores", std::slice::from_ref(&z), |t| {
            margin_scores(&t[0], Some(&tensor), options)
        });
        check_gradients("scores", std::slice::from_ref(&z), |t| {
            margin_scores(&t[0], None, options)
        });
    }
    let argmax =
        |row: &[f64]| (1..row.len()).fold(0, |at, i| if row[i] > row[at] { i } else { at });
    let mut row_labels: Vec<u32> =
        values(&z).chunks_exact(70).map(|row| argmax(row) as u32).collect();
    row_labels[2] = (row_labels[2] + 1) % 70;
    let correct = count_correct(&z, &Tensor::new(row_labels, device()).unwrap()).unwrap();
    assert_eq!(correct.to_scalar::<u32>().unwrap(), 3);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let x = random("x", &[13, 8, 11, 9]).to_dtype(DType::F32).unwrap();
            let x = candle_core::Var::from_tensor(&x).unwrap();
            let kernel = random("kernel", &[70, 8, 3, 3]).to_dtype(DType::F32).unwrap();
            let kernel = candle_core::Var::from_tensor(&kernel).unwrap();
            let y = conv2d(&x, &kernel, None, Conv2dOptions { stride: 1, padding: 1 }).unwrap();
            let statistics = BatchStatistics::of(&y, 1e-5).unwrap();
            let ones = Tensor::ones(70, DType::F32, device()).unwrap();
            let y = batch_norm(&y, &ones, &ones, &statistics, Activation::Relu, None).unwrap();
            let pool = PoolOptions { window: 3, stride: 2, padding: 1 };
            let y = global_avg_pool(&max_pool2d(&y, pool).unwrap()).unwrap();
            let g = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            [values(&y), values(g.get(&x).unwrap()), values(g.get(&kernel).unwrap())]
        })
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        assert_eq!(one, run(threads), "{threads} threads");
    }
}

#[test]
fn no_images_give_no_outputs_and_no_gradients() {
    if is_gpu() {
        return println!("skipped: GPUs always get images");
    }
    let kernels = [[16, 16, 3, 3], [4, 3, 3, 3], [4, 3, 1, 1]];
    for shape in kernels {
        let x = Tensor::zeros((0, shape[1], 8, 8), DType::F32, device()).unwrap();
        let kernel = candle_core::Var::zeros(&shape, DType::F32, device()).unwrap();
        let y = conv2d(&x, &kernel, None, Conv2dOptions { stride: 1, padding: 1 }).unwrap();
        assert_eq!(y.dims()[0], 0);
        let pooled = max_pool2d(&y, PoolOptions { window: 2, stride: 2, padding: 0 }).unwrap();
        let gradients = global_avg_pool(&pooled).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(values(gradients.get(&kernel).unwrap()).iter().all(|&v| v == 0.0));
    }
}

#[test]
fn impossible_arguments_are_refused() {
    let x = random("x", &[1, 2, 4, 4]);
    let options = |stride, padding| Conv2dOptions { stride, padding };
    let message = |r: Result<Tensor>| r.unwrap_err().to_string();
    let kernel = |c: usize, k: usize| random("kernel", &[3, c, k, k]);
    assert!(message(conv2d(&x, &kernel(3, 3), None, options(1, 1))).contains("2 channels"));
    assert!(message(conv2d(&x, &kernel(2, 5), None, options(1, 0))).contains("exceeds"));
    assert!(message(conv2d(&x, &kernel(2, 3), None, options(0, 1))).contains("positive"));
    let flat = random("flat", &[1, 2, 0, 4]);
    assert!(message(conv2d(&flat, &kernel(2, 1), None, options(1, 1))).contains("positive"));
    let bias = random("bias", &[2]);
    assert!(message(conv2d(&x, &kernel(2, 3), Some(&bias), options(1, 1))).contains("[3]"));
    let pool = PoolOptions { window: 2, stride: 2, padding: 2 };
    assert!(message(max_pool2d(&x, pool)).contains("half the window"));
    let label = Tensor::new(&[5u32], device()).unwrap();
    let loss = cross_entropy(&random("s", &[1, 5]), &label);
    match is_gpu() {
        true => assert!(values(&loss.unwrap())[0].is_nan(), "a GPU is not waited for"),
        false => assert!(message(loss).contains("label 5")),
    }
    let bare = random("x", &[1, 0, 4, 4]);
    let pool = PoolOptions { window: 2, stride: 2, padding: 0 };
    assert!(message(max_pool2d(&bare, pool)).contains("channels"));
    assert!(message(global_avg_pool(&bare)).contains("0 channels"));
    let wide = PoolOptions { window: 16, stride: 1, padding: 8 };
    assert!(message(max_pool2d(&x, wide)).contains("at most 15"));
    let lone = random("x", &[1, 2, 1, 1]);
    assert!(BatchStatistics::of(&lone, 1e-5).unwrap_err().to_string().contains("2 or more"));
    let whole = Tensor::ones((1, 2, 4, 4), DType::U32, device()).unwrap();
    assert!(message(activate(&whole, Activation::Relu)).contains("dtype U32, expected f32"));
}

/// A network of bfloat16 images and `f32` parameters is close to one in double precision.
#[test]
#[cfg(feature = "cuda")]
fn bfloat16_is_near_double_precision() {
    if !is_gpu() {
        return println!("skipped: bfloat16 takes a GPU");
    }
    let x = random("x", &[3, 8, 9, 10]);
    let inputs = [
        random("kernel", &[16, 8, 3, 3]),
        random("second", &[16, 16, 3, 3]),
        random("weight", &[16]).affine(0.3, 1.0).unwrap(),
        random("bias", &[16]),
    ];
    let run = |images: DType, parameters: DType| -> Result<Vec<Vec<f64>>> {
        let cast = |t: &Tensor| candle_core::Var::from_tensor(&t.to_dtype(parameters)?);
        let vars = inputs.iter().map(cast).collect::<Result<Vec<_>>>()?;
        let options = Conv2dOptions { stride: 1, padding: 1 };
        let context = TapeContext::new();
        let mut tape = Tape::with_context(&context);
        let x = tape.input(&x.to_dtype(images)?)?;
        let y = tape.conv2d(&x, &vars[0], None, options)?;
        let s = tape.batch_statistics(&y, 1e-5)?;
        let short = tape.batch_norm(&y, &vars[2], &vars[3], &s, Activation::Relu, None)?;
        let y = tape.conv2d(&short, &vars[1], None, options)?;
        let s = tape.batch_statistics(&y, 1e-5)?;
        let y = tape.batch_norm(&y, &vars[2], &vars[3], &s, Activation::Relu, Some(&short))?;
        let y = tape.max_pool2d(&y, PoolOptions { window: 3, stride: 2, padding: 1 })?;
        let y = tape.global_avg_pool(&y)?;
        let y = tape.finish(y)?;
        assert_eq!(y.dtype(), parameters, "features have the parameters' type");
        let g =
            context.backward(&(&y * random("g", y.dims()).to_dtype(parameters)?)?.sum_all()?)?;
        let gradients = vars.iter().map(|v| values(g.get(v).unwrap()));
        Ok(std::iter::once(values(&y)).chain(gradients).collect())
    };
    let half = run(DType::BF16, DType::F32).unwrap();
    let double = run(DType::F64, DType::F64).unwrap();
    // The tolerance covers many roundings of 2^-9, and units that these move across zero or make
    // the maximum of a window; it is relative to the norm of the whole vector.
    for (i, (half, double)) in half.iter().zip(&double).enumerate() {
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
        let difference = norm(&mut half.iter().zip(double).map(|(h, d)| h - d));
        let share = difference / norm(&mut double.iter().copied());
        println!("bfloat16, result {i}: off by {share:.1e}");
        assert!(share < 0.15, "result {i} is off by {share}");
    }
}
