//! Deflate streams of the pinned encoder for files that become members of many layers: made once, spliced often.

use std::io;

use super::run::Tools;

/// A part of a file of at most [`super::encode::RUN`] bytes as a part of its deflate stream; that of the `last` part ends
/// the stream. Parts depend on nothing but themselves, so a file of any size needs no more memory than one.
pub fn deflate_run(plain: &[u8], last: bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (joint, _) = Tools::with(|tools| tools.compress(plain, &mut bytes))?;
    Ok(if last { bytes } else { joint.pieces(&bytes).concat() })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn parts_are_one_stream() {
        let plain: Vec<u8> = (0..300_000u32).flat_map(|n| (n.wrapping_mul(n) / 7).to_le_bytes()).collect();
        for size in [0, 1, 1000, 65_536, plain.len()] {
            for cut in [9770, 40_000, plain.len()] {
                let parts: Vec<&[u8]> = plain[..size].chunks(cut).collect();
                let parts = if parts.is_empty() { vec![&plain[..0]] } else { parts };
                let mut stream = Vec::new();
                for (n, part) in parts.iter().enumerate() {
                    stream.extend(deflate_run(part, n + 1 == parts.len()).unwrap());
                }
                let mut decoder = flate2::read::DeflateDecoder::new(&stream[..]);
                let mut found = Vec::new();
                decoder.read_to_end(&mut found).unwrap();
                assert!(found == plain[..size] && decoder.total_in() as usize == stream.len(), "{size} {cut}");
            }
        }
    }
}
