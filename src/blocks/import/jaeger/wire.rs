//! Thrift's binary protocol, as far as a reader of structures needs it. Nesting is limited, no length is
//! believed before it was compared with the bytes that are left, and unknown fields are skipped.

use crate::error::{Error, Result};

/// Batches nest five deep; anything much deeper is an attack.
const MAX_DEPTH: usize = 16;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Byte,
    Double,
    I16,
    I32,
    I64,
    /// Text or bytes.
    Binary,
    Struct,
    Map,
    /// A list, or a set, which looks the same.
    List,
}

/// A place in the bytes.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    name: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], name: &'a str) -> Self {
        Self { bytes, at: 0, name }
    }

    /// The same bytes from another place on.
    pub(super) fn from(&self, at: usize) -> Self {
        Self { at, ..Self::new(self.bytes, self.name) }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The error of finding something else here.
    pub(super) fn corrupt(&self, expected: &str, found: impl Into<String>) -> Error {
        let range = self.at as u64..self.bytes.len() as u64;
        Error::corrupt(
            self.name,
            Some(range),
            format!("a Jaeger batch in Thrift: {expected}"),
            found,
        )
    }

    fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let Some(taken) = taken else {
            return Err(self.corrupt(what, format!("{} bytes to the end", self.left())));
        };
        self.at += N;
        Ok(*taken)
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next field of a structure: its type and number; `None` at the end.
    pub(super) fn field(&mut self) -> Result<Option<(Kind, i16)>> {
        let [kind] = self.take("a field")?;
        if kind == 0 {
            return Ok(None);
        }
        let kind = self.kind(kind)?;
        Ok(Some((kind, self.i16()?)))
    }

    fn kind(&self, code: u8) -> Result<Kind> {
        Ok(match code {
            2 => Kind::Bool,
            3 => Kind::Byte,
            4 => Kind::Double,
            6 => Kind::I16,
            8 => Kind::I32,
            10 => Kind::I64,
            11 => Kind::Binary,
            12 => Kind::Struct,
            13 => Kind::Map,
            14 | 15 => Kind::List,
            _ => return Err(self.corrupt("the type of a value", format!("type {code}"))),
        })
    }

    pub(super) fn bool(&mut self) -> Result<bool> {
        Ok(self.take::<1>("a truth value")? != [0])
    }

    pub(super) fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take("an integer of 2 bytes")?))
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take("an integer of 4 bytes")?))
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take("an integer of 8 bytes")?))
    }

    pub(super) fn double(&mut self) -> Result<f64> {
        Ok(f64::from_be_bytes(self.take("a double")?))
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8]> {
        let length = self.i32()?;
        let taken = usize::try_from(length).ok().and_then(|n| self.bytes[self.at..].get(..n));
        let Some(taken) = taken else {
            let found = format!("a length of {length}, {} bytes to the end", self.left());
            return Err(self.corrupt("text or bytes", found));
        };
        self.at += taken.len();
        Ok(taken)
    }

    /// Text; what is no UTF-8 is replaced, as senders of other languages do not check it.
    pub(super) fn text(&mut self) -> Result<String> {
        Ok(String::from_utf8_lossy(self.binary()?).into_owned())
    }

    /// The number of elements of a list, and their type.
    pub(super) fn list(&mut self) -> Result<(Kind, usize)> {
        let [kind] = self.take("a list")?;
        let length = self.i32()?;
        // An empty list may say that it is one of nothing.
        let kind = if length == 0 { Kind::Byte } else { self.kind(kind)? };
        Ok((kind, self.length(length)?))
    }

    /// The number of elements of a list of structures.
    pub(super) fn structs(&mut self) -> Result<usize> {
        match self.list()? {
            (Kind::Struct, n) => Ok(n),
            (_, 0) => Ok(0),
            (kind, _) => Err(self.corrupt("a list of structures", format!("one of {kind:?}"))),
        }
    }

    /// A number of elements, each of which takes a byte at least.
    fn length(&self, length: i32) -> Result<usize> {
        let found = || format!("{length} elements in {} bytes", self.left());
        let length = usize::try_from(length).ok().filter(|n| *n <= self.left());
        length.ok_or_else(|| self.corrupt("a list", found()))
    }

    /// Skips a value.
    pub(super) fn skip(&mut self, kind: Kind) -> Result<()> {
        self.skip_within(kind, MAX_DEPTH)
    }

    fn skip_within(&mut self, kind: Kind, depth: usize) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.corrupt("a value", "one that is nested too deeply"));
        };
        match kind {
            Kind::Bool | Kind::Byte => self.take::<1>("a byte").map(drop),
            Kind::I16 => self.i16().map(drop),
            Kind::I32 => self.i32().map(drop),
            Kind::I64 => self.i64().map(drop),
            Kind::Double => self.double().map(drop),
            Kind::Binary => self.binary().map(drop),
            Kind::Struct => {
                while let Some((kind, _)) = self.field()? {
                    self.skip_within(kind, depth)?;
                }
                Ok(())
            }
            Kind::List => {
                let (kind, n) = self.list()?;
                (0..n).try_for_each(|_| self.skip_within(kind, depth))
            }
            Kind::Map => {
                let [key, value] = self.take("a map")?;
                let length = self.i32()?;
                if length == 0 {
                    return Ok(());
                }
                let (key, value, n) = (self.kind(key)?, self.kind(value)?, self.length(length)?);
                (0..n).try_for_each(|_| {
                    self.skip_within(key, depth)?;
                    self.skip_within(value, depth)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_skipped() {
        // A map of i32 to lists of doubles, a set of bytes, a structure with a truth value.
        let mut bytes = vec![13, 0, 1, 8, 15, 0, 0, 0, 1, 0, 0, 0, 7, 4, 0, 0, 0, 1];
        bytes.extend([0; 8]);
        bytes.extend([14, 0, 2, 3, 0, 0, 0, 2, 1, 2]);
        bytes.extend([12, 0, 3, 2, 0, 1, 1, 0]);
        bytes.extend([15, 0, 4, 0, 0, 0, 0, 0]);
        bytes.push(0);
        let mut reader = Reader::new(&bytes, "it");
        reader.skip(Kind::Struct).unwrap();
        assert!(reader.is_at_end());
        for end in 0..bytes.len() {
            assert!(Reader::new(&bytes[..end], "it").skip(Kind::Struct).is_err(), "{end}");
        }
    }

    #[test]
    fn lengths_and_depths_are_not_believed() {
        let error =
            |bytes: &[u8], kind| Reader::new(bytes, "it").skip(kind).unwrap_err().to_string();
        let told = error(&[0x7f, 0xff, 0xff, 0xff, 1], Kind::Binary);
        assert!(told.contains("a length of 2147483647, 1 bytes to the end"), "{told}");
        assert!(error(&[0xff; 4], Kind::Binary).contains("a length of -1"));
        assert!(error(&[3, 0x7f, 0xff, 0xff, 0xff], Kind::List).contains("2147483647 elements"));
        assert!(error(&[99, 0, 1], Kind::Struct).contains("type 99"));
        let deep: Vec<u8> = [12, 0, 1].repeat(1000);
        assert!(error(&deep, Kind::Struct).contains("nested too deeply"));
    }
}
