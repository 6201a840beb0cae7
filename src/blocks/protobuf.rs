//! The fields of a protobuf message that have bytes of their own, without decoding them: strings,
//! bytes and messages. Numbers are passed over.

use prost::encoding::{WireType, decode_key, decode_varint, skip_field};

/// Number and bytes of such fields, in their order. What is wrong with the message comes last.
#[derive(Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

/// The fields of a message.
pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

impl<'a> Fields<'a> {
    fn next_field(&mut self) -> Result<Option<(u32, &'a [u8])>, String> {
        while !self.0.is_empty() {
            let (number, wire) = decode_key(&mut self.0).map_err(|error| error.to_string())?;
            if wire != WireType::LengthDelimited {
                skip_field(wire, number, &mut self.0, Default::default())
                    .map_err(|error| error.to_string())?;
                continue;
            }
            let length = decode_varint(&mut self.0).map_err(|error| error.to_string())?;
            let split = usize::try_from(length).ok().and_then(|n| self.0.split_at_checked(n));
            let Some((field, rest)) = split else {
                return Err(format!("a field of {length} bytes, {} are left", self.0.len()));
            };
            self.0 = rest;
            return Ok(Some((number, field)));
        }
        Ok(None)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, &'a [u8]), String>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_field().transpose();
        if matches!(next, Some(Err(_))) {
            self.0 = &[];
        }
        next
    }
}
