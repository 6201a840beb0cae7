//! The first traces of an order, of all that have been seen so far: keys and ids alone, so that a scan
//! knows which traces are still worth their results.

use std::collections::{BTreeMap, BTreeSet};

use traceql_blocks::model::TraceId;

/// The place of a trace in an order: its key, then its id.
pub(crate) type Place = (Vec<u8>, TraceId);

/// The first places, so many at most.
#[derive(Debug)]
pub(crate) struct Top {
    /// Most places; `None` for all.
    limit: Option<usize>,
    /// The page before ends here: only what lies behind it counts.
    after: Option<Place>,
    places: BTreeSet<Place>,
    /// The key of each trace among the places: one that is found twice counts once.
    keys: BTreeMap<TraceId, Vec<u8>>,
}

impl Top {
    pub(crate) fn new(limit: Option<usize>, after: Option<Place>) -> Self {
        Self { limit, after, places: BTreeSet::new(), keys: BTreeMap::new() }
    }

    /// Whether a trace may be among the first.
    pub(crate) fn wants(&self, place: &Place) -> bool {
        if self.after.as_ref().is_some_and(|after| place <= after) {
            return false;
        }
        match (self.limit, self.places.last()) {
            (Some(limit), Some(last)) if self.places.len() >= limit => place < last,
            (Some(0), None) => false,
            _ => true,
        }
    }

    /// Counts a trace that is wanted.
    pub(crate) fn add(&mut self, place: Place) {
        let Some(limit) = self.limit else { return };
        let (key, id) = place;
        if let Some(known) = self.keys.get(&id) {
            if *known <= key {
                return;
            }
            self.places.remove(&(known.clone(), id));
        }
        self.keys.insert(id, key.clone());
        self.places.insert((key, id));
        while self.places.len() > limit {
            if let Some((_, id)) = self.places.pop_last() {
                self.keys.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(key: u8, id: u8) -> Place {
        (vec![key], TraceId([id; 16]))
    }

    #[test]
    fn the_first_are_wanted() {
        let mut top = Top::new(Some(2), None);
        for at in [5, 3, 4] {
            assert!(top.wants(&place(at, at)));
            top.add(place(at, at));
        }
        assert!(top.wants(&place(3, 9)));
        assert!(!top.wants(&place(4, 9)));
        assert!(top.wants(&place(4, 1)));
    }

    #[test]
    fn a_trace_that_is_found_twice_takes_one_place() {
        let mut top = Top::new(Some(2), None);
        top.add(place(5, 1));
        top.add(place(2, 1));
        top.add(place(7, 1));
        assert!(top.wants(&place(9, 2)));
        top.add(place(9, 2));
        assert!(!top.wants(&place(9, 3)));
    }

    #[test]
    fn what_the_page_before_showed_is_not_wanted() {
        let top = Top::new(None, Some(place(3, 3)));
        assert!(!top.wants(&place(3, 3)));
        assert!(!top.wants(&place(2, 9)));
        assert!(top.wants(&place(3, 4)));
    }
}
