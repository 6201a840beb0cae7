//! What has been accumulated per series and interval. A series with spans in few intervals takes
//! little: a million series of one span each must fit.

use smallvec::SmallVec;

/// What one interval of one series has accumulated. The default holds nothing.
pub(super) trait Accumulator: Clone + Default + Send {
    /// Adds what another partition found for the same interval of the same series.
    fn merge(&mut self, other: &Self);

    /// True if nothing has been added.
    fn is_empty(&self) -> bool;

    /// Bytes it holds outside of itself.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Number of spans, or the sum of their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Count(pub(super) f64);

impl Accumulator for Count {
    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }

    fn is_empty(&self) -> bool {
        self.0 == 0.0
    }
}

/// The smallest and the largest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extremes {
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Default for Extremes {
    fn default() -> Self {
        Self { least: f64::INFINITY, greatest: f64::NEG_INFINITY }
    }
}

impl Extremes {
    pub(super) fn add(&mut self, value: f64) {
        self.merge(&Self { least: value, greatest: value });
    }
}

impl Accumulator for Extremes {
    fn merge(&mut self, other: &Self) {
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    fn is_empty(&self) -> bool {
        self.least > self.greatest
    }
}

/// A weighted sum, with Neumaier's compensation, so that the order in which blocks are read shows in
/// no digit that anyone looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) sum: f64,
    pub(super) lost: f64,
    /// Sum of the weights: the number of values where all weigh 1.
    pub(super) weight: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64, weight: f64) {
        self.plus(value * weight);
        self.weight += weight;
    }

    fn plus(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
    }

    /// The sum itself. What was lost is no number once the sum is infinite.
    pub(super) fn total(&self) -> f64 {
        if self.lost.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

impl Accumulator for Sum {
    fn merge(&mut self, other: &Self) {
        self.plus(other.sum);
        self.lost += other.lost;
        self.weight += other.weight;
    }

    fn is_empty(&self) -> bool {
        self.weight == 0.0
    }
}

/// Accumulators by interval.
#[derive(Clone, Debug)]
pub(super) enum Cells<A> {
    Dense(Vec<A>),
    /// By ascending interval. Most of many series have one span each.
    Sparse(SmallVec<[(u32, A); 1]>),
}

/// A list of pairs pays while it is shorter than this share of the intervals.
const SPARSE_SHARE: usize = 4;

impl<A: Accumulator> Cells<A> {
    fn slot(&mut self, interval: u32, n_intervals: usize) -> &mut A {
        if let Self::Sparse(cells) = self
            && (cells.len() + 1) * SPARSE_SHARE > n_intervals
        {
            let mut dense = vec![A::default(); n_intervals];
            for (interval, cell) in cells.drain(..) {
                dense[interval as usize] = cell;
            }
            *self = Self::Dense(dense);
        }
        match self {
            Self::Dense(cells) => &mut cells[interval as usize],
            Self::Sparse(cells) => {
                let at = match cells.last() {
                    Some((last, _)) if *last < interval => cells.len(),
                    _ => cells.partition_point(|(known, _)| *known < interval),
                };
                if cells.get(at).is_none_or(|(known, _)| *known != interval) {
                    cells.insert(at, (interval, A::default()));
                }
                &mut cells[at].1
            }
        }
    }

    /// Intervals that hold something, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &A)> {
        let (dense, sparse) = match self {
            Self::Dense(cells) => (cells.as_slice(), &[][..]),
            Self::Sparse(cells) => (&[][..], cells.as_slice()),
        };
        (0_u32..)
            .zip(dense)
            .chain(sparse.iter().map(|(interval, cell)| (*interval, cell)))
            .filter(|(_, cell)| !cell.is_empty())
    }
}

/// The cells of many series.
#[derive(Clone, Debug)]
pub(super) struct Table<A> {
    n_intervals: usize,
    series: Vec<Cells<A>>,
    size_bytes: usize,
}

/// Below this size every series has a cell per interval from the start.
const DENSE_BYTES: usize = 8 << 20;

