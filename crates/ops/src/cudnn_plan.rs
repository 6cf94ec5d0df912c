//! What tells one convolution from another where algorithms are cached: arithmetic that is tested
//! without a GPU.

use crate::cpu::conv::Geometry;
#[cfg(feature = "cuda")]
use crate::cuda::Numbers;

/// Without the feature, for tests.
#[cfg(not(feature = "cuda"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Numbers {
    Double,
    Single,
}

/// What is computed from the two others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    /// Outputs.
    Forward,
    /// The gradient of the images.
    Images,
    /// The gradient of the kernel.
    Kernel,
}

/// How the numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// `[B, H, W, C]`, kernels `[O, kh, kw, C]`.
    ChannelsLast,
    /// `[B, C, H, W]`, kernels `[O, C, kh, kw]`.
    Planes,
}

/// Everything that the choice of an algorithm depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) direction: Direction,
    pub(crate) numbers: Numbers,
    pub(crate) allows_tf32: bool,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    batch: usize,
    channels: [usize; 2],
    in_size: [usize; 2],
    out_size: [usize; 2],
    kernel: [usize; 2],
}

impl Key {
    pub(crate) fn of(
        direction: Direction,
        numbers: Numbers,
        allows_tf32: bool,
        g: &Geometry,
    ) -> Self {
        Self {
            direction,
            numbers,
            // Nothing else asks.
            allows_tf32: allows_tf32 && numbers == Numbers::Single,
            stride: g.stride,
            padding: g.padding,
            batch: g.batch,
            channels: [g.in_channels, g.out_channels],
            in_size: g.in_size,
            out_size: g.out_size,
            kernel: g.kernel,
        }
    }

    /// Images `[B, C, H, W]`, kernel `[O, C, kh, kw]` and outputs `[B, O, H', W']`: cuDNN takes
    /// sizes in this order in every layout.
    pub(crate) fn sizes(&self) -> [[usize; 4]; 3] {
        let [from, to] = self.channels;
        let [[h, w], [oh, ow], [kh, kw]] = [self.in_size, self.out_size, self.kernel];
        [[self.batch, from, h, w], [to, from, kh, kw], [self.batch, to, oh, ow]]
    }

    /// The layouts to try. cuDNN has no channels-last convolutions of doubles, and not all of
    /// floats.
    pub(crate) fn formats(&self) -> impl Iterator<Item = Format> {
        let skipped = usize::from(self.numbers == Numbers::Double);
        [Format::ChannelsLast, Format::Planes].into_iter().skip(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(stride: usize) -> Geometry {
        Geometry::new(&[2, 9, 8, 3], &[4, 3, 3, 3], stride, 1).unwrap()
    }

    #[test]
    fn keys_tell_apart_what_matters() {
        use Direction::{Forward, Images, Kernel};
        let key =
            |direction, numbers, tf32, stride| Key::of(direction, numbers, tf32, &geometry(stride));
        let first = key(Forward, Numbers::Single, false, 1);
        assert_eq!(first, key(Forward, Numbers::Single, false, 1));
        for other in [
            key(Images, Numbers::Single, false, 1),
            key(Kernel, Numbers::Single, false, 1),
            key(Forward, Numbers::Double, false, 1),
            key(Forward, Numbers::Single, true, 1),
            key(Forward, Numbers::Single, false, 2),
        ] {
            assert_ne!(first, other);
        }
        // TF32 is a matter of floats alone.
        let double = |tf32| key(Forward, Numbers::Double, tf32, 1);
        assert_eq!(double(true), double(false));
    }

    #[test]
    fn sizes_are_batch_channels_height_width() {
        let key = Key::of(Direction::Forward, Numbers::Single, false, &geometry(2));
        assert_eq!(key.sizes(), [[2, 3, 9, 8], [4, 3, 3, 3], [2, 4, 5, 4]]);
    }

    #[test]
    fn doubles_go_by_planes() {
        let formats = |numbers| {
            Key::of(Direction::Forward, numbers, false, &geometry(1)).formats().collect::<Vec<_>>()
        };
        assert_eq!(formats(Numbers::Single), [Format::ChannelsLast, Format::Planes]);
        assert_eq!(formats(Numbers::Double), [Format::Planes]);
    }
}
