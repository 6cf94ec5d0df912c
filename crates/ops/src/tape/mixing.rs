//! Images of a batch that are mixed with one another within a network.

use candle_core::{Device, Result, Tensor, bail};

use super::{Tape, TapeTensor};

/// What manifold mixup (Verma et al., ICML 2019) does to a batch: at one place of the network, the value
/// `x` of each image becomes `share · x + (1 - share) · x'`, where `x'` is another image's.
#[derive(Clone, Debug)]
pub struct Mixing {
    place: usize,
    share: f64,
    /// Which image each is mixed with, `[B]`.
    order: Tensor,
    /// The inverse of that permutation.
    inverse: Tensor,
}

impl Mixing {
    /// Mixes at the [`mixing_place`](Tape::mixing_place) of number `place`, counted from 0, image `i`
    /// with image `order[i]`.
    ///
    /// # Errors
    /// An `order` that is no permutation; a share outside [0, 1].
    pub fn new(place: usize, share: f64, order: &[u32], device: &Device) -> Result<Self> {
        let mut inverse = vec![u32::MAX; order.len()];
        for (to, &from) in (0..).zip(order) {
            match inverse.get_mut(from as usize) {
                Some(entry @ &mut u32::MAX) => *entry = to,
                _ => bail!("mixing: {order:?} is no permutation"),
            }
        }
        if !(0.0..=1.0).contains(&share) {
            bail!("mixing: share {share}, expected a number in [0, 1]")
        }
        let inverse = Tensor::from_vec(inverse, order.len(), device)?;
        Ok(Self { place, share, order: Tensor::new(order, device)?, inverse })
    }

    /// The share of each image itself.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Which image each is mixed with, `[B]` of `u32`.
    pub fn order(&self) -> &Tensor {
        &self.order
    }

    /// Mixes rows `[B, …]` with those in another order.
    fn mix(&self, x: &Tensor, order: &Tensor) -> Result<Tensor> {
        let others = x.index_select(order, 0)?;
        x.affine(self.share, 0.0)? + others.affine(1.0 - self.share, 0.0)?
    }
}

impl Tape {
    /// Marks a place at which images may be mixed: before a network's first layer, and between its
    /// stages. It returns what it is given unless the tape's context
    /// [mixes](super::TapeContext::with_mixing) there.
    ///
    /// # Errors
    /// A batch of another size than the mixing's order.
    pub fn mixing_place(&mut self, x: TapeTensor) -> Result<TapeTensor> {
        let place = self.mixing_places;
        self.mixing_places += 1;
        let mixing = self.context.mixing().filter(|mixing| mixing.place == place).cloned();
        let Some(mixing) = mixing else { return Ok(x) };
        if x.dims()[0] != mixing.order.elem_count() {
            bail!("mixing: {:?} with an order of {}", x.dims(), mixing.order.elem_count())
        }
        let mixed = mixing.mix(&x.tensor, &mixing.order)?;
        let x = x.layer;
        Ok(self.record_layer(mixed, x.is_some(), move |dy, gradients| {
            gradients.add(x, mixing.mix(&dy, &mixing.inverse)?)
        }))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::*;
    use crate::TapeContext;

    const ORDER: [u32; 3] = [2, 0, 1];

    /// A loss of images that are squared after they were mixed at place 1.
    fn loss(images: &Tensor, place: usize) -> (Tensor, TapeContext) {
        let mixing = Mixing::new(place, 0.3, &ORDER, images.device()).unwrap();
        let context = TapeContext::new().with_mixing(mixing);
        let mut tape = Tape::with_context(&context);
        let x = tape.input(images).unwrap();
        let x = tape.mixing_place(x).unwrap();
        let x = tape.add(&x, &x).unwrap();
        let x = tape.mixing_place(x).unwrap();
        let weights = Tensor::arange(0f64, 12.0, images.device()).unwrap();
        let y = tape.finish(x).unwrap().flatten_all().unwrap();
        ((y.sqr().unwrap() * weights).unwrap().sum_all().unwrap(), context)
    }

    #[test]
    fn values_and_gradients_are_those_of_the_formula() {
        let device = &Device::Cpu;
        let values: Vec<f64> = (0..12).map(|i| f64::from(i * i % 7) - 2.5).collect();
        let images = Tensor::from_vec(values.clone(), (3, 1, 2, 2), device).unwrap();
        let images = Var::from_tensor(&images).unwrap();
        for place in [0, 1] {
            let (loss_of_images, context) = loss(&images, place);
            let mixed = |i: usize| {
                let other = ORDER[i / 4] as usize * 4 + i % 4;
                2.0 * (0.3 * values[i] + 0.7 * values[other])
            };
            let expected: f64 = (0..12).map(|i| i as f64 * mixed(i).powi(2)).sum();
            assert!((loss_of_images.to_scalar::<f64>().unwrap() - expected).abs() < 1e-9);
            let gradients = context.backward(&loss_of_images).unwrap();
            let gradient = gradients.get(&images).unwrap().flatten_all().unwrap();
            let gradient = gradient.to_vec1::<f64>().unwrap();
            for (i, gradient) in gradient.into_iter().enumerate() {
                let at = |by: f64| {
                    let mut moved = values.clone();
                    moved[i] += by;
                    let moved = Tensor::from_vec(moved, (3, 1, 2, 2), device).unwrap();
                    loss(&moved, place).0.to_scalar::<f64>().unwrap()
                };
                let expected = (at(1e-4) - at(-1e-4)) / 2e-4;
                assert!((gradient - expected).abs() < 1e-6, "{place}: {gradient} {expected}");
            }
        }
    }

    #[test]
    fn what_is_no_mixing_is_refused() {
        let new = |share, order: &[u32]| Mixing::new(0, share, order, &Device::Cpu);
        assert!(new(0.5, &[1, 0]).is_ok());
        for (share, order) in [(0.5, &[1, 1][..]), (0.5, &[0, 2]), (1.5, &[0]), (f64::NAN, &[0])] {
            assert!(new(share, order).is_err(), "{share} {order:?}");
        }
        let context = TapeContext::new().with_mixing(new(0.5, &[1, 0]).unwrap());
        let mut tape = Tape::with_context(&context);
        let images = Tensor::zeros((3, 1, 2, 2), DType::F32, &Device::Cpu).unwrap();
        let images = tape.input(&images).unwrap();
        assert!(tape.mixing_place(images).is_err());
    }
}
