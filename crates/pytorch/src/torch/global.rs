use super::storage::ElementType;

/// A class or function that a checkpoint may name.
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
    /// How arrays are written in protocol 5.
    NumpyFromBuffer,
    /// `_codecs.encode`, which is how Python 3 writes bytes in protocol 2.
    Encode,
}

impl Global {
    /// The whole list.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("numpy", "dtype") => Self::NumpyDtype,
            ("numpy", "ndarray") => Self::NumpyArray,
            // The second is its name since numpy 2.
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::NumpyScalar,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Self::NumpyReconstruct
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::NumpyFromBuffer,
            ("_codecs", "encode") => Self::Encode,
            ("torch", name) => Self::Storage(ElementType::of_storage(name)?),
            _ => return None,
        })
    }
}
