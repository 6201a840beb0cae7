//! What a protobuf message takes once decoded, told from its bytes: two bytes may stand for a message of
//! hundreds. Keeps nothing, and leaves what is wrong with the bytes for the decoder to say.

use crate::protobuf::fields;

/// The repeated fields of a message: their number, what an element takes besides its bytes, and its
/// own repeated fields.
pub(super) struct Shape(pub(super) &'static [(u32, usize, &'static Self)]);

/// Bytes, about. Lists grow by doubling, so an element counts twice.
pub(super) fn decoded_bytes(shape: &Shape, message: &[u8]) -> u64 {
    let mut bytes = message.len() as u64;
    for (number, field) in fields(message).map_while(Result::ok) {
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
    message: &[u8],
    mut each: impl FnMut(u32, &[u8]) -> crate::Result<()>,
    corrupt: impl Fn(String) -> crate::Error,
) -> crate::Result<()> {
    for field in fields(message) {
        let (number, field) = field.map_err(&corrupt)?;
        each(number, field)?;
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
