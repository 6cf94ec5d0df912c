//! Storage for the values of a pickle.

/// Index of a node in its [`Arena`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(u32);

/// A value. Containers hold the indices of their items, so that sharing is free, cycles are
/// harmless and dropping does not recurse.
#[derive(Debug)]
pub(crate) enum Node<O> {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    List(Vec<Id>),
    Tuple(Box<[Id]>),
    /// Entries in the order in which they were written; of two equal keys the later one counts.
    Dict(Vec<(Id, Id)>),
    Object(O),
}

impl<O> Node<O> {
    /// Returns the type for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dict",
            Self::Object(_) => "an object",
        }
    }
}

/// Nodes per chunk of an arena.
const CHUNK: usize = 256;

/// All values of a pickle. It grows by chunks: doubling would take three times the memory while
/// it copies, and an attacker could choose when.
#[derive(Debug)]
pub(crate) struct Arena<O> {
    chunks: Vec<Vec<Node<O>>>,
}

impl<O> Arena<O> {
    pub(crate) const NONE: Id = Id(0);
    pub(crate) const FALSE: Id = Id(1);
    pub(crate) const TRUE: Id = Id(2);
    pub(crate) const EMPTY_TUPLE: Id = Id(3);

    pub(crate) fn new() -> Self {
        let mut first = Vec::with_capacity(CHUNK);
        // Immutable values that opcodes of one byte push.
        first.extend([Node::None, Node::Bool(false), Node::Bool(true), Node::Tuple([].into())]);
        Self { chunks: vec![first] }
    }

    /// Adds a node.
    ///
    /// # Errors
    /// If there are 2^32 nodes already.
    pub(crate) fn add(&mut self, node: Node<O>) -> Result<Id, String> {
        let full_chunks = self.chunks.len() - 1;
        let index = match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => {
                chunk.push(node);
                full_chunks * CHUNK + chunk.len() - 1
            }
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(node);
                self.chunks.push(chunk);
                (full_chunks + 1) * CHUNK
            }
        };
        u32::try_from(index).map(Id).map_err(|_| "more than 2^32 values".into())
    }

    pub(crate) fn get(&self, id: Id) -> &Node<O> {
        &self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK]
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> &mut Node<O> {
        &mut self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK]
    }

    pub(crate) fn int(&self, id: Id) -> Option<i128> {
        match self.get(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the last entry of a dict under a key, as the key and the value.
    pub(crate) fn entry(&self, dict: Id, key: &str) -> Option<(Id, Id)> {
        match self.get(dict) {
            Node::Dict(entries) => entries
                .iter()
                .rev()
                .find(|(candidate, _)| self.text(*candidate) == Some(key))
                .copied(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_to_their_nodes_across_chunks() {
        let mut arena = Arena::<()>::new();
        let ids: Vec<_> = (0..1000).map(|i| arena.add(Node::Int(i)).unwrap()).collect();
        assert!(ids.iter().zip(0..).all(|(id, i)| arena.int(*id) == Some(i)));
        assert!(matches!(arena.get(Arena::<()>::TRUE), Node::Bool(true)));
        assert_eq!(arena.tuple(Arena::<()>::EMPTY_TUPLE), Some(&[][..]));
    }

    #[test]
    fn a_node_takes_32_bytes() {
        assert_eq!(size_of::<Node<crate::torch::Object>>(), 32);
    }
}
