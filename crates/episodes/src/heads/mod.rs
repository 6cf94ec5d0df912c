//! The built-in adaptation heads and their registry.
//!
//! A new head is a file in this folder and, here, a `mod` line, a [`HeadKind`] and an arm of
//! [`HeadKind::build`]. Configurations (`test.head`), the evaluator's `--head` and its help take
//! their names from the registry.

pub mod finetune;
mod logistic;
mod nearest;
mod prototype;
mod ridge;

use std::sync::Arc;

use fewshot_losses::ClassifierKind;
use strum::{EnumString, IntoStaticStr, VariantArray};

pub use finetune::FineTune;
pub use logistic::Logistic;
pub use nearest::NearestNeighbor;
pub use prototype::Prototype;
pub use ridge::Ridge;

use crate::Head;

/// The built-in heads by name.
#[derive(Clone, Copy, Debug, EnumString, Eq, IntoStaticStr, PartialEq, VariantArray)]
pub enum HeadKind {
    /// [`FineTune`].
    #[strum(serialize = "finetune")]
    FineTune,
    /// [`Prototype`].
    #[strum(serialize = "prototype")]
    Prototype,
    /// [`NearestNeighbor`].
    #[strum(serialize = "nearest")]
    NearestNeighbor,
    /// [`Logistic`].
    #[strum(serialize = "logistic")]
    Logistic,
    /// [`Ridge`].
    #[strum(serialize = "ridge")]
    Ridge,
}

/// Where a head reads its settings from, such as the `[test]` section of a configuration.
pub trait Settings {
    /// An invalid setting.
    type Error;

    /// Returns the whole number `key`, at least `minimum`.
    ///
    /// # Errors
    ///
    /// If its value is anything else.
    fn count(&mut self, key: &str, default: usize, minimum: usize) -> Result<usize, Self::Error>;

    /// Returns the finite number `key`, if `is_valid` accepts it; `expected` says in words what is
    /// valid.
    ///
    /// # Errors
    ///
    /// If its value is anything else.
    fn number(
        &mut self,
        key: &str,
        default: f64,
        expected: &str,
        is_valid: impl FnOnce(f64) -> bool,
    ) -> Result<f64, Self::Error>;
}

impl HeadKind {
    /// All built-in heads, the published one first.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// Returns the name in configurations, results and tables.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns all names as a list in words: `a, b or c`.
    pub fn names() -> String {
        let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }

    /// Builds the head. Fine-tuning trains a classifier of the kind `classifier`.
    ///
    /// # Errors
    ///
    /// The first setting of the head that is invalid.
    pub fn build<S: Settings>(
        self,
        classifier: ClassifierKind,
        settings: &mut S,
    ) -> Result<Arc<dyn Head>, S::Error> {
        Ok(match self {
            Self::FineTune => Arc::new(FineTune::from_settings(classifier, settings)?),
            Self::Prototype => Arc::new(Prototype),
            Self::NearestNeighbor => Arc::new(NearestNeighbor),
            Self::Logistic => Arc::new(Logistic::from_settings(settings)?),
            Self::Ridge => Arc::new(Ridge::from_settings(settings)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Settings that leave everything at its default.
    struct Defaults;

    impl Settings for Defaults {
        type Error = Infallible;

        fn count(&mut self, _: &str, default: usize, _: usize) -> Result<usize, Infallible> {
            Ok(default)
        }

        fn number(
            &mut self,
            _: &str,
            default: f64,
            _: &str,
            is_valid: impl FnOnce(f64) -> bool,
        ) -> Result<f64, Infallible> {
            assert!(is_valid(default));
            Ok(default)
        }
    }

    #[test]
    fn every_head_is_built_by_its_name() {
        for &kind in HeadKind::ALL {
            let Ok(head) = kind.build(ClassifierKind::Softmax, &mut Defaults);
            assert_eq!(head.name(), kind.name());
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!(HeadKind::names(), "finetune, prototype, nearest, logistic or ridge");
        assert!("svm".parse::<HeadKind>().is_err());
    }
}
