//! Names and values of attributes for completion, read from the data in the background and kept. The
//! prompt never waits for them longer than a key press may take: what is not there yet is there at
//! the next one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use traceql_engine::QueryOptions;
use traceql_engine::tags::{TagNamesRequest, TagValuesRequest, TypedTagValue};
use traceql_language::Dialect;
use traceql_language::ir::Field;

use crate::commands::values;
use crate::host::Kept;
use crate::session::{Session, SessionOptions};

/// How long Tab waits for data.
const PATIENCE: Duration = Duration::from_millis(150);
/// How long reading names or values may take; a source that is slower goes without them.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Values read of one field: more nobody reads.
const MAX_VALUES: usize = 1_000;

/// What has been read of one source and time range.
#[derive(Clone, Debug)]
pub(super) struct Vocabulary {
    known: Arc<(Mutex<Known>, Condvar)>,
    work: Handle,
}

#[derive(Debug, Default)]
struct Known {
    /// Which source is meant: answers about another come too late.
    epoch: u64,
    from: Option<(Arc<Kept>, SessionOptions, QueryOptions)>,
    names: Option<Slot<String>>,
    /// By field and the query typed in front of it, which narrows the spans.
    values: HashMap<(String, String), Slot<TypedTagValue>>,
}

#[derive(Clone, Debug)]
enum Slot<T> {
    Asked,
    Known(Arc<Vec<T>>),
}

impl Vocabulary {
    /// Knows nothing, reads with threads of `work`.
    pub(super) fn new(work: Handle) -> Self {
        Self { known: Arc::default(), work }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // What a reader that panicked left behind is whole: slots are replaced, not changed.
        self.known.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew with another source or time range, and reads the names of its attributes.
    pub(super) fn reset(&self, kept: Arc<Kept>, session: SessionOptions, options: QueryOptions) {
        let mut known = self.lock();
        // One thread is left to the query that may be typed meanwhile.
        let options = QueryOptions { threads: 1, timeout: Some(TIMEOUT), ..options };
        let epoch = known.epoch + 1;
        *known = Known { epoch, from: Some((kept, session, options)), ..Known::default() };
        drop(known);
        self.ask_names();
    }

    fn ask_names(&self) {
        let mut known = self.lock();
        let (None, Some(from)) = (&known.names, known.from.clone()) else { return };
        known.names = Some(Slot::Asked);
        let epoch = known.epoch;
        drop(known);
        let vocabulary = self.clone();
        drop(self.work.spawn(async move {
            let names = names(from).await.unwrap_or_default();
            vocabulary.learn(epoch, |known| known.names = Some(Slot::Known(Arc::new(names))));
        }));
    }

    fn learn(&self, epoch: u64, learn: impl FnOnce(&mut Known)) {
        let mut known = self.lock();
        if known.epoch == epoch {
            learn(&mut known);
        }
        drop(known);
        self.known.1.notify_all();
    }

    /// Attribute names as queries write them; none if they are not known soon.
    pub(super) fn names(&self) -> Arc<Vec<String>> {
        self.wait(|known| known.names.clone())
    }

    /// Starts to read the values of a field on spans that fit a query begun, unless that is done.
    pub(super) fn prefetch(&self, field: &str, begun: &str) {
        let key = (field.to_owned(), begun.to_owned());
        let mut known = self.lock();
        let Some(from) = known.from.clone() else { return };
        if known.values.contains_key(&key) {
            return;
        }
        let Ok(parsed) = values::field(field, Dialect::Default) else { return };
        known.values.insert(key.clone(), Slot::Asked);
        let epoch = known.epoch;
        drop(known);
        let vocabulary = self.clone();
        drop(self.work.spawn(async move {
            let values = values_of(from, parsed, &key.1).await.unwrap_or_default();
            vocabulary.learn(epoch, |known| {
                known.values.insert(key, Slot::Known(Arc::new(values)));
            });
        }));
    }

    /// Values of a field on spans that fit a query begun; none if they are not known soon.
    pub(super) fn values(&self, field: &str, begun: &str) -> Arc<Vec<TypedTagValue>> {
        self.prefetch(field, begun);
        let key = (field.to_owned(), begun.to_owned());
        self.wait(|known| known.values.get(&key).cloned())
    }

    fn wait<T>(&self, slot: impl Fn(&Known) -> Option<Slot<T>>) -> Arc<Vec<T>> {
        let until = Instant::now() + PATIENCE;
        let mut known = self.lock();
        loop {
            match slot(&known) {
                Some(Slot::Known(values)) => return values,
                None => return Arc::default(),
                Some(Slot::Asked) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Arc::default();
            }
            let waited = self.known.1.wait_timeout(known, left);
            known = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Whoever is asked about the words of the data cannot be told of errors: the query will.
async fn names(
    (kept, session, options): (Arc<Kept>, SessionOptions, QueryOptions),
) -> Option<Vec<String>> {
    let Session { engine, source, tenants } = kept.session(session).await.ok()?;
    let request = TagNamesRequest::default();
    let found = engine.tag_names(&source, &tenants, &request, &options).await.ok()?.answer;
    let of_scope = |(scope, names): (_, std::collections::BTreeSet<String>)| {
        names.into_iter().map(move |name| Field::attribute(scope, name).to_string())
    };
    Some(found.into_iter().flat_map(of_scope).collect())
}

async fn values_of(
    (kept, session, options): (Arc<Kept>, SessionOptions, QueryOptions),
    field: Field,
    begun: &str,
) -> Option<Vec<TypedTagValue>> {
    let Session { engine, source, tenants } = kept.session(session).await.ok()?;
    let filter = traceql_language::lenient_filter(begun);
    let request = TagValuesRequest { field, filter, limit: MAX_VALUES };
    Some(engine.tag_values(&source, &tenants, &request, &options).await.ok()?.answer)
}
