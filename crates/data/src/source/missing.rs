//! Absent images of a list.

use crate::Error;

/// Counts the images that a list names but that are absent.
pub(super) struct Missing {
    list: String,
    listed: usize,
    missing: usize,
    first: Option<String>,
}

impl Missing {
    pub(super) fn new(list: String, listed: usize) -> Self {
        Self { list, listed, missing: 0, first: None }
    }

    pub(super) fn add(&mut self, image: &str) {
        self.missing += 1;
        self.first.get_or_insert_with(|| image.to_owned());
    }

    pub(super) fn check(self, allow_partial: bool) -> Result<(), Error> {
        match self.first {
            Some(first) if !allow_partial => Err(Error::MissingImages {
                list: self.list,
                first,
                missing: self.missing,
                listed: self.listed,
            }),
            _ => Ok(()),
        }
    }
}
