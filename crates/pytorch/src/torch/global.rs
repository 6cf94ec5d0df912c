//! Classes and functions that a checkpoint may name.

use super::storage::ElementType;

/// An allowed class or function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Global {
    OrderedDict,
    Size,
    Storage(ElementType),
    RebuildTensor,
    RebuildParameter,
    NumpyDtype,
    NumpyScalar,
    NumpyArray,
    NumpyReconstruct,
    /// Constructs arrays in protocol 5.
    NumpyFromBuffer,
    /// `_codecs.encode`, by which Python 3 writes bytes in protocol 2.
    Encode,
}

impl Global {
    /// Looks up a name; `None` if it is not allowed.
    pub(super) fn from_name(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("numpy", "dtype") => Self::NumpyDtype,
            ("numpy", "ndarray") => Self::NumpyArray,
            // The second is the module's name since numpy 2.
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::NumpyScalar,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Self::NumpyReconstruct
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::NumpyFromBuffer,
            ("_codecs", "encode") => Self::Encode,
            ("torch", name) => Self::Storage(ElementType::from_storage_class(name)?),
            _ => return None,
        })
    }
}
