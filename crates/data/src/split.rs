//! The splits of a source.

use strum::{VariantArray, VariantNames};

use crate::Error;

/// A subset of a source's classes, or for [`Split::BaseVal`] of the images of its base classes.
///
/// Its name, as in `base-val`, is what [`Display`](std::fmt::Display) and
/// [`FromStr`](std::str::FromStr) convert.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[strum(serialize_all = "kebab-case", parse_err_ty = Error, parse_err_fn = unknown)]
pub enum Split {
    /// The classes that a backbone is trained on.
    Base,
    /// Held-out images of the base classes.
    BaseVal,
    /// The classes that models are chosen on.
    Val,
    /// The classes that results are reported on.
    Novel,
    /// Every class of the source.
    All,
}

impl Split {
    /// Every split.
    pub const VARIANTS: &'static [Self] = <Self as VariantArray>::VARIANTS;
    /// The name of each split, in the order of [`Self::VARIANTS`].
    pub const NAMES: &'static [&'static str] = <Self as VariantNames>::VARIANTS;

    /// Returns the split's name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the published CUB rule gives this split the class at `index` from 0: even to
    /// base, 1 modulo 4 to val, 3 modulo 4 to novel.
    pub(crate) fn holds_class(self, index: usize) -> bool {
        match self {
            Self::Base => index.is_multiple_of(2),
            Self::Val => index % 4 == 1,
            Self::Novel => index % 4 == 3,
            Self::All => true,
            Self::BaseVal => false,
        }
    }

    /// Returns the disjoint sets of classes that make up this split.
    pub(crate) fn parts(self) -> Vec<Self> {
        match self {
            Self::All => vec![Self::Base, Self::Val, Self::Novel],
            one => vec![one],
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::parameter("split", name, format!("one of {}", Split::NAMES.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::Split;

    #[test]
    fn names_come_back() {
        for split in Split::VARIANTS {
            assert_eq!(split.to_string().parse::<Split>().unwrap(), *split);
        }
        let error = "test".parse::<Split>().unwrap_err().to_string();
        assert!(error.contains("base, base-val, val, novel, all"), "{error}");
    }

    #[test]
    fn cub_rule_puts_each_class_into_one_split() {
        let splits: Vec<_> = (0..8)
            .map(|index| {
                let holders: Vec<_> = Split::All
                    .parts()
                    .into_iter()
                    .filter(|split| split.holds_class(index))
                    .collect();
                assert_eq!(holders.len(), 1);
                holders[0]
            })
            .collect();
        use Split::{Base, Novel, Val};
        assert_eq!(splits, [Base, Val, Base, Novel, Base, Val, Base, Novel]);
    }
}
