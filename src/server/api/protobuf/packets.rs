//! A message cut into several that are each small enough for the clients of a stream, which refuse
//! large ones: rows are divided, the rest is repeated, and what is said of the whole comes last
//! (`api.md` 4.3).

use prost::Message;

use super::{
    InstantSeries, PartialStatus, QueryInstantResponse, QueryRangeResponse, SearchResponse,
    SearchTagValuesResponse, SearchTagValuesV2Response, SearchTagsResponse, SearchTagsV2Response,
    SearchTagsV2Scope, TagValue, TimeSeries, TraceSearchMetadata,
};

/// Where Tempo cuts unless told otherwise; Grafana takes four times as much.
pub(crate) const MAX_PACKET_BYTES: usize = 1 << 20;

/// What a row takes besides itself: its field number and length.
const ROW_BYTES: usize = 6;

/// A message whose rows can be divided.
pub(crate) trait Divisible: Message + Default {
    /// What it is a list of.
    type Row: Message;

    /// Takes the rows out.
    fn take_rows(&mut self) -> Vec<Self::Row>;

    /// The rest with some of the rows.
    fn with_rows(&self, rows: Vec<Self::Row>, is_last: bool) -> Self;
}

/// Encodes a message, in parts of at most `max_bytes` unless a single row is larger.
pub(crate) fn packets<M: Divisible>(mut message: M, max_bytes: usize) -> Vec<Vec<u8>> {
    if message.encoded_len() <= max_bytes {
        return vec![message.encode_to_vec()];
    }
    let rows = message.take_rows();
    let rest_bytes = message.encoded_len();
    let mut packets = Vec::new();
    let mut part = Vec::new();
    let mut part_bytes = rest_bytes;
    for row in rows {
        let row_bytes = row.encoded_len() + ROW_BYTES;
        if !part.is_empty() && part_bytes + row_bytes > max_bytes {
            packets.push(message.with_rows(std::mem::take(&mut part), false).encode_to_vec());
            part_bytes = rest_bytes;
        }
        part.push(row);
        part_bytes += row_bytes;
    }
    packets.push(message.with_rows(part, true).encode_to_vec());
    packets
}

/// Messages of one list and a statement of cost, which every part repeats.
macro_rules! divisible {
    ($($message:ident . $rows:ident : $row:ty),+ $(,)?) => {$(
        impl Divisible for $message {
            type Row = $row;

            fn take_rows(&mut self) -> Vec<$row> {
                std::mem::take(&mut self.$rows)
            }

            fn with_rows(&self, rows: Vec<$row>, _is_last: bool) -> Self {
                Self { $rows: rows, ..self.clone() }
            }
        }
    )+};
}

divisible! {
    SearchResponse.traces: TraceSearchMetadata,
    SearchTagsResponse.tag_names: String,
    SearchTagValuesResponse.tag_values: String,
    SearchTagValuesV2Response.tag_values: TagValue,
}

/// The same of messages that also say whether the whole is complete.
macro_rules! divisible_with_status {
    ($($message:ident . $rows:ident : $row:ty),+ $(,)?) => {$(
        impl Divisible for $message {
            type Row = $row;

            fn take_rows(&mut self) -> Vec<$row> {
                std::mem::take(&mut self.$rows)
            }

            fn with_rows(&self, rows: Vec<$row>, is_last: bool) -> Self {
                let part = Self { $rows: rows, ..self.clone() };
                match is_last {
                    true => part,
                    false => Self {
                        status: PartialStatus::Complete.into(),
                        message: String::new(),
                        ..part
                    },
                }
            }
        }
    )+};
}

divisible_with_status! {
    QueryRangeResponse.series: TimeSeries,
    QueryInstantResponse.series: InstantSeries,
}

/// Names are what grows here: a row is one name with its scope, and neighbours of one scope become
/// one again.
impl Divisible for SearchTagsV2Response {
    type Row = SearchTagsV2Scope;

    fn take_rows(&mut self) -> Vec<SearchTagsV2Scope> {
        let scopes = std::mem::take(&mut self.scopes).into_iter();
        let rows = scopes.flat_map(|SearchTagsV2Scope { name, tags }| {
            tags.into_iter()
                .map(move |tag| SearchTagsV2Scope { name: name.clone(), tags: vec![tag] })
        });
        rows.collect()
    }

    fn with_rows(&self, rows: Vec<SearchTagsV2Scope>, _is_last: bool) -> Self {
        let mut scopes: Vec<SearchTagsV2Scope> = Vec::new();
        for row in rows {
            match scopes.last_mut().filter(|last| last.name == row.name) {
                Some(last) => last.tags.extend(row.tags),
                None => scopes.push(row),
            }
        }
        Self { scopes, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::protobuf::SearchMetrics;

    #[test]
    fn rows_are_divided_and_the_rest_is_repeated() {
        let metrics = Some(SearchMetrics { total_jobs: 7, ..SearchMetrics::default() });
        let series = (0_u8..100).map(|n| InstantSeries { value: n.into(), labels: Vec::new() });
        let whole = QueryInstantResponse {
            series: series.collect(),
            metrics,
            status: PartialStatus::Partial.into(),
            message: "cut".to_owned(),
        };
        assert_eq!(packets(whole.clone(), 1 << 20), [whole.encode_to_vec()]);
        let parts = packets(whole.clone(), 120);
        assert!(parts.len() > 10 && parts.iter().all(|part| part.len() <= 120), "{}", parts.len());
        let parts: Vec<_> = parts
            .iter()
            .map(|part| QueryInstantResponse::decode(part.as_slice()).unwrap())
            .collect();
        let (last, others) = parts.split_last().unwrap();
        assert_eq!((last.status, last.message.as_str()), (1, "cut"));
        assert!(others.iter().all(|part| part.status == 0 && part.message.is_empty()));
        assert!(parts.iter().all(|part| part.metrics == metrics));
        let series: Vec<_> = parts.into_iter().flat_map(|part| part.series).collect();
        assert_eq!(series, whole.series);
    }

    #[test]
    fn names_of_a_scope_may_be_divided() {
        let scope = |name: &str, n: usize| SearchTagsV2Scope {
            name: name.to_owned(),
            tags: (0..n).map(|n| format!("tag-{n}")).collect(),
        };
        let whole = SearchTagsV2Response {
            scopes: vec![scope("span", 30), scope("resource", 3)],
            metrics: None,
        };
        let parts = packets(whole.clone(), 200);
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= 200));
        let mut scopes: Vec<SearchTagsV2Scope> = Vec::new();
        for part in parts {
            let part = SearchTagsV2Response::decode(part.as_slice()).unwrap();
            let names: Vec<_> = part.scopes.iter().map(|scope| scope.name.clone()).collect();
            assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
            scopes = SearchTagsV2Response::default()
                .with_rows([scopes, part.scopes].concat(), true)
                .scopes;
        }
        assert_eq!(scopes, whole.scopes);
    }

    #[test]
    fn a_row_that_is_too_large_goes_alone() {
        let whole = SearchTagValuesResponse {
            tag_values: vec!["a".repeat(10), "b".repeat(500), "c".to_owned()],
            metrics: None,
        };
        let parts = packets(whole, 100);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [12, 503, 3]);
    }
}
