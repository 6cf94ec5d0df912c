//! Safetensors files.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use fewshot_pytorch::Budget;
use safetensors::SafeTensors;

use super::{METADATA_KEY, Tensors};
use crate::{Error, write_atomically};

/// Longest header in bytes. A network of thousands of tensors has some hundred thousand.
const MAX_HEADER: u64 = 4 << 20;

/// Writes tensors as safetensors, to a temporary file that is renamed to `path`.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &Tensors,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), Error> {
    let on_cpu =
        |(name, tensor): (&String, &Tensor)| Ok((name.clone(), tensor.to_device(&Device::Cpu)?));
    let tensors: Tensors = tensors.iter().map(on_cpu).collect::<Result<_, Error>>()?;
    let bytes =
        safetensors::serialize(&tensors, metadata).map_err(|e| Error::checkpoint(path, e))?;
    write_atomically(path, &bytes)
}

/// Reads what a safetensors file's metadata says of its run, if it does.
pub(crate) fn read_metadata(path: &Path, bytes: &[u8]) -> Result<Option<String>, Error> {
    check_header(path, bytes)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| Error::checkpoint(path, e))?;
    Ok(header.metadata().as_ref().and_then(|fields| fields.get(METADATA_KEY)).cloned())
}

/// Reads the tensors of a safetensors file, within the memory that a file of PyTorch may take.
pub(crate) fn read_tensors(path: &Path, bytes: &[u8]) -> Result<Tensors, Error> {
    check_header(path, bytes)?;
    let parsed = SafeTensors::deserialize(bytes).map_err(|e| Error::checkpoint(path, e))?;
    let mut budget = Budget::of_file(bytes.len());
    let mut tensors = Tensors::new();
    for (name, view) in parsed.iter() {
        let bad = |reason: String| {
            let name: String = name.chars().take(100).collect();
            Error::checkpoint(path, format!("tensor `{name}`: {reason}"))
        };
        budget.reserve_tensor(view.data().len() as u64).map_err(bad)?;
        let dtype = DType::try_from(view.dtype()).map_err(|e| bad(e.to_string()))?;
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// Refuses a header that would take long to read, and much memory.
fn check_header(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    // What is shorter, or says that it is longer than the file, the parser refuses at once.
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if length <= MAX_HEADER || length > bytes.len() as u64 {
        return Ok(());
    }
    let reason = format!(
        "its header has {length} bytes, more than the {MAX_HEADER} that any network takes: it is no \
         checkpoint of one"
    );
    Err(Error::checkpoint(path, reason))
}
