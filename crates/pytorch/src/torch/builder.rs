//! Constructs the objects that a checkpoint may have.

use std::collections::HashMap;
use std::ops::Range;

use super::global::Global;
use super::numpy::NumpyDtype;
use super::storage::Declarations;
use super::{Object, StringEncoding};
use crate::error::excerpt;
use crate::pickle::{self, Arena, Id, Node, StringKind};

/// Constructs objects by calls to the allowed [`Global`]s.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) declarations: Declarations,
    /// Encoded bytes by the text that they come from, so that each text is encoded once, however
    /// often a hostile pickle asks for it.
    encoded: HashMap<Id, Id>,
    /// For a pickle of arrays: long strings are not copied, and nothing else may be large.
    arrays_only: bool,
}

/// Shortest string that is not copied, in bytes.
const MIN_STRING_IN_FILE: usize = 4 << 10;
/// Longest pickle of arrays in bytes, strings that are not copied aside.
const MAX_BYTES_BESIDE_ARRAYS: usize = 16 << 20;

impl pickle::Builder for Builder {
    type Object = Object;

    fn max_bytes(&self) -> usize {
        if self.arrays_only { MAX_BYTES_BESIDE_ARRAYS } else { usize::MAX }
    }

    fn string_in_file(&mut self, bytes: &Range<usize>, kind: StringKind) -> Option<Object> {
        let encoding = match kind {
            StringKind::Python2 => StringEncoding::Python2,
            StringKind::Text => StringEncoding::Utf8,
            StringKind::Bytes => StringEncoding::Binary,
        };
        let (start, len) = (bytes.start, bytes.len());
        (self.arrays_only && len >= MIN_STRING_IN_FILE).then_some(Object::StringInFile {
            start,
            len,
            encoding,
        })
    }

    fn global(&mut self, module: &str, name: &str) -> Option<Object> {
        Global::from_name(module, name).map(Object::Global)
    }

    fn call(&mut self, callee: Id, arguments: Id, arena: &mut Arena<Object>) -> Result<Id, String> {
        let callee = match arena.get(callee) {
            Node::Object(Object::Global(callee)) => *callee,
            other => return Err(format!("calls {}; expected a class or function", other.kind())),
        };
        let Some(arguments) = arena.tuple(arguments) else {
            return Err(format!("{callee:?}: arguments that are no tuple"));
        };
        let node = match (callee, arguments) {
            (Global::OrderedDict, []) => Node::Dict(Vec::new()),
            (Global::Size, &[sizes]) if arena.tuple(sizes).is_some() => return Ok(sizes),
            (
                Global::RebuildTensor,
                &[storage, offset, size, stride, _gradient, _hooks]
                | &[storage, offset, size, stride, _gradient, _hooks, _],
            ) => {
                let Node::Object(Object::Storage { .. }) = arena.get(storage) else {
                    return Err(format!("a tensor of {}", arena.get(storage).kind()));
                };
                Node::Object(Object::Tensor { storage, offset, size, stride })
            }
            (Global::RebuildParameter, &[tensor, _gradient, _hooks]) => match arena.get(tensor) {
                Node::Object(Object::Tensor { .. }) => return Ok(tensor),
                other => return Err(format!("a parameter of {}", other.kind())),
            },
            (Global::Encode, &[text, encoding]) => {
                return self.encode(text, encoding, arena);
            }
            (Global::NumpyDtype, &[name, ..]) => {
                let name = arena.text(name).ok_or("a numpy type whose name is no string")?;
                Node::Object(Object::Dtype(NumpyDtype::from_name(name)?))
            }
            (Global::NumpyScalar, &[dtype, bytes]) => scalar(dtype, bytes, arena)?,
            (Global::NumpyReconstruct, &[class, _shape, _type]) => match arena.get(class) {
                Node::Object(Object::Global(Global::NumpyArray)) => {
                    Node::Object(Object::UninitializedArray)
                }
                other => return Err(format!("a numpy array of {}", other.kind())),
            },
            (Global::NumpyFromBuffer, &[data, dtype, shape, order]) => match arena.text(order) {
                Some("C") => array(dtype, shape, data, arena)?,
                _ => return Err(NOT_C_ORDER.into()),
            },
            (_, arguments) => {
                return Err(format!("{callee:?} of {} unknown arguments", arguments.len()));
            }
        };
        arena.add(node)
    }

