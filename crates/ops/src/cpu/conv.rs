//! Convolution over channels-last images: its sizes, and which way is taken.

use std::cell::Cell;

use candle_core::{Result, bail};

use super::{patches, winograd};
use crate::tensor::Real;

thread_local! {
    static PLAINLY: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` with convolutions, and their gradients whenever those come, that sum plain
/// products: for comparisons down to rounding.
///
/// Usually 3×3 convolutions of stride 1 take fewer products, and round by up to twice as much.
pub fn with_direct_convolution<R>(work: impl FnOnce() -> R) -> R {
    /// Sets it back, whether or not `work` panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            PLAINLY.set(self.0);
        }
    }
    let _before = Before(PLAINLY.replace(true));
    work()
}

/// The checked sizes of one convolution.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub(crate) batch: usize,
    pub(crate) in_channels: usize,
    /// Height, width.
    pub(crate) in_size: [usize; 2],
    pub(crate) out_channels: usize,
    pub(crate) out_size: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    /// Whether every product is taken, as [`with_direct_convolution`] has it.
    pub(crate) is_plain: bool,
}

impl Geometry {
    /// Checks `x [B, H, W, C]` against `kernel [O, C, kh, kw]`.
    pub fn new(x: &[usize], kernel: &[usize], stride: usize, padding: usize) -> Result<Self> {
        let (&[batch, h, w, in_channels], &[out_channels, c, kh, kw]) = (x, kernel) else {
            bail!("conv2d: shapes {x:?} and {kernel:?}, expected images and [O, C, kh, kw]")
        };
        if c != in_channels {
            bail!("conv2d: input has {in_channels} channels, kernel {kernel:?} takes {c}")
        }
        if [stride, kh, kw, in_channels, out_channels, h, w].contains(&0) {
            bail!("conv2d: input {x:?}, kernel {kernel:?}, stride {stride}: all must be positive")
        }
        let out = |size: usize, k: usize| match (size + 2 * padding).checked_sub(k) {
            Some(room) => Ok(room / stride + 1),
            None => bail!("conv2d: kernel {kh}×{kw} exceeds input {h}×{w} with padding {padding}"),
        };
        Ok(Self {
            batch,
            in_channels,
            in_size: [h, w],
            out_channels,
            out_size: [out(h, kh)?, out(w, kw)?],
            kernel: [kh, kw],
            stride,
            padding,
            is_plain: PLAINLY.get(),
        })
    }

    /// `[B, oh, ow, O]`.
    pub fn out_shape(&self) -> [usize; 4] {
        [self.batch, self.out_size[0], self.out_size[1], self.out_channels]
    }

    /// Elements of one input image.
    pub fn in_image(&self) -> usize {
        self.in_size[0] * self.in_size[1] * self.in_channels
    }

    /// Elements of one output image.
    pub fn out_image(&self) -> usize {
        self.out_size[0] * self.out_size[1] * self.out_channels
    }

    /// Length of one unfolded patch.
    pub fn patch(&self) -> usize {
        self.in_channels * self.kernel[0] * self.kernel[1]
    }

    /// The convolution that gives the input's gradient from the output's, where that is one:
    /// with the kernel turned around and its channels exchanged.
    fn turned(&self) -> Option<Self> {
        let [kh, kw] = self.kernel;
        (self.stride == 1 && kh == kw && self.padding < kh).then(|| Self {
            in_channels: self.out_channels,
            in_size: self.out_size,
            out_channels: self.in_channels,
            out_size: self.in_size,
            padding: kh - 1 - self.padding,
            ..*self
        })
    }

    fn suits_winograd(&self) -> bool {
        let is_whole = |channels: usize| channels.is_multiple_of(winograd::CHANNELS);
        self.kernel == [3, 3]
            && !self.is_plain
            && self.stride == 1
            && self.padding < 3
            && is_whole(self.in_channels)
            && is_whole(self.out_channels)
    }
}

/// What becomes of sums before they are written: `activation(scale·sum + shift + residual)`.
#[derive(Clone, Copy)]
pub struct Epilogue<'a, T> {
    /// `[O]`, by which the kernel is multiplied instead.
    pub scale: Option<&'a [T]>,
    /// `[O]`.
    pub shift: Option<&'a [T]>,
    /// `[B, oh, ow, O]`.
    pub residual: Option<&'a [T]>,
    /// The activation's factor of negative values.
    pub slope: T,
}

impl<'a, T: Real> Epilogue<'a, T> {
    /// Adds a bias, if there is one.
    pub fn bias(bias: Option<&'a [T]>) -> Self {
        Self { scale: None, shift: bias, residual: None, slope: T::one() }
    }

    fn check(&self, g: &Geometry) {
        for vector in [self.scale, self.shift].into_iter().flatten() {
            assert_eq!(vector.len(), g.out_channels);
        }
        if let Some(residual) = self.residual {
            assert_eq!(residual.len(), g.batch * g.out_image());
        }
    }

    /// Whether sums are written as they are.
    pub fn is_nothing(&self) -> bool {
        self.shift.is_none() && self.residual.is_none() && self.slope == T::one()
    }
}

/// `y [B, oh, ow, O]` of `x [B, H, W, C]` and `kernel [O, C, kh, kw]`.
///
/// # Panics
/// Here and below, if slices are not of these lengths.
pub fn forward<T: Real>(g: &Geometry, x: &[T], kernel: &[T], finish: Epilogue<T>) -> Vec<T> {
    assert_eq!(x.len(), g.batch * g.in_image());
    assert_eq!(kernel.len(), g.out_channels * g.patch());
    finish.check(g);
    if g.suits_winograd() {
        winograd::forward(g, x, kernel, winograd::Direction::Forward, finish)
    } else {
        patches::forward(g, x, kernel, finish)
    }
}

/// Gradient of the input, `[B, H, W, C]`, from `dy [B, oh, ow, O]`.
pub fn input_gradient<T: Real>(g: &Geometry, dy: &[T], kernel: &[T]) -> Vec<T> {
    assert_eq!(dy.len(), g.batch * g.out_image());
    assert_eq!(kernel.len(), g.out_channels * g.patch());
    match g.turned() {
        Some(turned) if turned.suits_winograd() => winograd::forward(
            &turned,
            dy,
            kernel,
            winograd::Direction::Turned,
            Epilogue::bias(None),
        ),
        _ => patches::input_gradient(g, dy, kernel),
    }
}

/// Gradient of the kernel, `[O, C, kh, kw]`, from `dy [B, oh, ow, O]`.
pub fn kernel_gradient<T: Real>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    assert_eq!(x.len(), g.batch * g.in_image());
    assert_eq!(dy.len(), g.batch * g.out_image());
    if g.suits_winograd() {
        winograd::kernel_gradient(g, x, dy)
    } else {
        patches::kernel_gradient(g, x, dy)
    }
}
