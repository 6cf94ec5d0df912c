//! Predicting by how many quarter turns an image was turned, beside its class.

use candle_core::{Result as TensorResult, Tensor};
use candle_nn::{Init, VarBuilder};
use fewshot_ops::linear;

use crate::Error;

/// Number of quarter turns of an image.
const TURNS: usize = 4;

/// Returns square images `[B, C, S, S]`, and behind them those turned by one, two and three quarter turns
/// counterclockwise, `[4·B, C, S, S]`: `torch.rot90` of each.
///
/// # Errors
/// Images that are not square.
pub fn quarter_turns(images: &Tensor) -> Result<Tensor, Error> {
    let (batch, channels, side, width) = images.dims4()?;
    if width != side {
        return Err(Error::NotSquare { height: side, width });
    }
    let planes = images.reshape((batch, channels, side * side))?;
    let mut turned = vec![images.clone()];
    for turns in 1..TURNS {
        let source = |i: usize| {
            let (row, column, last) = (i / side, i % side, side - 1);
            let (row, column) = match turns {
                1 => (column, last - row),
                2 => (last - row, last - column),
                _ => (last - column, row),
            };
            (row * side + column) as u32
        };
        let sources: Vec<u32> = (0..side * side).map(source).collect();
        let sources = Tensor::new(sources, images.device())?;
        turned.push(planes.index_select(&sources, 2)?.reshape(images.dims())?);
    }
    Ok(Tensor::cat(&turned, 0)?)
}

/// The classifier of quarter turns: self-supervision by rotation (Gidaris et al., ICLR 2018), which
/// few-shot methods train beside their classes (Mangla et al., "Charting the Right Manifold", WACV
/// 2020).
#[derive(Clone, Debug)]
pub struct RotationHead {
    weight: Tensor,
    bias: Tensor,
}

impl RotationHead {
    /// Takes `weight [4, D]` and `bias [4]` from `parameters`, or has them drawn from U(-1/√D, 1/√D) as
    /// PyTorch's `Linear` does.
    ///
    /// # Errors
    /// Parameters of another shape.
    pub fn new(features: usize, parameters: VarBuilder) -> Result<Self, Error> {
        let bound = 1.0 / (features.max(1) as f64).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        let weight = parameters.get_with_hints((TURNS, features), "weight", init)?;
        Ok(Self { weight, bias: parameters.get_with_hints(TURNS, "bias", init)? })
    }

    /// Scores `[B, 4]` of the numbers of turns.
    ///
    /// # Errors
    /// Features of another length.
    pub fn scores(&self, features: &Tensor) -> Result<Tensor, Error> {
        Ok(linear(features, &self.weight, Some(&self.bias))?)
    }

    /// The numbers of turns of what [`quarter_turns`] makes of `batch` images, `[4·batch]`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn labels(&self, batch: usize) -> TensorResult<Tensor> {
        let labels: Vec<u32> = (0..TURNS * batch).map(|row| (row / batch) as u32).collect();
        Tensor::new(labels, self.weight.device())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// `numpy.rot90` of `[[0, 1, 2], [3, 4, 5], [6, 7, 8]]`.
    #[test]
    fn images_are_turned_counterclockwise() {
        let image = Tensor::arange(0f32, 9.0, &Device::Cpu).unwrap();
        let images = Tensor::stack(&[&image, &(&image + 10.0).unwrap()], 0).unwrap();
        let turned = quarter_turns(&images.reshape((2, 1, 3, 3)).unwrap()).unwrap();
        assert_eq!(turned.dims(), [8, 1, 3, 3]);
        let turned = turned.reshape((8, 9)).unwrap().to_vec2::<f32>().unwrap();
        let expected = [
            [0., 1., 2., 3., 4., 5., 6., 7., 8.],
            [2., 5., 8., 1., 4., 7., 0., 3., 6.],
            [8., 7., 6., 5., 4., 3., 2., 1., 0.],
            [6., 3., 0., 7., 4., 1., 8., 5., 2.],
        ];
        for (turns, expected) in expected.iter().enumerate() {
            assert_eq!(turned[2 * turns], expected);
            assert_eq!(turned[2 * turns + 1], expected.map(|value| value + 10.0));
        }
        let oblong = Tensor::zeros((1, 3, 4, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(quarter_turns(&oblong).unwrap_err().to_string().contains("4×5"));
    }
}
