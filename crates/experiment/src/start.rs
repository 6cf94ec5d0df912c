//! Set-up of a process that computes.

use crate::Error;

/// Variable that selects a smaller instruction set than the machine's, to repeat the results of
/// another machine.
const INSTRUCTION_SET: &str = "FEWSHOT_INSTRUCTION_SET";

/// Prepares this process for computing: freed memory is kept for the next step, and kernels run
/// with the instruction set that `FEWSHOT_INSTRUCTION_SET` names, if it is set. Binaries call it
/// first.
///
/// # Errors
/// An instruction set that does not exist, or that this machine lacks.
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
