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
            // The second is its name since numpy 2.
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::NumpyScalar,
            ("_codecs", "encode") => Self::Encode,
            ("torch", name) => Self::Storage(ElementType::of_storage(name)?),
            _ => return None,
        })
    }
}
