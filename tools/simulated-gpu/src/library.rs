//! Builds the simulated GPU: one library under the names of CUDA's libraries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{root, run};

/// Sources with their compiler options. Convolutions take most of the time and are vectorized.
const SOURCES: [(&str, &[&str]); 7] = [
    ("driver.cpp", &["-O2"]),
    ("launch.cpp", &["-O2"]),
    ("nvrtc.cpp", &["-O2"]),
    ("candle.cpp", &["-O2"]),
    ("cublas.cpp", &["-O2"]),
    ("nccl.cpp", &["-O2"]),
    ("cudnn.cpp", &["-O3", "-march=native", "-ffast-math", "-fno-finite-math-only"]),
];
/// Names of the libraries that it takes the place of.
const NAMES: [&str; 7] = [
    "libcuda.so.1",
    "libnvrtc.so.13",
    "libcurand.so.10",
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcudnn.so.9",
    "libnccl.so.2",
];

/// A simulated GPU that has been built.
pub struct Library {
    folder: PathBuf,
}

impl Library {
    /// Builds the library for `programs`. Functions that they import from CUDA and that the
    /// sources lack become stand-ins that do nothing and return success.
    ///
    /// # Errors
    /// No g++, gcc or nm; a source that does not compile; files that cannot be written.
    pub fn build(programs: &[PathBuf]) -> Result<Self, String> {
        let folder = std::path::absolute(root().join("target/simulated-gpu"));
        let library = Self { folder: folder.map_err(|e| e.to_string())? };
        let Self { folder } = &library;
        let libraries = folder.join("lib");
        if libraries.exists() {
            std::fs::remove_dir_all(&libraries)
                .map_err(|e| format!("cannot empty {}: {e}", libraries.display()))?;
        }
        for folder in [&libraries, &library.kernels()] {
            std::fs::create_dir_all(folder)
                .map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
        }
        let mut objects = Vec::new();
        for (source, options) in SOURCES {
            let object = folder.join(source).with_extension("o");
            let mut compiler = Command::new("g++");
            compiler.args(["-std=c++17", "-fPIC", "-Wall", "-c"]).args(options);
            compiler.arg("-o").arg(&object).arg(sources().join(source));
            run(source, &mut compiler)?;
            objects.push(object);
        }
        objects.push(stand_ins(folder, &objects, programs)?);
        // Hard links rather than copies: each copy would have its own memory of allocations.
        let library_file = libraries.join(NAMES[0]);
        let mut linker = Command::new("g++");
        linker.args(["-shared", "-o"]).arg(&library_file).args(&objects).arg("-ldl");
        run("the simulated GPU", &mut linker)?;
        for name in &NAMES[1..] {
            std::fs::hard_link(&library_file, libraries.join(name))
                .map_err(|e| format!("cannot link {name}: {e}"))?;
        }
        Ok(library)
    }

    /// Sets the environment in which `command` finds two simulated GPUs instead of real ones.
    ///
    /// # Errors
    /// A folder whose name cannot stand in LD_LIBRARY_PATH.
    pub fn enter(&self, command: &mut Command) -> Result<(), String> {
        let mut libraries = vec![self.folder.join("lib")];
        let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
        libraries.extend(homes.map(|home| Path::new(&home).join("lib64")));
        let path = std::env::join_paths(libraries).map_err(|e| e.to_string())?;
        command.env("LD_LIBRARY_PATH", path).env("SIMULATED_GPUS", "2");
        command.env("SIMULATED_GPU_SHIM", sources().join("shim.h"));
        command.env("SIMULATED_GPU_CACHE", self.kernels());
        Ok(())
    }

    /// Folder of compiled kernels.
    fn kernels(&self) -> PathBuf {
        self.folder.join("kernels")
    }
}

/// Folder of the C++ sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cpp")
}

/// Compiles stand-ins for the functions of CUDA that `programs` import and `objects` lack.
fn stand_ins(folder: &Path, objects: &[PathBuf], programs: &[PathBuf]) -> Result<PathBuf, String> {
    let defined = symbols(objects, &["--defined-only"])?;
    let imported = symbols(programs, &["--dynamic", "--undefined-only"])?;
    let is_of_cuda = |name: &&String| {
        let prefixes = ["cublas", "cudnn", "curand", "nvrtc", "nccl"];
        let is_of_driver =
            name.strip_prefix("cu").is_some_and(|rest| rest.starts_with(char::is_uppercase));
        is_of_driver || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    let missing = imported.difference(&defined).filter(is_of_cuda);
    let source: String =
        missing.map(|name| format!("int {name}(void) {{ return 0; }}\n")).collect();
    let file = folder.join("stand-ins.c");
    std::fs::write(&file, source).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    let object = folder.join("stand-ins.o");
    // Without warnings about names that the compiler knows with other types.
    let mut compiler = Command::new("gcc");
    compiler.args(["-fPIC", "-w", "-c", "-o"]).arg(&object).arg(&file);
    run("stand-ins", &mut compiler)?;
    Ok(object)
}

/// Returns the symbols that `nm` lists.
fn symbols(files: &[PathBuf], options: &[&str]) -> Result<BTreeSet<String>, String> {
    let output = Command::new("nm").args(options).args(files).output();
    let output = output.map_err(|e| format!("cannot run nm: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let name = |line: &str| {
        let name = line.split_whitespace().last()?;
        Some(name.split('@').next().unwrap_or(name).to_owned())
    };
    Ok(text.lines().filter_map(name).collect())
}
