//! From a marshal stream to a graph. Takes any bytes; what CPython's compiler does not write is an error.

use super::graph::{Field, Graph, Id, Value};
use super::{DEPTH_LIMIT, Malformed, STREAM_LIMIT};
use crate::python::PythonVersion;

/// What a field of a code object must be.
#[derive(Clone, Copy)]
enum Part {
    Number,
    Bytes,
    Text,
    Names,
    Tuple,
}

/// argcount, posonlyargcount, kwonlyargcount, nlocals, stacksize, flags, code, consts, names, varnames, freevars,
/// cellvars, filename, name, firstlineno, lnotab.
const LAYOUT_3_8: &[Part] = {
    use Part::*;
    &[
        Number, Number, Number, Number, Number, Number, Bytes, Tuple, Names, Names, Names, Names, Text, Text, Number,
        Bytes,
    ]
};

/// argcount, posonlyargcount, kwonlyargcount, stacksize, flags, code, consts, names, localsplusnames,
/// localspluskinds, filename, name, qualname, firstlineno, linetable, exceptiontable.
const LAYOUT_3_11: &[Part] = {
    use Part::*;
    &[Number, Number, Number, Number, Number, Bytes, Tuple, Names, Names, Bytes, Text, Text, Text, Number, Bytes, Bytes]
};

const FLAG_REF: u8 = 0x80;

/// Reads one code object, and nothing after it.
pub(super) fn read(stream: &[u8], version: PythonVersion) -> Result<Graph<'_>, Malformed> {
    let mut reader = Reader {
        rest: stream,
        length: stream.len(),
        layout: if version.minor >= 11 { LAYOUT_3_11 } else { LAYOUT_3_8 },
        slices: version.minor >= 14,
        references: Vec::new(),
        graph: Graph::default(),
    };
    if stream.len() > STREAM_LIMIT {
        return Err(reader.malformed("it is larger than 64 MiB"));
    }
    let root = reader.object(0)?;
    if !matches!(reader.graph.value(root), Value::Code(_)) || root + 1 != reader.graph.len() {
        return Err(reader.malformed("expected a code object"));
    }
    if !reader.rest.is_empty() {
        return Err(reader.malformed("expected the end"));
    }
    Ok(reader.graph)
}

struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
    layout: &'static [Part],
    slices: bool,
    /// What `TYPE_REF` may name; `None` while the value is still being read.
    references: Vec<Option<Id>>,
    graph: Graph<'a>,
}

impl<'a> Reader<'a> {
    fn malformed(&self, reason: &'static str) -> Malformed {
        Malformed { at: self.length - self.rest.len(), reason }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.malformed("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|bytes| bytes.first().copied().unwrap_or_default())
    }

    fn number(&mut self) -> Result<i32, Malformed> {
        let bytes = self.take(4)?.try_into().map_err(|_| self.malformed("it ends too early"))?;
        Ok(i32::from_le_bytes(bytes))
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        let number = self.number()?;
        usize::try_from(number).map_err(|_| self.malformed("a length is negative"))
    }

    fn object(&mut self, depth: usize) -> Result<Id, Malformed> {
        if depth >= DEPTH_LIMIT {
            return Err(self.malformed("it is nested too deeply"));
        }
        let byte = self.byte()?;
        let kind = byte & !FLAG_REF;
        if kind == b'r' {
            return self.reference();
        }
        // CPython numbers a value when it begins, whatever is inside it.
        let slot = (byte & FLAG_REF != 0).then(|| {
            self.references.push(None);
            self.references.len() - 1
        });
        let value = match kind {
            b'(' | b')' | b'>' | b':' => self.container(kind, depth)?,
            b'c' => self.code(depth)?,
            _ => self.leaf(kind)?,
        };
        let id = self.graph.add(value);
        if let Some(place) = slot.and_then(|slot| self.references.get_mut(slot)) {
            *place = Some(id);
        }
        Ok(id)
    }

    fn reference(&mut self) -> Result<Id, Malformed> {
        let number = self.count()?;
        let id = self.references.get(number).copied().flatten();
        id.ok_or_else(|| self.malformed("a reference to what is not there"))
    }

    fn leaf(&mut self, kind: u8) -> Result<Value<'a>, Malformed> {
        Ok(match kind {
            b'N' | b'T' | b'F' | b'.' | b'S' => Value::Singleton(kind),
            b'i' => Value::Int(self.number()?),
            b'l' => self.long()?,
            b'g' => Value::Float(self.take(8)?),
            b'y' => Value::Complex(self.take(16)?),
            b's' => {
                let length = self.count()?;
                Value::Bytes(self.take(length)?)
            }
            b'z' | b'Z' => {
                let length = self.byte()?;
                self.text(length.into(), true)?
            }
            b'a' | b'A' | b'u' | b't' => {
                let length = self.count()?;
                self.text(length, matches!(kind, b'a' | b'A'))?
            }
            _ => return Err(self.malformed("a type that no code object holds")),
        })
    }

