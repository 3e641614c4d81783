//! RECORD: the list of a wheel's files with their hashes (PEP 376, PEP 427), read strictly and written as pip does.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Error;
use super::names::shown;
use super::zip::Archive;
use crate::oci::Digest;

/// What RECORD says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its sha256; `None` for RECORD itself.
    pub digest: Option<Digest>,
    /// Its length in bytes, if given.
    pub size: Option<u64>,
}

/// The rows of a wheel's RECORD, which are exactly its members.
#[derive(Clone, Debug)]
pub struct Record {
    rows: BTreeMap<String, Row>,
}

/// The largest RECORD, in bytes.
pub const RECORD_LIMIT: u64 = 64 << 20;

impl Record {
    /// Parses RECORD and compares it with the members of `archive`. `folder` is the `.dist-info` folder.
    pub fn parse(bytes: &[u8], archive: &Archive, folder: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Wheel { file: shown(&archive.file), reason };
        let own = format!("{folder}/RECORD");
        // Signatures are made after RECORD, so it cannot list them (PEP 427).
        let unlisted = [own.clone(), format!("{own}.jws"), format!("{own}.p7s")];
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        let mut rows = BTreeMap::new();
        for line in reader.records() {
            let line = line.map_err(|error| refuse(format!("its RECORD is not CSV: {error}")))?;
            let (path, hash, size) = (line.get(0), line.get(1), line.get(2));
            let path = path.unwrap_or_default().to_string();
            if line.len() > 3 {
                return Err(refuse(format!("RECORD has a row with more than three fields for `{}`", shown(&path))));
            }
            let row = row(hash.unwrap_or_default(), size.unwrap_or_default())
                .map_err(|reason| refuse(format!("RECORD has {reason} for `{}`", shown(&path))))?;
            if archive.member(&path).is_none() {
                return Err(refuse(format!("RECORD lists `{}`, which is not in the archive", shown(&path))));
            }
            if row.digest.is_none() && !unlisted.contains(&path) {
                return Err(refuse(format!("RECORD has no hash for `{}`", shown(&path))));
            }
            if rows.insert(path.clone(), row).is_some() {
                return Err(refuse(format!("RECORD lists `{}` twice", shown(&path))));
            }
        }
        for member in &archive.members {
            match rows.get(&member.name) {
                None if unlisted.contains(&member.name) => {}
                None => return Err(refuse(format!("RECORD does not list `{}`", shown(&member.name)))),
                Some(row) if row.size.is_some_and(|size| size != member.size) => {
                    let reason = format!("RECORD has another size for `{}` than the archive", shown(&member.name));
                    return Err(refuse(reason));
                }
                Some(_) => {}
            }
        }
        Ok(Record { rows })
    }

    /// What it says of a member.
    pub fn get(&self, member: &str) -> Option<&Row> {
        self.rows.get(member)
    }
}

fn row(hash: &str, size: &str) -> Result<Row, String> {
    let size = match size {
        "" => None,
        digits => Some(digits.parse().map_err(|_| "a size that is no number".to_string())?),
    };
    if hash.is_empty() {
        return Ok(Row { digest: None, size });
    }
    let (algorithm, value) = hash.split_once('=').ok_or("a hash without an algorithm")?;
    if algorithm != "sha256" {
        return Err(format!("a hash of algorithm `{}`, expected sha256,", shown(algorithm)));
    }
    let raw = URL_SAFE_NO_PAD.decode(value.trim_end_matches('=')).map_err(|_| "a malformed hash")?;
    let digest = Digest::from_hex(&hex::encode(raw)).map_err(|_| "a malformed hash")?;
    Ok(Row { digest: Some(digest), size })
}

/// The hash field of a row.
fn field(digest: &Digest) -> String {
    format!("sha256={}", URL_SAFE_NO_PAD.encode(digest.as_bytes()))
}

/// Writes a RECORD: rows sorted as text, CSV as Python's `csv.writer` has it.
pub fn write(rows: &BTreeMap<String, Row>) -> Vec<u8> {
    let mut fields: Vec<[String; 3]> = rows
        .iter()
        .map(|(path, row)| {
            let size = row.size.map(|size| size.to_string());
            [path.clone(), row.digest.as_ref().map(field).unwrap_or_default(), size.unwrap_or_default()]
        })
        .collect();
    fields.sort();
    let mut text = String::new();
    for [path, hash, size] in fields {
        let quoted = path.contains([',', '"', '\r', '\n']);
        let path = if quoted { format!("\"{}\"", path.replace('"', "\"\"")) } else { path };
        text.push_str(&format!("{path},{hash},{size}\r\n"));
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::testing::WheelBuilder;

    fn parse(builder: WheelBuilder) -> Result<Record, String> {
        let (_folder, archive) = builder.archive();
        let bytes = archive.read(archive.member("x-1.dist-info/RECORD").unwrap(), RECORD_LIMIT).unwrap();
        Record::parse(&bytes, &archive, "x-1.dist-info").map_err(|error| error.to_string())
    }

    #[test]
    fn rows_are_exactly_the_members() {
        let good = WheelBuilder::new("x", "1").file("x.py", "1").file("a,b.txt", "2");
        let record = parse(good).unwrap();
        assert_eq!(record.get("a,b.txt").unwrap().digest, Some(Digest::of(b"2")));
        // Row 72 of the catalogue: rows that leave the environment, and every other row that is no member.
        for (row, expected) in [
            ("../../../etc/passwd,sha256=x,1", "a malformed hash"),
            ("../../../etc/passwd,,", "lists `../../../etc/passwd`, which is not in the archive"),
            ("/etc/passwd,,", "lists `/etc/passwd`, which is not in the archive"),
            ("y.py,,", "lists `y.py`, which is not in the archive"),
            ("x.py,,", "has no hash for `x.py`"),
            ("x.py,sha256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,1", "lists `x.py` twice"),
            ("x.py,md5=AAAA,1", "a hash of algorithm `md5`, expected sha256"),
            ("x.py,AAAA,1", "a hash without an algorithm"),
            ("x.py,,x", "a size that is no number"),
            ("x.py,,1,more", "more than three fields"),
        ] {
            let error = parse(WheelBuilder::new("x", "1").file("x.py", "1").record_row(row)).unwrap_err();
            assert!(error.contains(expected), "{row}: {error}");
        }
        let error = parse(WheelBuilder::new("x", "1").unrecorded("x/evil.py", "1")).unwrap_err();
        assert!(error.contains("RECORD does not list `x/evil.py`"), "{error}");
        parse(WheelBuilder::new("x", "1").unrecorded("x-1.dist-info/RECORD.jws", "{}")).unwrap();
    }

    #[test]
    fn written_as_python_writes_csv() {
        let row = Row { digest: Some(Digest::of(b"")), size: Some(0) };
        let none = Row { digest: None, size: None };
        let rows = BTreeMap::from([("b,\"c\"".to_string(), row), ("a".to_string(), none)]);
        let expected = "a,,\r\n\"b,\"\"c\"\"\",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\r\n";
        assert_eq!(String::from_utf8(write(&rows)).unwrap(), expected);
    }
}
