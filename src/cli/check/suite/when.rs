//! The time range of a test as it was written: it is resolved when the test runs, against the suite's
//! clock or the real one.

use crate::document::{Fields, File, Text};
use crate::error::Result;
use crate::units;

/// `since`, or `start` and `end`. Checked: it can be resolved against any clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct When {
    since_nanos: Option<u64>,
    start: Option<String>,
    end: Option<String>,
}

impl When {
    /// Reads the keys of a test.
    pub(super) fn read(file: &File, fields: &Fields<'_>, now: u64) -> Result<Self> {
        let since = fields.text("since")?;
        let (start, end) = (fields.text("start")?, fields.text("end")?);
        if let (Some(since), Some(_)) = (since, start.or(end)) {
            let message = "`since` ends now, so `start` and `end` do not go with it";
            return Err(file.error(since.node.wrong(message)));
        }
        let time = |text: Option<Text<'_>>| -> Result<Option<String>> {
            let Some(text) = text else { return Ok(None) };
            units::parse_time(text.value, now).map_err(|why| file.error(text.node.wrong(why)))?;
            Ok(Some(text.value.to_owned()))
        };
        let since_nanos = since
            .map(|text| {
                units::parse_duration(text.value).map_err(|why| file.error(text.node.wrong(why)))
            })
            .transpose()?;
        let when = Self { since_nanos, start: time(start)?, end: time(end)? };
        if let (Some((from, to)), Some(start)) = (when.range(now), start)
            && from > to
        {
            return Err(file.error(start.node.wrong("`start` is later than `end`")));
        }
        Ok(when)
    }

    /// The range by a clock, both ends inclusive; `None` is the whole source. Without an end it ends
    /// now, if anything limits it.
    pub(crate) fn range(&self, now: u64) -> Option<(u64, u64)> {
        if let Some(since) = self.since_nanos {
            return Some((now.saturating_sub(since), now));
        }
        // It was parsed before, and only the clock differs.
        let time = |text: &String| units::parse_time(text, now).ok();
        match (&self.start, &self.end) {
            (None, None) => None,
            (start, end) => Some((
                start.as_ref().and_then(time).unwrap_or(0),
                end.as_ref().and_then(time).unwrap_or(now),
            )),
        }
    }

    /// Whether it has an end and no start: metrics would not know where to begin.
    pub(super) fn lacks_start(&self) -> bool {
        self.since_nanos.is_none() && self.start.is_none() && self.end.is_some()
    }
}
