//! The values of a marshal stream, each once.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// The place of a value in its graph. Children have smaller numbers than what holds them.
pub(super) type Id = usize;

/// One value. Two of them are equal only if type and value are; children are equal if they are the same node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value<'a> {
    /// None, True, False, Ellipsis, StopIteration: the type byte is all there is.
    Singleton(u8),
    /// An integer of 32 bits.
    Int(i32),
    /// A larger integer: the sign, and digits of 15 bits in two bytes each, the lowest first.
    Long { negative: bool, digits: &'a [u8] },
    /// A float, by its bytes.
    Float(&'a [u8]),
    /// A complex number, by its bytes.
    Complex(&'a [u8]),
    /// `bytes`.
    Bytes(&'a [u8]),
    /// `str`: UTF-8, in which surrogates may stand alone.
    Text(&'a [u8]),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A frozenset, sorted by [`Graph::hash`].
    FrozenSet(Vec<Id>),
    /// A slice (3.14): start, stop, step.
    Slice(Vec<Id>),
    /// A code object: its fields in the order of the version's layout.
    Code(Vec<Field>),
}

/// A field of a code object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    /// A plain 32-bit number, without a type byte.
    Number(i32),
    /// An object.
    Object(Id),
}

impl Value<'_> {
    /// What it holds, in the order in which it is written.
    pub(super) fn children(&self) -> impl Iterator<Item = Id> + '_ {
        let (ids, fields): (&[Id], &[Field]) = match self {
            Value::Tuple(ids) | Value::FrozenSet(ids) | Value::Slice(ids) => (ids, &[]),
            Value::Code(fields) => (&[], fields),
            _ => (&[], &[]),
        };
        let objects = fields.iter().filter_map(|field| match field {
            Field::Object(id) => Some(*id),
            Field::Number(_) => None,
        });
        ids.iter().copied().chain(objects)
    }
}

/// All values of a stream. The last one is the root.
#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    values: Vec<Value<'a>>,
    known: BTreeMap<Value<'a>, Id>,
    hashes: BTreeMap<Id, [u8; 32]>,
}

impl<'a> Graph<'a> {
    /// The value at `id`, which this graph gave.
    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// How many values.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Adds a value, or finds the equal one that is there. A code object is always a new one.
    pub(super) fn add(&mut self, mut value: Value<'a>) -> Id {
        if let Value::FrozenSet(elements) = &mut value {
            elements.sort_by_cached_key(|id| self.hash(*id));
        }
        if let Some(id) = self.known.get(&value) {
            return *id;
        }
        let id = self.values.len();
        if !matches!(value, Value::Code(_)) {
            self.known.insert(value.clone(), id);
        }
        self.values.push(value);
        id
    }

    /// A hash of a value alone: neither of its number nor of what else is in the graph.
    fn hash(&mut self, id: Id) -> [u8; 32] {
        if let Some(hash) = self.hashes.get(&id) {
            return *hash;
        }
        let value = &self.values[id];
        let mut hasher = Sha256::new();
        match value {
            Value::Singleton(kind) => hasher.update([b'N', *kind]),
            Value::Int(number) => hasher.update([&b"i"[..], &number.to_le_bytes()].concat()),
            Value::Long { negative, digits } => hasher.update([&[b'l', u8::from(*negative)], *digits].concat()),
            Value::Float(bits) => hasher.update([b"g", *bits].concat()),
            Value::Complex(bits) => hasher.update([b"y", *bits].concat()),
            Value::Bytes(bytes) => hasher.update([b"s", *bytes].concat()),
            Value::Text(text) => hasher.update([b"u", *text].concat()),
            Value::Tuple(_) => hasher.update(b"("),
            Value::FrozenSet(_) => hasher.update(b">"),
            Value::Slice(_) => hasher.update(b":"),
            // Two of them in one frozenset keep the order in which they were read.
            Value::Code(_) => hasher.update(b"c"),
        }
        for child in value.children().collect::<Vec<_>>() {
            hasher.update(self.hash(child));
        }
        let hash = hasher.finalize().into();
        self.hashes.insert(id, hash);
        hash
    }
}