    /// The attributes of a dict are ignored: PyTorch sets versions as attributes of a state. The
    /// state of a numpy type is `(version, byte order, …)`, that of an array
    /// `(version, shape, type, in Fortran order, elements)`.
    fn set_state(
        &mut self,
        object: Id,
        state: Id,
        arena: &mut Arena<Object>,
    ) -> Result<(), String> {
        match (arena.get(object), arena.get(state)) {
            (Node::Dict(_), Node::Dict(_)) => Ok(()),
            (Node::Object(Object::UninitializedArray), Node::Tuple(fields)) => {
                let &[_version, shape, dtype, is_fortran, data] = &**fields else {
                    return Err(format!("a numpy array's state of {} fields", fields.len()));
                };
                if !matches!(arena.get(is_fortran), Node::Bool(false) | Node::Int(0)) {
                    return Err(NOT_C_ORDER.into());
                }
                *arena.get_mut(object) = array(dtype, shape, data, arena)?;
                Ok(())
            }
            (Node::Object(Object::Dtype(_)), Node::Tuple(fields)) => {
                match fields.get(1).and_then(|order| arena.text(*order)) {
                    Some("<" | "|" | "=") => Ok(()),
                    Some(other) => Err(format!(
                        "byte order `{}` of a numpy type; expected `<`, little-endian",
                        excerpt(other)
                    )),
                    None => Err("a numpy type without byte order".into()),
                }
            }
            (object, state) => {
                Err(format!("sets {} as the state of {}", state.kind(), object.kind()))
            }
        }
    }

    fn persistent(&mut self, id: Id, arena: &mut Arena<Object>) -> Result<Id, String> {
        let storage = self.declarations.declare(id, arena)?;
        arena.add(Node::Object(storage))
    }
}

const NOT_C_ORDER: &str = "a numpy array that is not in C order; save a copy by ascontiguousarray";

impl Builder {
    /// Makes a builder for a pickle of arrays.
    pub(super) fn for_arrays() -> Self {
        Self { arrays_only: true, ..Self::default() }
    }

    /// Calls `_codecs.encode`.
    fn encode(&mut self, text: Id, encoding: Id, arena: &mut Arena<Object>) -> Result<Id, String> {
        if let Some(bytes) = self.encoded.get(&text) {
            return Ok(*bytes);
        }
        if let (
            &Node::Object(Object::StringInFile { start, len, encoding: StringEncoding::Utf8 }),
            Some("latin1"),
        ) = (arena.get(text), arena.text(encoding))
        {
            let bytes = Object::StringInFile { start, len, encoding: StringEncoding::Latin1 };
            return arena.add(Node::Object(bytes));
        }
        let (Some(characters), Some("latin1")) = (arena.text(text), arena.text(encoding)) else {
            return Err("an encoding; expected a string and `latin1`".into());
        };
        let bytes = characters.chars().map(u8::try_from).collect::<Result<_, _>>();
        let bytes = bytes.map_err(|_| "a character that is not in Latin-1")?;
        let bytes = arena.add(Node::Bytes(bytes))?;
        self.encoded.insert(text, bytes);
        Ok(bytes)
    }
}

/// Makes a numpy array from its parts, of which only the type is checked here.
fn array(dtype: Id, shape: Id, data: Id, arena: &Arena<Object>) -> Result<Node<Object>, String> {
    let Node::Object(Object::Dtype(element)) = *arena.get(dtype) else {
        return Err(format!("a numpy array of type {}", arena.get(dtype).kind()));
    };
    Ok(Node::Object(Object::Array { element, shape, data }))
}

/// Makes a number from a numpy type and bytes.
fn scalar(dtype: Id, bytes: Id, arena: &Arena<Object>) -> Result<Node<Object>, String> {
    let Node::Object(Object::Dtype(dtype)) = arena.get(dtype) else {
        return Err(format!("a numpy number of type {}", arena.get(dtype).kind()));
    };
    match arena.get(bytes) {
        Node::Bytes(bytes) => dtype.decode(bytes),
        // Bytes of Python 2 that happen to be UTF-8.
        Node::Text(text) => dtype.decode(text.as_bytes()),
        other => Err(format!("a numpy number of {}", other.kind())),
    }
}
