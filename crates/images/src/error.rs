//! What can be wrong with an image or with a parameter of a transform.

/// An image cannot be decoded: it is damaged, of a kind that is not read, or beyond a limit.
///
/// Does not name the image, whose file only the caller knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken image: {reason}")]
pub struct DecodeError {
    /// What is wrong with it.
    pub reason: String,
}

impl From<String> for DecodeError {
    fn from(reason: String) -> Self {
        Self { reason }
    }
}

/// A parameter is outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value}; expected {expected}")]
pub struct ParameterError {
    /// The parameter.
    pub name: &'static str,
    /// The value given.
    pub value: String,
    /// The values accepted.
    pub expected: String,
}

impl ParameterError {
    /// An error about the parameter `name`.
    pub fn new(
        name: &'static str,
        value: impl std::fmt::Debug,
        expected: impl Into<String>,
    ) -> Self {
        Self { name, value: format!("{value:?}"), expected: expected.into() }
    }
}
