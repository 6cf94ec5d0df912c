//! What a program that computes does first.

use crate::Error;

/// Names an instruction set that is less than the machine's, to repeat another's results.
const INSTRUCTION_SET: &str = "FEWSHOT_INSTRUCTION_SET";

/// Keeps freed memory for the next step, and makes sure that kernels run with the instruction
/// set that the environment asks for, if it does.
///
/// # Errors
/// An instruction set that there is not, or that this machine lacks.
pub fn start() -> Result<(), Error> {
    fewshot_ops::keep_freed_memory();
    match std::env::var(INSTRUCTION_SET) {
        Ok(got) if got != fewshot_ops::instruction_set() => Err(Error::Value {
            key: INSTRUCTION_SET.to_owned(),
            got,
            expected: format!(
                "portable, avx2 or avx512, and what this machine has (this: {})",
                fewshot_ops::instruction_set()
            ),
        }),
        _ => Ok(()),
    }
}
