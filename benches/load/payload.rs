//! Requests made once and sent again and again, each time as other traces of the present: ids of
//! traces and times are changed where they lie in the encoded bytes, which costs next to nothing.

use std::fmt;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;

/// All requests, in the order in which they are sent.
#[derive(Debug)]
pub(crate) struct Requests {
    requests: Vec<Request>,
    n_traces: usize,
}

#[derive(Debug)]
struct Request {
    bytes: Vec<u8>,
    /// Where ids of traces begin, those in links among them.
    ids: Vec<usize>,
    /// Where times begin.
    times: Vec<usize>,
    n_spans: usize,
    /// The latest time in the requests that share its traces.
    latest: u64,
}

impl Requests {
    /// Makes requests of about `batch` spans from records of one trace each, as `gen_traces.py`
    /// writes them. The resources of a trace are dealt out to `pieces` requests that follow each
    /// other, as they come from different services.
    pub(crate) fn read(mut records: &[u8], batch: usize, pieces: usize) -> Result<Self, Error> {
        let mut all = Self { requests: Vec::new(), n_traces: 0 };
        let mut group: Vec<Request> = Vec::new();
        while let Some((length, rest)) = records.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let record = rest.get(..length).ok_or("the last record is not whole")?;
            records = &rest[length..];
            all.n_traces += 1;
            if group.is_empty() {
                group.extend((0..pieces).map(|_| Request::empty()));
            }
            for (n, resource_spans) in fields(record)?.into_iter().enumerate() {
                // With its tag and its length: a request is resources one after the other.
                group[n % pieces].push(record, resource_spans.whole)?;
            }
            let n_spans: usize = group.iter().map(|request| request.n_spans).sum();
            if n_spans >= batch * pieces {
                all.close(std::mem::take(&mut group));
            }
        }
        all.close(group);
        match all.requests.is_empty() {
            true => Err("no traces to send".into()),
            false => Ok(all),
        }
    }

    fn close(&mut self, group: Vec<Request>) {
        let latest = group.iter().map(|request| request.latest).max().unwrap_or_default();
        let used = group.into_iter().filter(|request| request.n_spans > 0);
        self.requests.extend(used.map(|request| Request { latest, ..request }));
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn span_count(&self) -> usize {
        self.requests.iter().map(|request| request.n_spans).sum()
    }

    /// Writes the request of a number, as traces that nobody has seen and that end now; the number
    /// of its spans.
    pub(crate) fn fresh(&self, number: u64, to: &mut Vec<u8>) -> usize {
        #[expect(clippy::disallowed_methods, reason = "live spans are of the present")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let (n, at) = (self.requests.len() as u64, number % self.requests.len() as u64);
        let request = &self.requests[usize::try_from(at).unwrap_or_default()];
        // One value for all requests of a replay, so that pieces of a trace stay together; another
        // for every replay and every run of this program.
        let replay = scramble((number / n) ^ u64::from(std::process::id()) << 32).to_le_bytes();
        to.clear();
        to.extend_from_slice(&request.bytes);
        for &at in &request.ids {
            to[at..at + 8].iter_mut().zip(replay).for_each(|(byte, other)| *byte ^= other);
        }
        let later = u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(request.latest);
        for &at in &request.times {
            if let Some(time) = to[at..].first_chunk_mut::<8>() {
                *time = u64::from_le_bytes(*time).wrapping_add(later).to_le_bytes();
            }
        }
        request.n_spans
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.requests.iter().map(|request| request.bytes.len()).sum();
        let (n_requests, n_spans) = (self.len(), self.span_count());
        write!(
            f,
            "{n_requests} requests of {:.0} spans and {:.0} bytes; {} traces, {:.0} bytes a span",
            n_spans as f64 / n_requests as f64,
            bytes as f64 / n_requests as f64,
            self.n_traces,
            bytes as f64 / n_spans as f64,
        )
    }
}

impl Request {
    fn empty() -> Self {
        Self { bytes: Vec::new(), ids: Vec::new(), times: Vec::new(), n_spans: 0, latest: 0 }
    }

    /// Adds one resource and its spans, a field of a record.
    fn push(&mut self, record: &[u8], resource_spans: Range<usize>) -> Result<(), Error> {
        let base = self.bytes.len();
        let bytes = &record[resource_spans];
        self.bytes.extend_from_slice(bytes);
        for resource_spans in fields(bytes)? {
            for scope_spans in inside(bytes, &resource_spans, 2)? {
                for span in inside(bytes, &scope_spans, 2)? {
                    self.n_spans += 1;
                    self.note(bytes, &span, base, &[1], &[7, 8])?;
                    for event in inside(bytes, &span, 11)? {
                        self.note(bytes, &event, base, &[], &[1])?;
                    }
                    for link in inside(bytes, &span, 13)? {
                        self.note(bytes, &link, base, &[1], &[])?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes where ids and times of a message lie.
    fn note(
        &mut self,
        bytes: &[u8],
        message: &Field,
        base: usize,
        ids: &[u64],
        times: &[u64],
    ) -> Result<(), Error> {
        for field in fields_in(bytes, message.contents.clone())? {
            let at = base + field.contents.start;
            if ids.contains(&field.number) && field.contents.len() == 16 {
                self.ids.push(at);
            }
            if times.contains(&field.number)
                && let Some(time) = bytes[field.contents.clone()].first_chunk::<8>()
            {
                self.times.push(at);
                self.latest = self.latest.max(u64::from_le_bytes(*time));
            }
        }
        Ok(())
    }
}

/// A field of a message: where it lies, and where its contents do.
#[derive(Clone, Debug)]
struct Field {
    number: u64,
    whole: Range<usize>,
    contents: Range<usize>,
}

fn fields(message: &[u8]) -> Result<Vec<Field>, Error> {
    fields_in(message, 0..message.len())
}

fn inside(bytes: &[u8], message: &Field, number: u64) -> Result<Vec<Field>, Error> {
    let mut found = fields_in(bytes, message.contents.clone())?;
    found.retain(|field| field.number == number);
    Ok(found)
}

fn fields_in(bytes: &[u8], range: Range<usize>) -> Result<Vec<Field>, Error> {
    let (mut at, mut found) = (range.start, Vec::new());
    while at < range.end {
        let start = at;
        let tag = varint(bytes, &mut at)?;
        let length = match tag & 7 {
            0 => {
                let from = at;
                varint(bytes, &mut at)?;
                at = from;
                bytes[at..].iter().position(|byte| byte & 0x80 == 0).map_or(1, |n| n + 1)
            }
            1 => 8,
            2 => usize::try_from(varint(bytes, &mut at)?)?,
            5 => 4,
            other => return Err(format!("wire type {other} in the input").into()),
        };
        let end = at.checked_add(length).filter(|end| *end <= range.end);
        let end = end.ok_or("a field of the input is not whole")?;
        found.push(Field { number: tag >> 3, whole: start..end, contents: at..end });
        at = end;
    }
    Ok(found)
}

fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, Error> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or("a number of the input is not whole")?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number of the input has more than 64 bits".into())
}

/// A number that looks like no other: splitmix64's.
fn scramble(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
