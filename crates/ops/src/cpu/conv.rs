//! Convolution of channels-last images: its sizes, and the choice of the method.

use candle_core::{Result, bail};

use super::{patches, winograd};
use crate::tensor::Real;

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
    /// Whether all products are summed even where Winograd's method applies.
    is_direct: bool,
}

impl Geometry {
    /// Returns the sizes of the convolution of images of shape `x [B, H, W, C]` with kernels of
    /// shape `kernel [O, C, kh, kw]`.
    ///
    /// # Errors
    /// Shapes that do not fit, sizes or strides of zero, a kernel larger than the padded images.
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
            is_direct: false,
        })
    }

    /// The same convolution without Winograd's method, by sums of all products.
    #[must_use]
    pub fn direct(self) -> Self {
        Self { is_direct: true, ..self }
    }

    /// Returns the shape of the outputs, `[B, oh, ow, O]`.
    pub fn out_shape(&self) -> [usize; 4] {
        [self.batch, self.out_size[0], self.out_size[1], self.out_channels]
    }

    /// Returns the number of elements of one input image.
    pub fn in_image(&self) -> usize {
        self.in_size[0] * self.in_size[1] * self.in_channels
    }

    /// Returns the number of elements of one output image.
    pub fn out_image(&self) -> usize {
        self.out_size[0] * self.out_size[1] * self.out_channels
    }

    /// Returns the number of elements of one patch.
    pub fn patch(&self) -> usize {
        self.in_channels * self.kernel[0] * self.kernel[1]
    }

    /// Returns the convolution that computes the input's gradient from the output's, where that
    /// is one: its kernel is rotated by 180°, with its channels exchanged.
    fn rotated(&self) -> Option<Self> {
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
        let fills_vectors = |channels: usize| channels.is_multiple_of(winograd::CHANNELS);
        self.kernel == [3, 3]
            && !self.is_direct
            && self.stride == 1
            && self.padding < 3
            && fills_vectors(self.in_channels)
            && fills_vectors(self.out_channels)
    }
}

/// The epilogue of a convolution, applied to each sum before it is written:
/// `activation(scale·sum + shift + residual)`.
#[derive(Clone, Copy)]
pub struct Epilogue<'a, T> {
    /// Factor of each output channel, `[O]`; the kernel is multiplied by it instead of the sums.
    pub scale: Option<&'a [T]>,
    /// Summand of each output channel, `[O]`.
    pub shift: Option<&'a [T]>,
    /// Summand of each output, `[B, oh, ow, O]`.
    pub residual: Option<&'a [T]>,
    /// The activation's factor of negative values; 1 for none.
    pub slope: T,
}

impl<'a, T: Real> Epilogue<'a, T> {
    /// Returns the epilogue that adds a bias, if there is one.
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

    /// Whether sums are written as they are, but for the scale, which is the kernel's.
    pub fn is_identity(&self) -> bool {
        self.shift.is_none() && self.residual.is_none() && self.slope == T::one()
    }
}

/// Returns the outputs `[B, oh, ow, O]` of `x [B, H, W, C]` and `kernel [O, C, kh, kw]`.
///
/// # Panics
/// If slices are not of these lengths, here and below.
pub fn forward<T: Real>(g: &Geometry, x: &[T], kernel: &[T], epilogue: Epilogue<T>) -> Vec<T> {
    assert_eq!(x.len(), g.batch * g.in_image());
    assert_eq!(kernel.len(), g.out_channels * g.patch());
    epilogue.check(g);
    if g.suits_winograd() {
        winograd::forward(g, x, kernel, winograd::Direction::Forward, epilogue)
    } else {
        patches::forward(g, x, kernel, epilogue)
    }
}

/// Returns the gradient of the input, `[B, H, W, C]`, from `dy [B, oh, ow, O]`.
pub fn input_gradient<T: Real>(g: &Geometry, dy: &[T], kernel: &[T]) -> Vec<T> {
    assert_eq!(dy.len(), g.batch * g.out_image());
    assert_eq!(kernel.len(), g.out_channels * g.patch());
    match g.rotated() {
        Some(rotated) if rotated.suits_winograd() => winograd::forward(
            &rotated,
            dy,
            kernel,
            winograd::Direction::Rotated,
            Epilogue::bias(None),
        ),
        _ => patches::input_gradient(g, dy, kernel),
    }
}

/// Returns the gradient of the kernel, `[O, C, kh, kw]`, from `dy [B, oh, ow, O]`.
pub fn kernel_gradient<T: Real>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    assert_eq!(x.len(), g.batch * g.in_image());
    assert_eq!(dy.len(), g.batch * g.out_image());
    if g.suits_winograd() {
        winograd::kernel_gradient(g, x, dy)
    } else {
        patches::kernel_gradient(g, x, dy)
    }
}
