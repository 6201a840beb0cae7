//! The arguments: what is sent, how fast, to whom.

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Http,
}

/// A server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) protocol: Protocol,
    pub(crate) address: String,
    /// Where it answers questions, if they are to be asked.
    pub(crate) ask: Option<String>,
    pub(crate) blocks: Option<PathBuf>,
    pub(crate) wal: Option<PathBuf>,
    pub(crate) tenant: Option<String>,
}

/// All arguments.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) input: PathBuf,
    pub(crate) targets: Vec<Target>,
    pub(crate) length: Duration,
    pub(crate) rounds: usize,
    /// Spans a second; without, as many as are acknowledged.
    pub(crate) rate: Option<f64>,
    pub(crate) connections: usize,
    /// Spans of a request, about.
    pub(crate) batch: usize,
    /// Requests that the spans of a trace come in.
    pub(crate) pieces: usize,
    /// How long a server may go on after the last request.
    pub(crate) settle: Duration,
    pub(crate) sample: Option<Duration>,
    pub(crate) questions: Vec<String>,
    pub(crate) ask_every: Duration,
}

impl Arguments {
    /// `None` if there is nobody to send to.
    pub(crate) fn parse(given: impl Iterator<Item = String>) -> Result<Option<Self>, Error> {
        let mut arguments = Self {
            input: PathBuf::new(),
            targets: Vec::new(),
            length: Duration::from_secs(10),
            rounds: 1,
            rate: None,
            connections: 4,
            batch: 200,
            pieces: 2,
            settle: Duration::ZERO,
            sample: None,
            questions: Vec::new(),
            ask_every: Duration::from_millis(250),
        };
        let mut given = given;
        while let Some(name) = given.next() {
            let value = given.next().ok_or_else(|| format!("{name} wants a value"))?;
            let seconds = || value.parse().map(Duration::from_secs_f64);
            match name.as_str() {
                "--input" => arguments.input = value.into(),
                "--target" => arguments.targets.push(Target::parse(&value)?),
                "--seconds" => arguments.length = seconds()?,
                "--rounds" => arguments.rounds = value.parse()?,
                "--rate" => arguments.rate = Some(value.parse()?),
                "--connections" => arguments.connections = value.parse()?,
                "--batch" => arguments.batch = value.parse()?,
                "--pieces" => arguments.pieces = value.parse()?,
                "--settle" => arguments.settle = seconds()?,
                "--sample" => arguments.sample = Some(seconds()?),
                "--question" => arguments.questions.push(value),
                "--ask-every" => arguments.ask_every = Duration::from_millis(value.parse()?),
                _ => return Err(format!("{name} is no argument").into()),
            }
        }
        Ok((!arguments.targets.is_empty()).then_some(arguments))
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, Error> {
        let of = |name: &str| {
            let mut pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let send = of("send").ok_or("a target wants send=grpc://ADDR or send=http://ADDR")?;
        let (protocol, address) = match send.split_once("://") {
            Some(("grpc", address)) => (Protocol::Grpc, address),
            Some(("http", address)) => (Protocol::Http, address),
            _ => return Err(format!("{send} is neither grpc://ADDR nor http://ADDR").into()),
        };
        Ok(Self {
            name: of("name").unwrap_or_else(|| address.to_owned()),
            pid: of("pid").ok_or("a target wants the pid of its process")?.parse()?,
            protocol,
            address: address.to_owned(),
            ask: of("ask"),
            blocks: of("blocks").map(PathBuf::from),
            wal: of("wal").map(PathBuf::from),
            tenant: of("tenant"),
        })
    }
}