impl<A: Accumulator> Table<A> {
    pub(super) fn new(n_intervals: usize) -> Self {
        Self { n_intervals, series: Vec::new(), size_bytes: 0 }
    }

    /// The cell of a series and an interval, made if it is not there yet.
    pub(super) fn cell(&mut self, series: u32, interval: u32) -> &mut A {
        let at = series as usize;
        while self.series.len() <= at {
            let dense_bytes = self.n_intervals * size_of::<A>();
            let dense = self.size_bytes + dense_bytes <= DENSE_BYTES;
            self.series.push(if dense {
                Cells::Dense(vec![A::default(); self.n_intervals])
            } else {
                Cells::Sparse(SmallVec::new())
            });
            self.size_bytes += size_of::<Cells<A>>() + if dense { dense_bytes } else { 0 };
        }
        self.series[at].slot(interval, self.n_intervals)
    }

    /// Adds cells of the same series found elsewhere.
    pub(super) fn merge(&mut self, series: u32, cells: impl Iterator<Item = (u32, A)>) {
        let n_intervals = self.n_intervals;
        for (interval, cell) in cells.filter(|(at, _)| (*at as usize) < n_intervals) {
            self.cell(series, interval).merge(&cell);
        }
    }

    /// The cells of a series; none if it has none.
    pub(super) fn cells(&self, series: u32) -> impl Iterator<Item = (u32, &A)> {
        self.series.get(series as usize).into_iter().flat_map(Cells::iter)
    }

    /// Changes every cell.
    pub(super) fn for_each(&mut self, mut change: impl FnMut(&mut A)) {
        for cells in &mut self.series {
            match cells {
                Cells::Dense(cells) => cells.iter_mut().for_each(&mut change),
                Cells::Sparse(cells) => cells.iter_mut().for_each(|(_, cell)| change(cell)),
            }
        }
    }

    /// Bytes held. Goes through every series.
    pub(super) fn size_bytes(&self) -> usize {
        let of = |cells: &Cells<A>| match cells {
            Cells::Dense(cells) => {
                size_of_val(cells.as_slice()) + cells.iter().map(A::heap_bytes).sum::<usize>()
            }
            Cells::Sparse(cells) => {
                let held_bytes = if cells.spilled() { size_of::<(u32, A)>() } else { 0 };
                cells.capacity() * held_bytes
                    + cells.iter().map(|(_, cell)| cell.heap_bytes()).sum::<usize>()
            }
        };
        self.series.iter().map(|cells| size_of::<Cells<A>>() + of(cells)).sum()
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_become_dense_when_that_is_smaller() {
        let mut cells = Cells::<Count>::Sparse(SmallVec::new());
        for interval in [30, 2, 9, 2] {
            cells.slot(interval, 40).0 += 1.0;
        }
        assert!(matches!(cells, Cells::Sparse(_)));
        let held = |cells: &Cells<Count>| cells.iter().map(|(i, c)| (i, c.0)).collect::<Vec<_>>();
        assert_eq!(held(&cells), [(2, 2.0), (9, 1.0), (30, 1.0)]);
        for interval in 10..20 {
            cells.slot(interval, 40).0 += 1.0;
        }
        assert!(matches!(cells, Cells::Dense(_)));
        assert_eq!(held(&cells).len(), 13);
    }

    #[test]
    fn a_sum_keeps_what_rounding_loses() {
        let mut sum = Sum::default();
        for value in [1e16, 1.0, -1e16, 1.0] {
            sum.add(value, 1.0);
        }
        assert_eq!(sum.total(), 2.0);
        let mut infinite = Sum::default();
        infinite.add(f64::MAX, 1.0);
        infinite.add(f64::MAX, 1.0);
        assert_eq!(infinite.total(), f64::INFINITY);
    }

    #[test]
    fn many_series_take_little() {
        let mut table = Table::<Count>::new(240);
        for series in 0..200_000 {
            table.cell(series, series % 240).0 += 1.0;
        }
        assert!(table.size_bytes() < 40 << 20, "{} bytes", table.size_bytes());
    }
}
