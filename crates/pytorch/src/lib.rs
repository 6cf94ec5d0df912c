//! PyTorch checkpoints, read without executing anything.
//!
//! A file of `torch.save` is a pickle: a program that builds objects, and that may call
//! whatever function it names. This crate runs that program on a machine which can build
//! nothing but tensors, numpy's arrays, numbers, strings, bytes, booleans, `None`, lists, tuples
//! and dicts. Every other class or function is refused by its name.
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
//! Both formats are taken, told apart by their content: the *zip* archive that PyTorch writes
//! since 1.6, and the *legacy* sequence of pickles before it. candle's own reader knows the
//! zip format only, keeps calls to any function as plain objects, and copies and drops nested
//! objects recursively; generic pickle crates know neither of PyTorch's storages nor how much
//! of a hostile file to believe.
//!
//! A pickle of numpy's arrays alone, as datasets are passed around, is read in the same way by
//! [`Checkpoint::from_pickle`].
//!
//! # Limits
//!
//! Reading takes memory in proportion to the file, however its objects refer to each other.
//! Tensors are made only when asked for. As a tensor may claim many elements of few bytes (an
//! expanded one has stride 0), the tensors of one call may take 8 times the size of the file
//! or 16 MiB, whichever is more, counting 1 KiB for each of them beside its elements.

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
pub use value::PickleValue;
