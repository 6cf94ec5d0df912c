use fewshot_pytorch::{Checkpoint, Error, Value};

/// More values than this are not visited: a pickle may hold cycles.
const VISITED: usize = 64;

/// Asks a file for all that it may hold. Whether there is an answer does not matter.
pub fn exercise(bytes: &[u8]) -> Result<(), Error> {
    let checkpoint = Checkpoint::from_bytes(bytes)?;
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
    Ok(())
}

fn ask(value: &Value<'_>) {
    let _ = (value.is_none(), value.as_bool(), value.as_int(), value.as_float());
    let _ = (value.as_str(), value.as_bytes(), value.get("state"), format!("{value:?}"));
    for tensor in
        value.tensor().into_iter().chain(value.tensors().into_iter().flat_map(|t| t.into_values()))
    {
        assert!(tensor.is_contiguous());
    }
}
