//! What a protobuf message takes once decoded, told from its bytes: two bytes may stand for a message of
//! hundreds. Keeps nothing, and leaves what is wrong with the bytes for the decoder to say.

use prost::encoding::{WireType, decode_key, decode_varint, skip_field};

/// The repeated fields of a message: their number, what an element takes besides its bytes, and its
/// own repeated fields.
pub(super) struct Shape(pub(super) &'static [(u32, usize, &'static Self)]);

/// Bytes, about. Lists grow by doubling, so an element counts twice.
pub(super) fn decoded_bytes(shape: &Shape, message: &[u8]) -> u64 {
    let mut bytes = message.len() as u64;
    let mut rest = message;
    while !rest.is_empty() {
        let Ok((number, wire)) = decode_key(&mut rest) else { return bytes };
        if wire != WireType::LengthDelimited {
            if skip_field(wire, number, &mut rest, Default::default()).is_err() {
                return bytes;
            }
            continue;
        }
        let length = decode_varint(&mut rest).ok().and_then(|n| usize::try_from(n).ok());
        let Some((field, after)) = length.and_then(|n| rest.split_at_checked(n)) else {
            return bytes;
        };
        rest = after;
        if let Some((_, own, below)) = shape.0.iter().find(|(known, ..)| *known == number) {
            // What it holds is counted already.
            let held = decoded_bytes(below, field).saturating_sub(field.len() as u64);
            bytes += 2 * *own as u64 + held;
        }
    }
    bytes
}

/// The elements of a repeated field of the outermost message, one by one.
///
/// # Errors
/// Where the bytes are no message.
pub(super) fn elements(
    mut message: &[u8],
    mut each: impl FnMut(u32, &[u8]) -> crate::Result<()>,
    corrupt: impl Fn(String) -> crate::Error,
) -> crate::Result<()> {
    while !message.is_empty() {
        let (number, wire) = decode_key(&mut message).map_err(|e| corrupt(e.to_string()))?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, number, &mut message, Default::default())
                .map_err(|e| corrupt(e.to_string()))?;
            continue;
        }
        let length = decode_varint(&mut message).map_err(|e| corrupt(e.to_string()))?;
        let split = usize::try_from(length).ok().and_then(|n| message.split_at_checked(n));
        let Some((field, rest)) = split else {
            return Err(corrupt(format!("a field of {length} bytes, {} are left", message.len())));
        };
        each(number, field)?;
        message = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_that_take_more_than_their_bytes_are_weighed() {
        static INNER: Shape = Shape(&[(1, 50, &Shape(&[]))]);
        static OUTER: Shape = Shape(&[(2, 100, &INNER)]);
        // Field 2 of no bytes, twice, and field 2 with a field 1 of no bytes.
        let message = [0x12, 0, 0x12, 0, 0x12, 2, 0x0a, 0];
        assert_eq!(decoded_bytes(&OUTER, &message), 8 + 3 * 200 + 100);
        assert_eq!(decoded_bytes(&OUTER, &[0x12, 9]), 2);
        assert_eq!(decoded_bytes(&OUTER, &[0x08, 1, 0x12, 0]), 4 + 200);
    }
}
