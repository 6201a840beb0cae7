use super::*;

const KEY: &str = "s3://b/t/m/meta.json";

fn parse(json: &str) -> Result<BlockMeta> {
    match BlockMeta::parse(KEY, json.as_bytes())? {
        ParsedMeta::Block(meta) => Ok(meta),
        ParsedMeta::Inert { format } => panic!("{format} is inert"),
    }
}

/// The required members and `more`.
fn with(more: &str) -> String {
    format!(
        r#"{{"format":"vParquet4","blockID":"55555555-0000-4000-8000-000000000001","tenantID":"t"{more}}}"#
    )
}

#[test]
fn every_member_is_read() {
    let meta = parse(
        r#"{"format":"vParquet5","blockID":"55555555-0000-4000-8000-000000000001",
            "tenantID":"synthetic","startTime":"2025-06-15T15:06:40Z",
            "endTime":"2025-06-15T17:12:37.25+02:00","totalObjects":52,"size":202849,
            "compactionLevel":3,"indexPageSize":0,"totalRecords":5,"bloomShards":4,
            "footerSize":53807,"dedicatedColumns":[{"s":"resource","n":"host.cpu.count","t":"int"},
            {"n":"db.statement","o":["blob"]},{"s":"event","n":"exception.message","o":["array"]}],
            "replicationFactor":1,"minID":"AAAA","dataEncoding":"v2","later":{"a":[1]}}"#,
    )
    .unwrap();
    assert_eq!(meta.version, FormatVersion::VParquet5);
    assert_eq!(meta.block_id.to_string(), "55555555-0000-4000-8000-000000000001");
    assert_eq!(meta.tenant, "synthetic");
    assert_eq!(meta.start_unix_nanos, 1_750_000_000_000_000_000);
    assert_eq!(meta.end_unix_nanos, 1_750_000_357_250_000_000);
    assert_eq!((meta.total_objects, meta.size_bytes), (52, 202_849));
    assert_eq!((meta.compaction_level, meta.total_records), (3, 5));
    assert_eq!((meta.bloom_shards, meta.footer_size, meta.replication_factor), (4, 53_807, 1));
    let column = |scope, name: &str, column_type, blob, array| DedicatedColumn {
        scope,
        name: name.to_owned(),
        column_type,
        blob,
        array,
    };
    use DedicatedScope::{Event, Resource, Span};
    assert_eq!(
        meta.dedicated_columns,
        [
            column(Resource, "host.cpu.count", DedicatedType::Int, false, false),
            column(Span, "db.statement", DedicatedType::String, true, false),
            column(Event, "exception.message", DedicatedType::String, false, true),
        ]
    );
}

#[test]
fn what_is_missing_has_a_meaning() {
    let meta = parse(&with("")).unwrap();
    assert_eq!((meta.start_unix_nanos, meta.end_unix_nanos), (0, i64::MAX));
    assert_eq!((meta.bloom_shards, meta.replication_factor), (10, 0));
    assert!(meta.dedicated_columns.is_empty());
    let meta = parse(&with(
        r#","startTime":"0001-01-01T00:00:00Z","endTime":"0001-01-01T00:00:00Z","dedicatedColumns":null"#,
    ))
    .unwrap();
    assert_eq!((meta.start_unix_nanos, meta.end_unix_nanos), (0, i64::MAX));
}

#[test]
fn times_have_any_offset_and_fraction() {
    let check = |text: &str, nanos: i64| {
        assert_eq!(text.parse::<Time>().unwrap().unix_nanos(), nanos, "{text}");
    };
    check("1970-01-01T00:00:01Z", 1_000_000_000);
    check("1970-01-01T00:00:01.5Z", 1_500_000_000);
    check("1970-01-01T01:00:01.123456789+01:00", 1_123_456_789);
    check("1969-12-31T18:30:01.1234567899999-05:30", 1_123_456_789);
}

#[test]
fn times_beyond_64_bits_are_clamped() {
    let meta =
        parse(&with(r#","startTime":"1500-01-01T00:00:00Z","endTime":"9000-01-01T00:00:00Z""#))
            .unwrap();
    assert_eq!((meta.start_unix_nanos, meta.end_unix_nanos), (i64::MIN, i64::MAX));
    assert!(meta.overlaps(TimeRange::ALL));
}

#[test]
fn preview_formats_are_inert_and_others_refused_by_name() {
    let json = with("").replace("vParquet4", "vParquet6-preview1");
    assert_eq!(
        BlockMeta::parse(KEY, json.as_bytes()).unwrap(),
        ParsedMeta::Inert { format: "vParquet6-preview1".to_owned() }
    );
    let error = parse(&with("").replace("vParquet4", "v2")).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }));
    assert_eq!(
        error.to_string(),
        "s3://b/t/m/meta.json is not supported: \
         block format \"v2\" is not one of vParquet3, vParquet4, vParquet5"
    );
}

