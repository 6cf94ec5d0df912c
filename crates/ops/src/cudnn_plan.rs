//! Keys by which cuDNN's algorithms are cached. Without calls to cuDNN, so that they can be tested
//! without a GPU.

use crate::cpu::conv::Geometry;
#[cfg(feature = "cuda")]
use crate::cuda::NumberType;

/// Stand-in for tests without the feature `cuda`.
#[cfg(not(feature = "cuda"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NumberType {
    F64,
    F32,
}

/// Which of images, kernel and outputs is computed from the two others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    /// Outputs.
    Forward,
    /// The gradient of the images.
    Images,
    /// The gradient of the kernel.
    Kernel,
}

/// Memory layout of images and kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// `[B, H, W, C]`, kernels `[O, kh, kw, C]`.
    ChannelsLast,
    /// `[B, C, H, W]`, kernels `[O, C, kh, kw]`.
    Planes,
}

/// Everything that the choice of an algorithm depends on: the cache's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) direction: Direction,
    pub(crate) number_type: NumberType,
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
        number_type: NumberType,
        allows_tf32: bool,
        g: &Geometry,
    ) -> Self {
        Self {
            direction,
            number_type,
            // TF32 concerns f32 only.
            allows_tf32: allows_tf32 && number_type == NumberType::F32,
            stride: g.stride,
            padding: g.padding,
            batch: g.batch,
            channels: [g.in_channels, g.out_channels],
            in_size: g.in_size,
            out_size: g.out_size,
            kernel: g.kernel,
        }
    }

    /// Returns the sizes of images `[B, C, H, W]`, kernel `[O, C, kh, kw]` and outputs
    /// `[B, O, H', W']`. cuDNN takes sizes in this order, whatever the layout.
    pub(crate) fn sizes(&self) -> [[usize; 4]; 3] {
        let [from, to] = self.channels;
        let [[h, w], [oh, ow], [kh, kw]] = [self.in_size, self.out_size, self.kernel];
        [[self.batch, from, h, w], [to, from, kh, kw], [self.batch, to, oh, ow]]
    }

    /// Returns the layouts to try, best first. cuDNN has no channels-last convolutions in `f64`,
    /// and only some in `f32`.
    pub(crate) fn formats(&self) -> impl Iterator<Item = Format> {
        let skipped = usize::from(self.number_type == NumberType::F64);
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
        let key = |direction, number_type, tf32, stride| {
            Key::of(direction, number_type, tf32, &geometry(stride))
        };
        let first = key(Forward, NumberType::F32, false, 1);
        assert_eq!(first, key(Forward, NumberType::F32, false, 1));
        for other in [
            key(Images, NumberType::F32, false, 1),
            key(Kernel, NumberType::F32, false, 1),
            key(Forward, NumberType::F64, false, 1),
            key(Forward, NumberType::F32, true, 1),
            key(Forward, NumberType::F32, false, 2),
        ] {
            assert_ne!(first, other);
        }
        // TF32 concerns f32 only.
        let double = |tf32| key(Forward, NumberType::F64, tf32, 1);
        assert_eq!(double(true), double(false));
    }

    #[test]
    fn sizes_are_batch_channels_height_width() {
        let key = Key::of(Direction::Forward, NumberType::F32, false, &geometry(2));
        assert_eq!(key.sizes(), [[2, 3, 9, 8], [4, 3, 3, 3], [2, 4, 5, 4]]);
    }

    #[test]
    fn doubles_go_by_planes() {
        let formats = |number_type| {
            Key::of(Direction::Forward, number_type, false, &geometry(1))
                .formats()
                .collect::<Vec<_>>()
        };
        assert_eq!(formats(NumberType::F32), [Format::ChannelsLast, Format::Planes]);
        assert_eq!(formats(NumberType::F64), [Format::Planes]);
    }
}
