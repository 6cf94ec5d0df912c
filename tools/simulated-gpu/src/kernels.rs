//! Compiles the kernels with nvcc, as NVRTC does at run time.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{root, run};

/// Compiles the kernels for each number type and each of `capabilities`.
///
/// # Errors
/// nvcc is not found, or refuses a kernel.
pub fn compile_all(capabilities: &[u16]) -> Result<(), String> {
    let nvcc = nvcc()?;
    println!("== kernels: {}", nvcc.display());
    for &capability in capabilities {
        for bits in [16, 32, 64] {
            compile(&nvcc, capability, bits)?;
        }
    }
    Ok(())
}

/// Finds nvcc.
fn nvcc() -> Result<PathBuf, String> {
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    let homes = homes.map(|home| Path::new(&home).join("bin/nvcc"));
    let mut candidates = homes.chain([PathBuf::from("nvcc")]);
    let runs = |nvcc: &PathBuf| {
        Command::new(nvcc).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    candidates.find(runs).ok_or_else(|| {
        "nvcc is not found in CUDA_HOME, CUDA_PATH or the PATH: nothing was checked; install \
         NVIDIA's CUDA toolkit (no GPU is needed)"
            .to_owned()
    })
}

/// Returns the kernels' sources: the header first, then those that include nothing but it.
fn sources() -> Result<Vec<PathBuf>, String> {
    let folder = root().join("crates/ops/src/cuda/kernels");
    let unreadable = |e| format!("cannot read {}: {e}", folder.display());
    let entries = std::fs::read_dir(&folder).map_err(unreadable)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<_> = paths.collect::<Result<_, _>>().map_err(unreadable)?;
    paths.sort_by_key(|path| (path.extension() != Some("cuh".as_ref()), path.clone()));
    Ok(paths)
}

/// Compiles the kernels for one number type and one compute capability.
fn compile(nvcc: &Path, capability: u16, bits: u8) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let mut source = format!("#define NUMBER_BITS {bits}\n");
    for path in sources()? {
        source += &std::fs::read_to_string(&path)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    }
    let path = folder.path().join("kernels.cu");
    std::fs::write(&path, source).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let mut command = Command::new(nvcc);
    command.arg(format!("-arch=sm_{capability}"));
    command.args(["-std=c++17", "-cubin", "-Werror", "all-warnings"]);
    command.arg("-o").arg(folder.path().join("kernels.cubin")).arg(&path);
    run(&format!("kernels for {bits}-bit numbers on sm_{capability}"), &mut command)?;
    println!("{bits}-bit numbers, sm_{capability}: compiled");
    Ok(())
}
