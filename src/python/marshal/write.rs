//! From a graph to the one stream that stands for it.

use super::graph::{Field, Graph, Id, Value};

const FLAG_REF: u8 = 0x80;

/// A reference is the byte `r` and four bytes.
const REFERENCE_LENGTH: usize = 5;

/// Writes the root and all that it holds.
pub(super) fn write(graph: &Graph<'_>) -> Vec<u8> {
    let mut writer =
        Writer { graph, uses: vec![0; graph.len()], numbers: vec![None; graph.len()], next: 0, out: Vec::new() };
    if let Some(root) = graph.len().checked_sub(1) {
        writer.count(root);
        writer.object(root);
    }
    writer.out
}

struct Writer<'g, 'a> {
    graph: &'g Graph<'a>,
    /// How often each value will be written or referred to.
    uses: Vec<u32>,
    /// The reference number of each value that has been written with one.
    numbers: Vec<Option<u32>>,
    next: u32,
    out: Vec<u8>,
}

impl Writer<'_, '_> {
    fn count(&mut self, id: Id) {
        self.uses[id] = self.uses[id].saturating_add(1);
        if self.uses[id] == 1 {
            self.graph.value(id).children().for_each(|child| self.count(child));
        }
    }

    fn object(&mut self, id: Id) {
        let value = self.graph.value(id);
        let mut flag = 0;
        if self.uses[id] > 1 && is_worth_a_reference(value) {
            if let Some(number) = self.numbers[id] {
                self.out.push(b'r');
                self.out.extend_from_slice(&number.to_le_bytes());
                return;
            }
            self.numbers[id] = Some(self.next);
            self.next += 1;
            flag = FLAG_REF;
        }
        self.head(value, flag);
        match value {
            Value::Code(fields) => fields.iter().for_each(|field| match field {
                Field::Number(number) => self.out.extend_from_slice(&number.to_le_bytes()),
                Field::Object(id) => self.object(*id),
            }),
            _ => value.children().for_each(|child| self.object(child)),
        }
    }

    /// The type byte, the length, and the bytes of a leaf.
    fn head(&mut self, value: &Value<'_>, flag: u8) {
        match value {
            Value::Singleton(kind) => self.out.push(*kind),
            Value::Int(number) => self.parts(b'i' | flag, &number.to_le_bytes()),
            Value::Long { negative, digits } => {
                let count = (digits.len() / 2) as i32;
                self.parts(b'l' | flag, &(if *negative { -count } else { count }).to_le_bytes());
                self.out.extend_from_slice(digits);
            }
            Value::Float(bits) => self.parts(b'g' | flag, bits),
            Value::Complex(bits) => self.parts(b'y' | flag, bits),
            Value::Bytes(bytes) => self.counted(b's' | flag, bytes.len(), bytes),
            Value::Text(text) => self.text(text, flag),
            Value::Tuple(items) => match u8::try_from(items.len()) {
                Ok(count) => self.parts(b')' | flag, &[count]),
                Err(_) => self.counted(b'(' | flag, items.len(), &[]),
            },
            Value::FrozenSet(items) => self.counted(b'>' | flag, items.len(), &[]),
            Value::Slice(_) => self.out.push(b':' | flag),
            Value::Code(_) => self.out.push(b'c' | flag),
        }
    }

    fn text(&mut self, text: &[u8], flag: u8) {
        let interned = is_name(text);
        match u8::try_from(text.len()) {
            _ if !text.is_ascii() => self.counted(b'u' | flag, text.len(), text),
            Ok(length) => {
                self.parts(if interned { b'Z' } else { b'z' } | flag, &[length]);
                self.out.extend_from_slice(text);
            }
            Err(_) => self.counted(if interned { b'A' } else { b'a' } | flag, text.len(), text),
        }
    }

    fn parts(&mut self, kind: u8, bytes: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(bytes);
    }

    /// Lengths fit: they were read from four bytes, or are bounded by the limit of the stream.
    fn counted(&mut self, kind: u8, count: usize, bytes: &[u8]) {
        self.parts(kind, &(count as u32).to_le_bytes());
        self.out.extend_from_slice(bytes);
    }
}

/// Whether CPython interns it when it is a constant or a name.
fn is_name(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Whether its own form is at least as long as a reference.
fn is_worth_a_reference(value: &Value<'_>) -> bool {
    match value {
        Value::Singleton(_) => false,
        Value::Text(text) if text.is_ascii() => 2 + text.len() >= REFERENCE_LENGTH,
        Value::Tuple(items) => !items.is_empty(),
        _ => true,
    }
}
