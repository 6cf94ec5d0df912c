use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Which classes (and for [`Split::BaseVal`], which images) of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    pub const VARIANTS: [Self; 5] = [Self::Base, Self::BaseVal, Self::Val, Self::Novel, Self::All];

    /// The split's name, as [`FromStr`] takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::BaseVal => "base-val",
            Self::Val => "val",
            Self::Novel => "novel",
            Self::All => "all",
        }
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

    /// The disjoint class splits that make up this one.
    pub(crate) fn parts(self) -> Vec<Self> {
        match self {
            Self::All => vec![Self::Base, Self::Val, Self::Novel],
            one => vec![one],
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::VARIANTS
            .into_iter()
            .find(|split| split.as_str() == name)
            .ok_or_else(|| Error::parameter("split", name, "base, base-val, val, novel or all"))
    }
}

#[cfg(test)]
mod tests {
    use super::Split;

    #[test]
    fn names_come_back() {
        for split in Split::VARIANTS {
            assert_eq!(split.to_string().parse::<Split>().unwrap(), split);
        }
        assert!("test".parse::<Split>().is_err());
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
