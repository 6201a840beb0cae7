use super::*;

#[test]
fn connection_strings_are_taken_apart() {
    use AzureConfigKey as Key;
    assert_eq!(
        connection_settings(
            "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=k+/==;\
             BlobEndpoint=http://127.0.0.1:10000/a;"
        ),
        [
            (Key::AccountName, "a".to_owned()),
            (Key::AccessKey, "k+/==".to_owned()),
            (Key::Endpoint, "http://127.0.0.1:10000/a".to_owned()),
        ]
    );
}

#[test]
fn debug_text_holds_no_secret() {
    let secret = || Some("s3cr3t".to_owned());
    let options = SourceOptions {
        environment: vec![("AWS_SECRET_ACCESS_KEY".to_owned(), "s3cr3t".to_owned())],
        s3_secret_access_key: secret(),
        s3_session_token: secret(),
        ..SourceOptions::default()
    };
    assert!(!format!("{options:?}").contains("s3cr3t"));
}

#[tokio::test]
async fn every_scheme_opens_without_a_request() {
    let environment = [
        ("AWS_REGION", "eu-west-1"),
        ("AZURE_STORAGE_ACCOUNT", "account"),
        ("AZURE_STORAGE_KEY", "a2V5"),
        ("STORAGE_EMULATOR_HOST", "127.0.0.1:1"),
    ];
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let options = SourceOptions {
        environment: environment.iter().map(own).collect(),
        unsigned: true,
        ..SourceOptions::default()
    };
    for (url, listable) in [
        ("s3://bucket", true),
        ("gs://bucket", true),
        ("az://container", true),
        ("abfss://container@account.dfs.core.windows.net", true),
        ("https://host/", false),
        ("sample:", true),
    ] {
        let open = OpenStore::open(url, &options).await.unwrap();
        assert_eq!((&*open.url, open.listable), (url, listable));
    }
}
