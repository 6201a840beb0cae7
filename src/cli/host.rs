//! Threads and an opened source that outlive one command: the prompt asks many questions of one
//! source, and what its engine has learnt of immutable blocks serves the next question. A command by
//! itself has a host of its own.

use std::sync::{Arc, Mutex, PoisonError};

use traceql_engine::search::SearchAnswer;

use crate::error::Result;
use crate::session::{Session, SessionOptions};
use crate::supervise::Runtimes;

/// What commands run on.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) runtimes: Runtimes,
    /// Apart from the threads, which no task of theirs may hold.
    pub(crate) kept: Arc<Kept>,
}

/// What is kept from one command to the next.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The session opened last, and what was asked for.
    session: tokio::sync::Mutex<Option<(String, Session)>>,
    /// The answer of the last search, for commands that go on from it.
    found: Mutex<Option<Arc<SearchAnswer>>>,
}

impl Host {
    /// Nothing opened yet.
    pub(crate) fn new(runtimes: Runtimes) -> Self {
        Self { runtimes, kept: Arc::default() }
    }
}

impl Kept {
    /// The session of these options, opened unless it is the last one.
    pub(crate) async fn session(&self, options: SessionOptions) -> Result<Session> {
        let mut kept = self.session.lock().await;
        let asked = options.name();
        if let Some((name, session)) = &*kept
            && *name == asked
        {
            return Ok(session.clone());
        }
        let mut session = options.open().await?;
        if let Some((_, last)) = kept.take() {
            session.engine = last.engine;
        }
        *kept = Some((asked, session.clone()));
        Ok(session)
    }

    /// Forgets the source, so that it is opened anew.
    pub(crate) async fn reopen(&self) {
        *self.session.lock().await = None;
    }

    /// Keeps an answer for commands that go on from it.
    pub(crate) fn remember(&self, answer: SearchAnswer) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(answer));
    }

    /// What was found last.
    pub(crate) fn found(&self) -> Option<Arc<SearchAnswer>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
