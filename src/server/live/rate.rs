//! How fast tenants may send: a bucket of tokens each, in bytes, filled by time.

use std::collections::BTreeMap;
use std::time::Instant;

use traceql_blocks::bucket::tenant::TenantId;

/// Buckets that are full say nothing and are forgotten when there are this many.
const MAX_IDLE: usize = 10_000;

/// The buckets of all tenants.
#[derive(Debug, Default)]
pub(super) struct Rates {
    buckets: BTreeMap<TenantId, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    bytes: f64,
    at: Instant,
}

impl Rates {
    /// Takes bytes out of a tenant's bucket if they are there. The rate is bytes a second, 0 for
    /// none, and what a bucket holds. A request larger than a bucket never fits, and is told so.
    pub(super) fn take(
        &mut self,
        tenant: &TenantId,
        n_bytes: u64,
        (rate, burst): (u64, u64),
        now: Instant,
    ) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "bytes of requests are far below 2^52")]
        let (wanted, rate, burst) = (n_bytes as f64, rate as f64, burst as f64);
        if rate == 0.0 {
            return true;
        }
        if self.buckets.len() >= MAX_IDLE && !self.buckets.contains_key(tenant) {
            self.buckets.retain(|_, bucket| bucket.filled(rate, burst, now) < burst);
        }
        let bucket = self.buckets.entry(tenant.clone()).or_insert(Bucket { bytes: burst, at: now });
        bucket.bytes = bucket.filled(rate, burst, now);
        bucket.at = now;
        let fits = bucket.bytes >= wanted;
        if fits {
            bucket.bytes -= wanted;
        }
        fits
    }
}

impl Bucket {
    fn filled(&self, rate: f64, burst: f64, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.bytes + elapsed * rate).min(burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_empties_by_bytes_and_fills_by_time() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let (a, b) = (TenantId::single(), TenantId::parse("b").unwrap());
        let at = |millis: u64| start + Duration::from_millis(millis);
        assert!(rates.take(&a, 150, (100, 200), at(0)));
        assert!(!rates.take(&a, 60, (100, 200), at(0)));
        assert!(rates.take(&b, 200, (100, 200), at(0)), "others have buckets of their own");
        assert!(!rates.take(&a, 61, (100, 200), at(100)));
        assert!(rates.take(&a, 60, (100, 200), at(100)), "a refusal takes nothing");
        assert!(rates.take(&a, 200, (100, 200), at(60_000)));
        assert!(!rates.take(&a, 1, (100, 200), at(60_000)), "a bucket does not overflow");
        assert!(rates.take(&a, u64::MAX, (0, 0), at(60_000)), "no limit");
    }
}
