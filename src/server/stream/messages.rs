//! One query as a stream of messages. While it runs there is a message at most every half second,
//! with what is new; the whole answer comes last, in packets, before the status.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tonic::{Code, Status};

use crate::api::protobuf::packets::{Divisible, MAX_PACKET_BYTES, packets};
use crate::api::protobuf::{
    self, QueryInstantResponse, QueryRangeResponse, SearchResponse, SearchTagValuesResponse,
    SearchTagValuesV2Response, SearchTagsResponse, SearchTagsV2Response,
};
use crate::handler::{Asked, Context, News, Watch};
use crate::reply::Failure;
use crate::route::Query;
use crate::task::AbortOnDrop;
use crate::telemetry::Request as Observed;

/// The time between two messages of a running query.
const CADENCE: Duration = Duration::from_millis(500);

/// Messages that may wait for a slow client. News beyond them wait to be told together.
const MESSAGES_AHEAD: usize = 4;

/// A query about to be streamed.
pub(super) struct Stream {
    pub(super) context: Arc<Context>,
    pub(super) asked: Asked,
    pub(super) watch: Arc<Watch>,
}

/// The messages of a query, which ends when this is dropped: when the client cancels or goes away.
pub(super) struct Messages {
    receiver: mpsc::Receiver<Result<Bytes, Status>>,
    /// The task that runs the query; `None` when it has been seen to end.
    work: Option<AbortOnDrop<()>>,
    observed: Option<Observed>,
}

impl Messages {
    pub(super) fn new(
        receiver: mpsc::Receiver<Result<Bytes, Status>>,
        work: JoinHandle<()>,
        observed: Option<Observed>,
    ) -> Self {
        Self { receiver, work: Some(AbortOnDrop(work)), observed }
    }

    fn poll_message(&mut self, task: &mut Task<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        if let Some(message) = ready!(self.receiver.poll_recv(task)) {
            return Poll::Ready(Some(message));
        }
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let ended = ready!(Pin::new(work).poll(task));
        self.work = None;
        // A query that broke off must not look like one that ended.
        Poll::Ready(ended.err().map(|error| {
            Err(Status::internal(format!("internal error, please report it: {error}")))
        }))
    }
}

impl futures::Stream for Messages {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.poll_message(task));
        if let Some(observed) = &mut self.observed {
            match &message {
                Some(Ok(message)) => observed.sends(message.len() as u64),
                Some(Err(status)) => observed.ends(status.code()),
                None => observed.ends(Code::Ok),
            }
        }
        Poll::Ready(message)
    }
}

impl Stream {
    /// Runs the query on the threads of queries. `turn` is held until its answer is complete: what a
    /// slow client has not read yet keeps no other query waiting.
    pub(super) fn start<T: Send + 'static>(
        self,
        compute: &Handle,
        turn: T,
        deadline: Option<Duration>,
        observed: Option<Observed>,
    ) -> Messages {
        let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD);
        let work = compute.spawn(async move {
            let last = match deadline {
                None => self.run(&sender).await,
                Some(deadline) => match tokio::time::timeout(deadline, self.run(&sender)).await {
                    Ok(last) => last,
                    Err(_) => Err(Status::deadline_exceeded("no answer within the deadline")),
                },
            };
            drop(turn);
            match last {
                Ok(packets) => {
                    for packet in packets {
                        if sender.send(Ok(packet)).await.is_err() {
                            break;
                        }
                    }
                }
                // Nobody to tell if the client has gone.
                Err(status) => drop(sender.send(Err(status)).await),
            }
        });
        Messages::new(receiver, work, observed)
    }

    /// Tells of the query while it runs; returns the last messages.
    async fn run(self, sender: &mpsc::Sender<Result<Bytes, Status>>) -> Result<Vec<Bytes>, Status> {
        let Self { context, asked, watch } = self;
        let query = asked.query;
        let mut ticks = tokio::time::interval_at(Instant::now() + CADENCE, CADENCE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let answering = context.answer(asked);
        tokio::pin!(answering);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answering => break answer,
                _ = ticks.tick() => {
                    // Told only if there is room: a slow client keeps no query waiting.
                    if sender.capacity() == 0 {
                        continue;
                    }
                    let Some(news) = watch.news() else { continue };
                    for message in told(query, news) {
                        // What finds no room is told in the end.
                        drop(sender.try_send(Ok(message)));
                    }
                }
            }
        };
        let reply = answer.inspect_err(|failure| context.log_failure(failure))?;
        match reply.status {
            StatusCode::OK => last(query, reply.body),
            status => Err(Failure::new(status, String::from_utf8_lossy(&reply.body)).into()),
        }
    }
}

/// Messages of what is new. Of a range Grafana keeps the first sample that it sees, so one is told when
/// it is final; of an instant query it shows the last. That more is to come the numbers of jobs say.
fn told(query: Query, News { traces, series, stats }: News) -> Vec<Bytes> {
    let metrics = Some((&stats).into());
    match (query, &series) {
        (Query::Search, _) => in_packets(SearchResponse { traces, metrics }),
        (Query::MetricsRange, Some(series)) => {
            in_packets(protobuf::query_range_response(series, &stats, None))
        }
        (Query::MetricsRange, None) => {
            in_packets(QueryRangeResponse { metrics, ..QueryRangeResponse::default() })
        }
        (Query::MetricsInstant, Some(series)) => {
            in_packets(protobuf::query_instant_response(series, &stats, None))
        }
        (Query::MetricsInstant, None) => {
            in_packets(QueryInstantResponse { metrics, ..QueryInstantResponse::default() })
        }
        _ => Vec::new(),
    }
}

/// The whole answer.
fn last(query: Query, body: Vec<u8>) -> Result<Vec<Bytes>, Status> {
    match query {
        Query::Search => divided::<SearchResponse>(body),
        Query::TagNamesV1 => divided::<SearchTagsResponse>(body),
        Query::TagNamesV2 => divided::<SearchTagsV2Response>(body),
        Query::TagValuesV1 => divided::<SearchTagValuesResponse>(body),
        Query::TagValuesV2 => divided::<SearchTagValuesV2Response>(body),
        Query::MetricsRange => divided::<QueryRangeResponse>(body),
        Query::MetricsInstant => divided::<QueryInstantResponse>(body),
        Query::TraceV1 | Query::TraceV2 => Ok(vec![body.into()]),
    }
}

fn divided<M: Divisible>(body: Vec<u8>) -> Result<Vec<Bytes>, Status> {
    if body.len() <= MAX_PACKET_BYTES {
        return Ok(vec![body.into()]);
    }
    let message = M::decode(body.as_slice())
        .map_err(|error| Status::internal(format!("internal error, please report it: {error}")))?;
    Ok(in_packets(message))
}

fn in_packets<M: Divisible>(message: M) -> Vec<Bytes> {
    packets(message, MAX_PACKET_BYTES).into_iter().map(Bytes::from).collect()
}
