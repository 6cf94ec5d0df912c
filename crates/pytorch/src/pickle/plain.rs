//! A builder for pickles of plain data.

use std::convert::Infallible;

use super::{Arena, Builder, Id};

/// Refuses everything but plain data.
pub(crate) struct PlainData;

impl Builder for PlainData {
    type Object = Infallible;

    fn global(&mut self, _: &str, _: &str) -> Option<Infallible> {
        None
    }

    fn call(&mut self, _: Id, _: Id, _: &mut Arena<Infallible>) -> Result<Id, String> {
        Err("a call; expected plain data".into())
    }

    fn set_state(&mut self, _: Id, _: Id, _: &mut Arena<Infallible>) -> Result<(), String> {
        Err("an object's state; expected plain data".into())
    }

    fn persistent(&mut self, _: Id, _: &mut Arena<Infallible>) -> Result<Id, String> {
        Err("a persistent id; expected plain data".into())
    }
}
