//! The normaliser on hand-made streams and on random bytes. What real compilers write: `compiler_tests.rs`.

use proptest::prelude::*;

use super::*;

const PY310: PythonVersion = PythonVersion::new(3, 10);
const PY311: PythonVersion = PythonVersion::new(3, 11);
const PY314: PythonVersion = PythonVersion::new(3, 14);

/// A module's code object of Python 3.11 whose constants are `consts` (a marshalled tuple).
fn module(consts: &[u8]) -> Vec<u8> {
    let mut stream = vec![b'c'];
    stream.extend([0; 20]);
    stream.extend(b"s\x02\0\0\0\x97\0");
    stream.extend(consts);
    // names, localsplusnames, localspluskinds, filename, name, qualname, firstlineno, linetable, exceptiontable
    stream.extend(b")\0)\0s\0\0\0\0z\x07/app/x.z\x08<module>r\0\0\0\0\x01\0\0\0s\0\0\0\0s\0\0\0\0");
    stream
}

/// The constants in the normalised stream, which are before the names.
fn constants(consts: &[u8]) -> Vec<u8> {
    // The name is the first reference in `module`; a flagged one may come before it.
    let stream = module(consts).replacen(b"z\x08<module>r\0\0\0\0", b"z\x08<module>z\x08<module>");
    let normal = normalise(&stream, PY314).unwrap();
    let end = normal.windows(4).position(|window| window == b")\0)\0").unwrap();
    normal[28..end].to_vec()
}

