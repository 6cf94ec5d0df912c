use std::collections::HashMap;

use crate::error::quote;
use crate::pickle::{self, Arena, Id, Node};

use super::Object;
use super::global::Global;
use super::numpy::Scalar;
use super::storage::Declarations;

/// Constructs what the list of [`Global`]s allows.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) declarations: Declarations,
    /// Bytes by the text that they are encoded from, so that a text is encoded once however
    /// often a hostile pickle asks.
    encoded: HashMap<Id, Id>,
}

impl pickle::Builder for Builder {
    type Object = Object;

    fn global(&mut self, module: &str, name: &str) -> Option<Object> {
        Global::named(module, name).map(Object::Global)
    }

    fn call(&mut self, callee: Id, arguments: Id, arena: &mut Arena<Object>) -> Result<Id, String> {
        let callee = match arena.get(callee) {
            Node::Object(Object::Global(callee)) => *callee,
            other => return Err(format!("calls {}; expected a class or function", other.kind())),
        };
        let Some(arguments) = arena.tuple(arguments) else {
            return Err(format!("{callee:?}: arguments that are no tuple"));
        };
        let made = match (callee, arguments) {
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
                Node::Object(Object::Scalar(Scalar::named(name)?))
            }
            (Global::NumpyScalar, &[dtype, bytes]) => scalar(dtype, bytes, arena)?,
            (_, arguments) => {
                return Err(format!("{callee:?} of {} unknown arguments", arguments.len()));
            }
        };
        arena.add(made)
    }

    /// The attributes of a dict, as the versions that PyTorch notes beside a state, do not
    /// count. The state of a numpy type is `(version, byte order, …)`.
    fn set_state(
        &mut self,
        object: Id,
        state: Id,
        arena: &mut Arena<Object>,
    ) -> Result<(), String> {
        match (arena.get(object), arena.get(state)) {
            (Node::Dict(_), Node::Dict(_)) => Ok(()),
            (Node::Object(Object::Scalar(_)), Node::Tuple(fields)) => {
                match fields.get(1).and_then(|order| arena.text(*order)) {
                    Some("<" | "|" | "=") => Ok(()),
                    Some(other) => Err(format!(
                        "byte order `{}` of a numpy type; expected `<`, little-endian",
                        quote(other)
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

impl Builder {
    fn encode(&mut self, text: Id, encoding: Id, arena: &mut Arena<Object>) -> Result<Id, String> {
        if let Some(bytes) = self.encoded.get(&text) {
            return Ok(*bytes);
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

fn scalar(dtype: Id, bytes: Id, arena: &Arena<Object>) -> Result<Node<Object>, String> {
    let Node::Object(Object::Scalar(scalar)) = arena.get(dtype) else {
        return Err(format!("a numpy number of type {}", arena.get(dtype).kind()));
    };
    match arena.get(bytes) {
        Node::Bytes(bytes) => scalar.decode(bytes),
        // Bytes that Python 2 wrote and that happen to be UTF-8.
        Node::Text(text) => scalar.decode(text.as_bytes()),
        other => Err(format!("a numpy number of {}", other.kind())),
    }
}
