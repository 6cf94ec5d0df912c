//! PyTorch checkpoints, read without executing anything.
//!
//! A file of `torch.save` is a pickle: a program that builds objects and may call any function
//! that it names. This crate runs that program on a machine that can build nothing but tensors,
//! numpy arrays, numbers, strings, bytes, booleans, `None`, lists, tuples and dicts. Any other
//! class or function is refused, with its name in the error.
//!
//! ```
//! use fewshot_pytorch::Checkpoint;
//!
//! # fn main() -> Result<(), fewshot_pytorch::Error> {
//! let checkpoint = Checkpoint::read("tests/fixtures/published_legacy.tar")?;
//! let root = checkpoint.root();
//! assert_eq!(root.get("epoch")?.as_int()?, 7);
//! assert_eq!(root.get("best_acc")?.as_float()?, 0.625);
//!
//! let state = root.get("state")?.tensors()?;
//! assert_eq!(state["layer.weight"].dims(), [2, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! Both formats are read, recognized by their content: the *zip* archive that PyTorch has written
//! since version 1.6, and the *legacy* sequence of pickles before it. candle's own reader supports
//! the zip format only, keeps calls to any function as plain objects, and copies and drops nested
//! objects recursively. Generic pickle crates support neither PyTorch's storages nor limits for
//! hostile files.
//!
//! A plain pickle of numpy arrays, a common form of datasets, is read in the same way by
//! [`Checkpoint::from_pickle`].
//!
//! # Limits
//!
//! Reading takes memory in proportion to the size of the file, however its objects refer to each
//! other. Tensors are built only when asked for. Since a tensor may have many elements of few bytes
//! (an expanded one has stride 0), the tensors of one call may take 8 times the size of the file
//! or 16 MiB, whichever is more, counting 1 KiB for each of them in addition to its elements.

#![forbid(unsafe_code)]

mod array;
mod checkpoint;
mod error;
mod pickle;
mod tensor;
mod torch;
mod value;

pub use array::Array;
pub use checkpoint::Checkpoint;
pub use error::Error;
pub use tensor::Budget;
pub use value::PickleValue;
