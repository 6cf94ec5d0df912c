//! How far a training has come.

use serde::{Deserialize, Serialize};

/// Progress of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingState {
    /// Number of complete epochs.
    pub epochs: usize,
    /// Number of complete batches of the current epoch, those included of which every image was
    /// broken; other than 0 only after an interruption.
    pub steps: usize,
    /// Sum of the losses of this epoch's images so far.
    #[serde(with = "exact")]
    pub loss_sum: f64,
    /// Number of images of this epoch so far that were classified correctly.
    pub correct: usize,
    /// Number of images of this epoch so far.
    pub seen: usize,
    /// As `loss_sum`, of the scores without margin.
    #[serde(with = "exact")]
    pub plain_loss_sum: f64,
    /// As `correct`, by the scores without margin.
    pub plain_correct: usize,
    /// Number of images that these two are of: fewer than `seen` where an earlier version, which
    /// did not keep them, began the epoch.
    pub plain_seen: usize,
    /// Number of images of this epoch so far that were skipped as broken.
    pub skipped: usize,
    /// Number of training images within an epoch, by which a resumed run knows that the rest of the
    /// epoch is still the same; 0 after a complete one.
    #[serde(skip_serializing_if = "is_zero")]
    pub images: usize,
    /// Best validation accuracy so far, in percent.
    #[serde(with = "exact")]
    pub best_accuracy: Option<f64>,
    /// Number of complete epochs when it was reached: that of the checkpoint `best`.
    pub best_epochs: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Numbers that are the same to the last bit when they are read again, as a run that goes on needs
/// them. serde_json rounds some numbers of many digits to a neighbour (its feature `float_roundtrip`,
/// which would be switched on for all crates, does not): those are written as text.
mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use serde_json::Value;

    /// `f64`, or perhaps one.
    pub(super) trait Number: Copy {
        fn to_option(self) -> Option<f64>;
        fn from_option(number: Option<f64>) -> Option<Self>;
    }

    impl Number for f64 {
        fn to_option(self) -> Option<f64> {
            Some(self)
        }
        fn from_option(number: Option<f64>) -> Option<Self> {
            number
        }
    }

    impl Number for Option<f64> {
        fn to_option(self) -> Option<f64> {
            self
        }
        fn from_option(number: Option<f64>) -> Option<Self> {
            Some(number)
        }
    }

    pub(super) fn serialize<N: Number, S: Serializer>(number: &N, s: S) -> Result<S::Ok, S::Error> {
        let number = number.to_option();
        let read_again = |n: f64| serde_json::from_str(&Value::from(n).to_string()).ok();
        match number.filter(|&n| read_again(n) != Some(n)) {
            Some(number) => number.to_string().serialize(s),
            None => number.serialize(s),
        }
    }

    pub(super) fn deserialize<'de, N: Number, D: Deserializer<'de>>(d: D) -> Result<N, D::Error> {
        let value = Value::deserialize(d)?;
        let number = match &value {
            Value::Null => None,
            Value::String(text) => Some(text.parse().map_err(D::Error::custom)?),
            value => Some(value.as_f64().ok_or_else(|| D::Error::custom("not a number"))?),
        };
        N::from_option(number).ok_or_else(|| D::Error::custom("no number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers as the sums of losses are, of which serde_json alone would round some.
    #[test]
    fn the_state_is_read_as_it_was_to_the_last_bit() {
        let mut texts = 0;
        for number in (1..20_000).map(|n| f64::from(n) / 7.0 + f64::from(n * n) * 1e-7) {
            let state = TrainingState {
                loss_sum: number,
                best_accuracy: Some(-number),
                ..TrainingState::default()
            };
            let json = serde_json::to_string(&state).unwrap();
            texts += usize::from(json.contains("\"loss_sum\":\""));
            let read: TrainingState = serde_json::from_str(&json).unwrap();
            assert_eq!(read.loss_sum.to_bits(), number.to_bits(), "{json}");
            assert_eq!(read, state);
        }
        assert!(texts > 0, "none that serde_json would round was tried");
        // As all earlier checkpoints have them.
        let read = r#"{"epochs":2,"loss_sum":1.5,"best_accuracy":null}"#;
        let read: TrainingState = serde_json::from_str(read).unwrap();
        assert_eq!((read.epochs, read.loss_sum, read.best_accuracy), (2, 1.5, None));
    }
}
