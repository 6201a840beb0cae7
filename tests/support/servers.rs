//! Real servers for tests: an S3-compatible one, an Azure emulator and a Prometheus, each a process of
//! its own on a port of its own, ended with the test.
//!
//! `.ci/run` installs them: `pip install 'moto[server,s3]'`, `npm install azurite` and `apt-get
//! install prometheus`. A test on a machine without them says so by name on stderr and does nothing. The binaries are looked for on
//! `PATH` and in `~/.cache/traceql/servers` (`moto/bin`, `azurite/node_modules/.bin`).

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use traceql_blocks::bucket::store::SourceOptions;

/// A server process; it ends when this is dropped or the test process ends.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `127.0.0.1:<port>`.
    pub address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

/// Account of Azurite, as its documentation publishes it.
pub const AZURITE_ACCOUNT: &str = "devstoreaccount1";
/// Key of that account, published likewise.
pub const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// A shared access signature made with that key: everything on blobs, until 2099.
pub const AZURITE_SAS: &str = "sv=2019-02-02&ss=b&srt=sco&sp=rwdlac&se=2099-12-31T00%3A00%3A00Z\
                               &sig=kHuefUUN4YmaPUIQpZzreXpdIJhXtF7ZIQLaUKkauB8%3D";

/// How a source on the S3-compatible server is opened.
pub fn s3_options(address: &str) -> SourceOptions {
    SourceOptions {
        s3_endpoint: Some(format!("http://{address}")),
        s3_access_key_id: Some("id".to_owned()),
        s3_secret_access_key: Some("secret".to_owned()),
        ..SourceOptions::default()
    }
}

/// How a source on the Azure emulator is opened.
pub fn azure_options(address: &str) -> SourceOptions {
    let connection = format!(
        "AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};\
         BlobEndpoint=http://{address}/{AZURITE_ACCOUNT};"
    );
    SourceOptions {
        environment: vec![("AZURE_STORAGE_CONNECTION_STRING".to_owned(), connection)],
        ..SourceOptions::default()
    }
}

impl Server {
    /// An S3-compatible server. It takes any credentials, or none.
    pub fn s3() -> Option<Self> {
        Self::start("moto_server", "moto/bin", &["-H", "127.0.0.1", "-p", "0"])
    }

    /// An emulator of Azure Blob Storage. It checks signatures.
    pub fn azure() -> Option<Self> {
        let arguments = [
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            "0",
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
        ];
        Self::start("azurite-blob", "azurite/node_modules/.bin", &arguments)
    }

    /// A server that names its port on either of its streams. The cached folder is where it is
    /// looked for if it is not on `PATH`.
    pub fn start(binary: &str, cached: &str, arguments: &[&str]) -> Option<Self> {
        let Some(path) = find(binary, cached) else {
            // Not by `eprintln!`, whose text the test runner swallows when a test passes.
            let said = writeln!(
                std::io::stderr(),
                "SKIPPED: {binary} is not installed, so nothing was tested against it"
            );
            said.expect("stderr takes a line");
            return None;
        };
        // The shell ends the server when its own input ends, which happens however this process
        // does: statics are never dropped, and a killed test drops nothing.
        let mut child = Command::new("sh")
            .args(["-c", r#""$0" "$@" </dev/null & cat >/dev/null; kill $!"#])
            .arg(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{binary} does not start: {e}"));
        // Either stream may carry the line that names the port; both are read to their ends lest
        // the server block on a full pipe.
        let (found, address) = std::sync::mpsc::channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("it is piped")),
            Box::new(child.stderr.take().expect("it is piped")),
        ];
        for stream in streams {
            let found = found.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Some((_, address)) = line.split_once("127.0.0.1:") {
                        let port: String =
                            address.chars().take_while(char::is_ascii_digit).collect();
                        // Some say first which port they were asked to take: any.
                        if port != "0" {
                            drop(found.send(format!("127.0.0.1:{port}")));
                        }
                    }
                }
            });
        }
        let address = address
            .recv_timeout(Duration::from_secs(60))
            .unwrap_or_else(|e| panic!("{binary} names no port: {e}"));
        Some(Self { child, address })
    }

    /// Creates a bucket in the S3-compatible server, open to all.
    pub fn create_bucket(&self, bucket: &str) {
        self.put(&format!("/{bucket}"), "");
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}]}}"#
        );
        self.put(&format!("/{bucket}?policy"), &policy);
    }

    /// Creates a container in the Azure emulator.
    pub fn create_container(&self, container: &str) {
        self.put(&format!("/{AZURITE_ACCOUNT}/{container}?restype=container&{AZURITE_SAS}"), "");
    }

    fn put(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        write!(
            stream,
            "PUT {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        let status = answer.split_whitespace().nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "PUT {path}: {answer}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test looks for programs where they are installed")]
fn find(binary: &str, cached: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    if let Ok(home) = std::env::var("HOME") {
        folders.push(PathBuf::from(home).join(".cache/traceql/servers").join(cached));
    }
    folders.into_iter().map(|folder| folder.join(binary)).find(|path| path.is_file())
}