trait Replace {
    fn replacen(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl Replace for Vec<u8> {
    fn replacen(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = self.windows(from.len()).position(|window| window == from).unwrap();
        [&self[..at], to, &self[at + from.len()..]].concat()
    }
}

#[test]
fn flags_interning_and_sharing_do_not_matter() {
    let expected = constants(b")\x03\xda\x05helloN)\x01r\0\0\0\0");
    for same in [
        &b")\x03Z\x05helloN)\x01Z\x05hello"[..],
        b"\xa9\x03z\x05helloN\xa9\x01\xfa\x05hello",
        b")\x03\xe1\x05\0\0\0helloN)\x01u\x05\0\0\0hello",
        b"(\x03\0\0\0t\x05\0\0\0helloN(\x01\0\0\0A\x05\0\0\0hello",
    ] {
        assert_eq!(constants(same), expected);
    }
    assert_eq!(expected, b")\x03\xda\x05helloN)\x01r\0\0\0\0");
}

#[test]
fn values_of_different_types_stay_apart() {
    let consts = b")\x06T\xe9\x01\0\0\0g\0\0\0\0\0\0\0\0g\0\0\0\0\0\0\0\x80s\x05\0\0\0helloZ\x05hello";
    assert_eq!(constants(consts), consts.replacen_flag());
}

trait WithoutFlag {
    fn replacen_flag(&self) -> Vec<u8>;
}

impl<const N: usize> WithoutFlag for [u8; N] {
    /// The integer 1 is there once: it needs no flag.
    fn replacen_flag(&self) -> Vec<u8> {
        self.to_vec().replacen(b"\xe9\x01", b"i\x01")
    }
}

#[test]
fn frozensets_are_sorted_by_value() {
    let one = constants(b")\x01>\x03\0\0\0NZ\x01ai\x01\0\0\0");
    assert_eq!(one, constants(b")\x01>\x03\0\0\0i\x01\0\0\0NZ\x01a"));
    assert_ne!(one, constants(b")\x01>\x03\0\0\0i\x02\0\0\0NZ\x01a"));
    // Two equal sets in another order are one value.
    let twice =
        constants(b")\x02>\x02\0\0\0NTi\x01\0\0\0".to_vec().replacen(b"NTi\x01\0\0\0", b"NT>\x02\0\0\0TN").as_slice());
    assert_eq!(twice.last_chunk(), Some(b"r\0\0\0\0"));
}

#[test]
fn integers_have_one_form() {
    assert_eq!(constants(b")\x01l\x01\0\0\0\x05\0"), b")\x01i\x05\0\0\0");
    assert_eq!(constants(b")\x01l\xff\xff\xff\xff\x05\0"), b")\x01i\xfb\xff\xff\xff");
    assert_eq!(constants(b")\x01l\xfd\xff\xff\xff\0\0\0\0\x02\0"), b")\x01i\0\0\0\x80");
    assert_eq!(constants(b")\x01l\x03\0\0\0\0\0\0\0\x02\0"), b")\x01l\x03\0\0\0\0\0\0\0\x02\0");
    assert_eq!(constants(b")\x01l\0\0\0\0"), b")\x01i\0\0\0\0");
}

#[test]
fn what_is_malformed_says_where() {
    let refuse = |consts: &[u8], version| normalise(&module(consts), version).unwrap_err();
    assert_eq!(
        refuse(b")\x01r\x07\0\0\0", PY311).to_string(),
        "the bytecode is malformed at byte 35: a reference to what is not there"
    );
    // A tuple inside itself; an integer with a leading zero; a list; a negative length; bad UTF-8; a lone `:`.
    for bad in [
        &b"\xa9\x01r\0\0\0\0"[..],
        b")\x01l\x02\0\0\0\x01\0\0\0",
        b")\x01l\x01\0\0\0\0\x80",
        b")\x01[\0\0\0\0",
        b")\x01s\xff\xff\xff\xff",
        b")\x01(\xff\xff\xff\x7f",
        b")\x01u\x02\0\0\0\xed\xa0",
        b")\x01z\x01\xe9",
        b")\x01:NNN",
        b"N",
    ] {
        refuse(bad, PY311);
    }
    assert_eq!(constants(b")\x01:NNN"), b")\x01:NNN");
    assert_eq!(constants(b")\x01u\x03\0\0\0\xed\xa0\x80"), b")\x01u\x03\0\0\0\xed\xa0\x80");
    assert!(normalise(b"N", PY311).is_err() && normalise(b"", PY311).is_err());
    let mut longer = module(b")\0").replacen(b"r\0\0\0\0", b"z\x01x");
    assert!(normalise(&longer, PY311).is_ok() && normalise(&longer, PY310).is_err());
    longer.push(0);
    assert_eq!(normalise(&longer, PY311).unwrap_err().reason, "expected the end");
}

#[test]
fn depth_is_limited_before_the_stack_is() {
    let nested = |depth: usize| {
        let mut consts = b")\x01".repeat(depth);
        consts.extend(b")\0");
        module(&consts).replacen(b"r\0\0\0\0", b"z\x01x")
    };
    assert!(normalise(&nested(DEPTH_LIMIT - 3), PY311).is_ok());
    assert_eq!(normalise(&nested(DEPTH_LIMIT * 50), PY311).unwrap_err().reason, "it is nested too deeply");
}

#[test]
fn shared_values_do_not_multiply() {
    // A tuple of twice a tuple of twice ..., 60 levels: 2^60 values if it were spelled out; within a frozenset.
    let mut consts = b")\x01>\x01\0\0\0".to_vec();
    consts.extend(b"\xa9\x02".repeat(60));
    consts.extend(b")\x01N)\x01N");
    consts.extend((1..60u32).rev().flat_map(|level| [&b"r"[..], &level.to_le_bytes()].concat()));
    let stream = module(&consts).replacen(b"r\0\0\0\0", b"z\x01x");
    let normal = normalise(&stream, PY311).unwrap();
    assert!(normal.len() <= stream.len() + 5, "{} > {}", normal.len(), stream.len());
    assert_eq!(normalise(&normal, PY311).unwrap(), normal);
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), minor in 8u8..15) {
        let _ = normalise(&bytes, PythonVersion::new(3, minor));
        let _ = normalise(&module(&bytes), PythonVersion::new(3, minor));
    }

    #[test]
    fn damage_is_an_error_or_another_normal_form(at in 0usize..90, byte in any::<u8>(), cut in 0usize..90) {
        let mut stream = module(b")\x04\xda\x05hello>\x02\0\0\0NT(\x01\0\0\0r\0\0\0\0g\0\0\0\0\0\0\0\0").replacen(b"r\0\0\0\0\x01", b"z\x01x\x01");
        let end = stream.len().saturating_sub(cut);
        if let Some(place) = stream.get_mut(at) {
            *place = byte;
        }
        if let Ok(normal) = normalise(&stream, PY311) {
            prop_assert_eq!(normalise(&normal, PY311).unwrap(), normal);
        }
        prop_assert!(cut == 0 || normalise(&stream[..end], PY311).is_err());
    }
}