#[test]
fn garbage_is_corrupt_and_names_the_object() {
    for json in ["", "{", "[]", "null", r#"{"format":"vParquet4"}"#, "\u{0}\u{1}"] {
        let error = parse(json).unwrap_err();
        assert!(matches!(&error, Error::Corrupt { key, .. } if key == KEY), "{json}: {error}");
    }
    for more in [
        r#","totalObjects":-1"#,
        r#","size":-5"#,
        r#","startTime":"yesterday""#,
        r#","bloomShards":4294967296"#,
        r#","dedicatedColumns":[{"s":"span"}]"#,
    ] {
        let error = parse(&with(more)).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{more}: {error}");
    }
    let error = parse(&with(r#","dedicatedColumns":[{"n":"a","t":"float"}]"#)).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

proptest::proptest! {
    /// Damaged metas are read or refused, never a panic, and what was read can be written and
    /// judged by time.
    #[test]
    fn damaged_metas_never_panic(at in 0_usize..735, byte: u8, insert: bool, start: i64, end: i64) {
        let mut json = include_bytes!(
            "../../../testdata/blocks/shop/shop5/2904655c-7134-5dc4-88ef-d24797772124/meta.json"
        )
        .to_vec();
        if insert {
            json.insert(at % json.len(), byte);
        } else {
            let n = json.len();
            json[at % n] = byte;
        }
        if let Ok(ParsedMeta::Block(meta)) = BlockMeta::parse(KEY, &json) {
            let range = TimeRange { start_unix_nanos: start, end_unix_nanos: end };
            proptest::prop_assert!(!meta.overlaps(range) || meta.overlaps(TimeRange::ALL));
            let again = BlockMeta::parse(KEY, &meta.to_json()).unwrap();
            proptest::prop_assert_eq!(again, ParsedMeta::Block(meta));
        }
    }

    #[test]
    fn written_metas_read_the_same(start: i64, end: i64, objects in 0..i64::MAX) {
        let mut meta = parse(&with("")).unwrap();
        meta.start_unix_nanos = start;
        meta.end_unix_nanos = end;
        meta.total_objects = objects.unsigned_abs();
        let again = BlockMeta::parse(KEY, &meta.to_json()).unwrap();
        proptest::prop_assert_eq!(again, ParsedMeta::Block(meta));
    }
}

#[test]
fn writing_gives_back_what_tempo_wrote() {
    let shop = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/blocks");
    let mut checked = 0;
    for block in [
        "shop/shop3/6cd6c973-79ce-5393-8142-1d7c944f8a05",
        "shop/shop4/4c581ad0-196a-5625-9db0-f2bf4311d5c3",
        "shop/shop5/2904655c-7134-5dc4-88ef-d24797772124",
        "fixtures/vParquet5/synthetic/55555555-0000-4000-8000-000000000001",
    ] {
        let json = std::fs::read(format!("{shop}/{block}/meta.json")).unwrap();
        let ParsedMeta::Block(meta) = BlockMeta::parse(KEY, &json).unwrap() else {
            panic!("{block} is inert");
        };
        assert_eq!(
            String::from_utf8(meta.to_json()).unwrap(),
            String::from_utf8(json).unwrap(),
            "{block}"
        );
        checked += 1;
    }
    assert_eq!(checked, 4);
}

#[test]
fn overlap_is_judged_to_the_second() {
    const SECOND: i64 = 1_000_000_000;
    let mut meta = parse(&with("")).unwrap();
    meta.start_unix_nanos = 10 * SECOND + 5;
    meta.end_unix_nanos = 20 * SECOND;
    let overlaps = |start_unix_nanos, end_unix_nanos| {
        meta.overlaps(TimeRange { start_unix_nanos, end_unix_nanos })
    };
    assert!(overlaps(0, 10 * SECOND + 1));
    assert!(!overlaps(0, 10 * SECOND));
    // The last span may have ended late in second 20.
    assert!(overlaps(20 * SECOND + 999, 30 * SECOND));
    assert!(!overlaps(21 * SECOND + 1, 30 * SECOND));
    assert!(overlaps(i64::MIN, i64::MAX));
}

#[test]
fn dedicated_columns_are_written_as_people_do() {
    let parse = |text: &str| text.parse::<DedicatedColumn>();
    for text in ["span.a", "resource.a.b", "event.aws:region", "span.n:int", "span.x:blob:array"] {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
    assert_eq!(parse("span.a:string").unwrap().to_string(), "span.a");
    assert_eq!(parse("event.aws:region").unwrap().name, "aws:region");
    for bad in ["", "a", "link.a", "span.", "span.:int", ".a"] {
        assert!(matches!(parse(bad), Err(Error::Usage { .. })), "{bad:?}");
    }
}
