//! What a message asks, and what is told of a query that breaks off. Whole calls are tested against the
//! real binary.

use axum::http::HeaderMap;
use prost::Message;
use tonic::Code;

use super::request::{
    QueryInstantRequest, QueryRangeRequest, SearchRequest, SearchTagValuesRequest,
    SearchTagsRequest, deadline, read,
};
use super::*;

fn parameters(query: Query, message: &impl Message) -> Result<String, Status> {
    let (parameters, argument) = read(query, message.encode_to_vec().into())?;
    Ok(format!("{argument}?{parameters}"))
}

#[test]
fn messages_ask_what_parameters_ask() {
    let check = |query, message: &dyn Fn() -> Vec<u8>, expected: &str| {
        let (parameters, argument) = read(query, message().into()).unwrap();
        assert_eq!(format!("{argument}?{parameters}"), expected);
    };
    let search = SearchRequest {
        query: "{ }".to_owned(),
        limit: 5,
        start: 10,
        end: 20,
        spans_per_span_set: 7,
        ..SearchRequest::default()
    };
    check(Query::Search, &|| search.encode_to_vec(), "?q={ }&limit=5&spss=7&start=10&end=20");
    let tags = SearchRequest {
        tags: [("a".to_owned(), "b \"c\" \\".to_owned())].into(),
        min_duration_ms: 15,
        ..SearchRequest::default()
    };
    check(Query::Search, &|| tags.encode_to_vec(), r#"?tags=a="b \"c\" \\" &minDuration=15ms"#);
    let names = SearchTagsRequest {
        scope: "span".to_owned(),
        max_tags_per_scope: 9,
        ..SearchTagsRequest::default()
    };
    check(Query::TagNamesV2, &|| names.encode_to_vec(), "?scope=span&limit=9");
    let values = SearchTagValuesRequest {
        tag_name: ".a".to_owned(),
        query: "{".to_owned(),
        ..SearchTagValuesRequest::default()
    };
    check(Query::TagValuesV2, &|| values.encode_to_vec(), ".a?q={");
    let range = QueryRangeRequest {
        query: "{ } | rate()".to_owned(),
        start: 5,
        end: 1_700_000_000_000_000_000,
        step: 15_000_000_000,
        ..QueryRangeRequest::default()
    };
    check(
        Query::MetricsRange,
        &|| range.encode_to_vec(),
        "?start=00000000000000000005&end=01700000000000000000&q={ } | rate()&step=15000000000ns\
         &instant=false",
    );
}

#[test]
fn what_no_parameters_could_ask_is_refused() {
    let check = |asked: Result<String, Status>, message: &str| {
        let status = asked.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message));
    };
    let half = QueryInstantRequest { start: 5, ..QueryInstantRequest::default() };
    check(
        parameters(Query::MetricsInstant, &half),
        "only one of start and end provided: must provide both or neither",
    );
    let tags = [("a b".to_owned(), String::new())].into();
    let odd = SearchRequest { tags, ..SearchRequest::default() };
    check(parameters(Query::Search, &odd), "invalid tags: \"a b\" cannot be a key");
    let nothing = SearchTagValuesRequest::default();
    check(parameters(Query::TagValuesV1, &nothing), "please provide a non-empty tagName");
    let broken = read(Query::Search, Bytes::from_static(&[0x0a, 0xff])).unwrap_err();
    assert_eq!(broken.code(), Code::InvalidArgument);
}

#[test]
fn a_deadline_has_digits_and_a_unit() {
    let of = |text: &'static str| {
        let headers = HeaderMap::from_iter([(
            axum::http::HeaderName::from_static("grpc-timeout"),
            text.parse().unwrap(),
        )]);
        deadline(&headers).ok().flatten().map(|deadline| deadline.as_nanos())
    };
    assert_eq!(deadline(&HeaderMap::new()).unwrap(), None);
    assert_eq!(of("250m"), Some(250_000_000));
    assert_eq!(of("1H"), Some(3_600_000_000_000));
    assert_eq!(of("99999999S"), Some(99_999_999_000_000_000));
    for bad in ["", "5", "S", "-1S", "+1S", "999999999S", "1s", "1 S"] {
        assert_eq!(of(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn a_query_that_breaks_off_does_not_look_complete() {
    use futures::StreamExt as _;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let work = tokio::spawn(async move {
        sender.send(Ok(Bytes::from_static(b"first"))).await.unwrap();
        panic!("as if by a bug");
    });
    let mut messages = Messages::new(receiver, work, None);
    assert_eq!(messages.next().await.unwrap().unwrap(), "first");
    assert_eq!(messages.next().await.unwrap().unwrap_err().code(), Code::Internal);
    assert!(messages.next().await.is_none());
}

#[test]
fn failures_have_the_codes_that_clients_know() {
    let code = |status: u16| {
        let failure = Failure::new(StatusCode::from_u16(status).unwrap(), "no org id\n");
        let status = Status::from(failure);
        assert_eq!(status.message(), "no org id");
        status.code()
    };
    let codes = [400, 401, 404, 429, 500, 501, 503].map(code);
    let expected = [
        Code::InvalidArgument,
        Code::Unknown,
        Code::NotFound,
        Code::ResourceExhausted,
        Code::Internal,
        Code::Unimplemented,
        Code::DeadlineExceeded,
    ];
    assert_eq!(codes, expected);
}