    fn text(&mut self, length: usize, ascii: bool) -> Result<Value<'a>, Malformed> {
        let text = self.take(length)?;
        match if ascii { text.is_ascii() } else { is_text(text) } {
            true => Ok(Value::Text(text)),
            false => Err(self.malformed("a string has bytes that it must not have")),
        }
    }

    fn long(&mut self) -> Result<Value<'a>, Malformed> {
        let signed = self.number()?;
        let length = (signed.unsigned_abs() as usize).saturating_mul(2);
        let digits = self.take(length)?;
        let plain = |pair: &[u8]| matches!(pair, [low, high] if *high < 0x80 && (*low, *high) != (0, 0));
        let fits = |pair: &[u8]| matches!(pair, [_, high] if *high < 0x80);
        if !digits.chunks(2).all(fits) || !digits.chunks(2).next_back().is_none_or(plain) {
            return Err(self.malformed("an integer is not in its normal form"));
        }
        let negative = signed < 0;
        if digits.len() <= 6 {
            let folded = digits.chunks(2).rev().fold(0i64, |sum, pair| match pair {
                [low, high] => (sum << 15) | i64::from(u16::from_le_bytes([*low, *high])),
                _ => sum,
            });
            if let Ok(small) = i32::try_from(if negative { -folded } else { folded }) {
                return Ok(Value::Int(small));
            }
        }
        Ok(Value::Long { negative, digits })
    }

    fn container(&mut self, kind: u8, depth: usize) -> Result<Value<'a>, Malformed> {
        let count = match kind {
            b')' => self.byte()?.into(),
            b':' if self.slices => 3,
            b':' => return Err(self.malformed("a slice in bytecode before Python 3.14")),
            _ => self.count()?,
        };
        if count > self.rest.len() {
            return Err(self.malformed("it ends too early"));
        }
        let mut children = Vec::with_capacity(count);
        for _ in 0..count {
            children.push(self.object(depth + 1)?);
        }
        Ok(match kind {
            b'>' => Value::FrozenSet(children),
            b':' => Value::Slice(children),
            _ => Value::Tuple(children),
        })
    }

    fn code(&mut self, depth: usize) -> Result<Value<'a>, Malformed> {
        let mut fields = Vec::with_capacity(self.layout.len());
        for part in self.layout {
            if let Part::Number = part {
                fields.push(Field::Number(self.number()?));
                continue;
            }
            let id = self.object(depth + 1)?;
            let is_text = |id: &Id| matches!(self.graph.value(*id), Value::Text(_));
            let right = match (part, self.graph.value(id)) {
                (Part::Bytes, Value::Bytes(_)) | (Part::Text, Value::Text(_)) | (Part::Tuple, Value::Tuple(_)) => true,
                (Part::Names, Value::Tuple(names)) => names.iter().all(is_text),
                _ => false,
            };
            if !right {
                return Err(self.malformed("a field of a code object has the wrong type"));
            }
            fields.push(Field::Object(id));
        }
        Ok(Value::Code(fields))
    }
}

/// UTF-8 in which surrogates may stand alone, as CPython's `surrogatepass` writes it.
fn is_text(mut bytes: &[u8]) -> bool {
    loop {
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => return true,
            Err(error) => error.valid_up_to(),
        };
        match bytes.get(valid..) {
            Some([0xed, 0xa0..=0xbf, 0x80..=0xbf, rest @ ..]) => bytes = rest,
            _ => return false,
        }
    }
}
