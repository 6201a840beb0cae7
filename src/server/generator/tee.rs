//! A sink that hands what another sink has accepted to the generator.

use std::sync::Arc;

use super::Generator;
use crate::ingest::{Counts, Received, Refused, Sink, Taken};

/// Takes traces to a sink and, once that has accepted them, counts them. What is refused is not
/// counted: the sender will come again.
#[derive(Debug)]
pub struct Tee<S> {
    sink: Arc<S>,
    generator: Arc<Generator>,
}

impl<S: Sink> Tee<S> {
    /// A sink before another.
    pub fn new(sink: Arc<S>, generator: Arc<Generator>) -> Self {
        Self { sink, generator }
    }
}

impl<S: Sink> Sink for Tee<S> {
    async fn take(&self, received: &mut Received) -> Result<Taken, Refused> {
        if received.skips_metrics {
            return self.sink.take(received).await;
        }
        received.wanted_after = true;
        let taken = self.sink.take(received).await?;
        let options = &self.generator.options;
        // As the sink beneath, which refuses a request that names none where it must.
        let tenant = match (&received.tenant, options.multitenant) {
            (Some(tenant), true) => tenant.clone(),
            _ => options.single_tenant.clone(),
        };
        // Spans that storage has no room for happened all the same.
        self.generator.observe(&tenant, &received.traces, (options.clock)());
        Ok(taken)
    }

    fn reads_tenants(&self) -> bool {
        self.sink.reads_tenants()
    }

    fn counts(&self) -> Option<&Counts> {
        self.sink.counts()
    }
}
