use fewshot_pytorch::{Checkpoint, Error, PickleValue};

/// More values than this are not visited: a pickle may hold cycles.
const VISITED: usize = 64;

/// Asks a file for all that it may hold. Whether there is an answer does not matter.
pub fn exercise(bytes: &[u8]) -> Result<(), Error> {
    exercise_all_of(&Checkpoint::from_bytes(bytes)?);
    Ok(())
}

/// The same of a pickle of arrays.
#[allow(dead_code, reason = "each test file uses a part")]
pub fn exercise_pickle(bytes: &[u8]) -> Result<(), Error> {
    exercise_all_of(&Checkpoint::from_pickle(bytes)?);
    Ok(())
}

fn exercise_all_of(checkpoint: &Checkpoint) {
    let mut waiting = vec![checkpoint.root()];
    for _ in 0..VISITED {
        let Some(value) = waiting.pop() else { break };
        ask(&value);
        if let Ok(items) = value.items() {
            waiting.extend(items.take(VISITED));
        }
        if let Ok(entries) = value.entries() {
            waiting.extend(entries.take(VISITED).flat_map(|(key, value)| [key, value]));
        }
    }
}

fn ask(value: &PickleValue<'_>) {
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
