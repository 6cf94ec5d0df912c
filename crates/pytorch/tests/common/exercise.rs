//! Reads every value of a file, for tests of hostile files and for fuzzing.

use fewshot_pytorch::{Checkpoint, Error, PickleValue};

/// Most values that are visited: a pickle may have cycles.
const MAX_VISITED: usize = 64;

/// Calls every accessor on the values of a checkpoint. Whether they succeed does not matter.
pub fn exercise(bytes: &[u8]) -> Result<(), Error> {
    exercise_values(&Checkpoint::from_bytes(bytes)?);
    Ok(())
}

/// The same for a pickle of arrays.
#[allow(dead_code, reason = "each test file uses a part")]
pub fn exercise_pickle(bytes: &[u8]) -> Result<(), Error> {
    exercise_values(&Checkpoint::from_pickle(bytes)?);
    Ok(())
}

fn exercise_values(checkpoint: &Checkpoint) {
    let mut pending = vec![checkpoint.root()];
    for _ in 0..MAX_VISITED {
        let Some(value) = pending.pop() else { break };
        call_accessors(&value);
        if let Ok(items) = value.items() {
            pending.extend(items.take(MAX_VISITED));
        }
        if let Ok(entries) = value.entries() {
            pending.extend(entries.take(MAX_VISITED).flat_map(|(key, value)| [key, value]));
        }
    }
}

fn call_accessors(value: &PickleValue<'_>) {
    let _ = (value.is_none(), value.as_bool(), value.as_int(), value.as_float());
    let _ = (value.as_str(), value.as_bytes(), value.get("state"), format!("{value:?}"));
    if let Ok(array) = value.array() {
        let read = std::io::copy(&mut array.reader(), &mut std::io::sink()).unwrap();
        let count: usize = array.shape().iter().product();
        let size = array.type_name()[1..].parse::<usize>().unwrap();
        assert_eq!(read, (count * size) as u64);
    }
    for tensor in
        value.tensor().into_iter().chain(value.tensors().into_iter().flat_map(|t| t.into_values()))
    {
        assert!(tensor.is_contiguous());
    }
}
