//! The JSON of Zipkin's API, version 2: an array of spans, read one by one.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer as _, Error as _, SeqAccess, Visitor};

use crate::error::{Error, Result};

/// A span. Times are microseconds.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    pub(super) trace_id: String,
    pub(super) id: String,
    pub(super) parent_id: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) timestamp: Option<u64>,
    pub(super) duration: Option<u64>,
    pub(super) local_endpoint: Option<Endpoint>,
    pub(super) remote_endpoint: Option<Endpoint>,
    pub(super) annotations: Option<Vec<Annotation>>,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

/// One side of a call.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    pub(super) service_name: Option<String>,
    pub(super) ipv4: Option<String>,
    pub(super) ipv6: Option<String>,
    pub(super) port: Option<i64>,
}

/// Something that happened.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Annotation {
    pub(super) timestamp: u64,
    pub(super) value: String,
}

/// Reads an array and hands out its elements.
///
/// # Errors
/// Where the text is none, with its place; what `take` says.
pub(super) fn read<T: for<'a> Deserialize<'a>>(
    text: &[u8],
    name: &str,
    take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let mut refused = None;
    let elements = Elements { take, refused: &mut refused, of: PhantomData };
    let read = reader.deserialize_seq(elements).and_then(|()| reader.end());
    match (refused, read) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => {
            Err(Error::corrupt(name, None, "Zipkin spans as a JSON array", error.to_string()))
        }
        (None, Ok(())) => Ok(()),
    }
}

struct Elements<'a, T, F> {
    take: F,
    refused: &'a mut Option<Error>,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<()>> Visitor<'de> for Elements<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of spans")
    }

    fn visit_seq<A: SeqAccess<'de>>(
        mut self,
        mut elements: A,
    ) -> std::result::Result<(), A::Error> {
        while let Some(element) = elements.next_element()? {
            if let Err(error) = (self.take)(element) {
                *self.refused = Some(error);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}
