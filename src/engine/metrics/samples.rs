//! One value per interval, most of them the same: series are many, and few spans fall into each.

/// Values by interval. An absent value is NaN; most intervals may hold one and the same `fill`.
#[derive(Clone, Debug)]
pub struct Samples {
    n: usize,
    fill: f64,
    cells: Cells,
}

#[derive(Clone, Debug)]
enum Cells {
    Dense(Vec<f64>),
    /// By ascending interval; all others hold the fill.
    Sparse(Vec<(u32, f64)>),
}

/// A list of pairs pays while it is shorter than half of the intervals.
const SPARSE_SHARE: usize = 2;

impl Default for Samples {
    fn default() -> Self {
        Self::filled(0, f64::NAN)
    }
}

impl PartialEq for Samples {
    /// By what the intervals hold; absent equals absent.
    fn eq(&self, other: &Self) -> bool {
        self.n == other.n
            && self.iter().zip(other.iter()).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
    }
}

impl Samples {
    /// `n` intervals that hold the same.
    #[must_use]
    pub fn filled(n: usize, fill: f64) -> Self {
        Self { n, fill, cells: Cells::Sparse(Vec::new()) }
    }

    /// Every interval's value; NaN for absent.
    #[must_use]
    pub fn dense(values: Vec<f64>) -> Self {
        Self { n: values.len(), fill: f64::NAN, cells: Cells::Dense(values) }
    }

    /// Values of some intervals, ascending; the others hold `fill`.
    #[must_use]
    pub fn sparse(n: usize, fill: f64, cells: Vec<(u32, f64)>) -> Self {
        debug_assert!(cells.windows(2).all(|pair| pair[0].0 < pair[1].0), "intervals ascend");
        if cells.len() * SPARSE_SHARE < n {
            return Self { n, fill, cells: Cells::Sparse(cells) };
        }
        let mut values = vec![fill; n];
        for (interval, value) in cells {
            if let Some(cell) = values.get_mut(interval as usize) {
                *cell = value;
            }
        }
        Self { n, fill, cells: Cells::Dense(values) }
    }

    /// Number of intervals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.n
    }

    /// True without intervals.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The value of an interval; NaN if it is absent.
    #[must_use]
    pub fn get(&self, interval: usize) -> f64 {
        match &self.cells {
            Cells::Dense(values) => values.get(interval).copied().unwrap_or(f64::NAN),
            Cells::Sparse(_) if interval >= self.n => f64::NAN,
            Cells::Sparse(cells) => u32::try_from(interval)
                .ok()
                .and_then(|interval| cells.binary_search_by_key(&interval, |cell| cell.0).ok())
                .map_or(self.fill, |at| cells[at].1),
        }
    }

    /// The value of every interval; NaN for absent.
    pub fn iter(&self) -> impl Iterator<Item = f64> {
        let mut sparse = match &self.cells {
            Cells::Dense(_) => [].iter(),
            Cells::Sparse(cells) => cells.iter(),
        }
        .peekable();
        (0..self.n).map(move |interval| match &self.cells {
            Cells::Dense(values) => values[interval],
            Cells::Sparse(_) => {
                sparse.next_if(|cell| cell.0 as usize == interval).map_or(self.fill, |cell| cell.1)
            }
        })
    }

    /// Intervals that have a value.
    pub fn present(&self) -> impl Iterator<Item = (usize, f64)> {
        self.iter().enumerate().filter(|(_, value)| !value.is_nan())
    }

    /// True if no interval has a value.
    #[must_use]
    pub fn all_absent(&self) -> bool {
        match &self.cells {
            Cells::Dense(values) => values.iter().all(|value| value.is_nan()),
            Cells::Sparse(cells) => {
                (self.fill.is_nan() || cells.len() == self.n)
                    && cells.iter().all(|(_, value)| value.is_nan())
            }
        }
    }

    /// A value computed from each, the fill included.
    #[must_use]
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        let cells = match &self.cells {
            Cells::Dense(values) => Cells::Dense(values.iter().map(|value| f(*value)).collect()),
            Cells::Sparse(cells) => Cells::Sparse(
                cells.iter().map(|(interval, value)| (*interval, f(*value))).collect(),
            ),
        };
        Self { n: self.n, fill: f(self.fill), cells }
    }

    /// A value computed from the two of each interval. Both have as many intervals.
    #[must_use]
    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let (Cells::Sparse(left), Cells::Sparse(right)) = (&self.cells, &other.cells) else {
            return Self::dense(self.iter().zip(other.iter()).map(|(a, b)| f(a, b)).collect());
        };
        let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
        let mut cells = Vec::new();
        loop {
            let at = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) => a.0.min(b.0),
                (Some(cell), None) | (None, Some(cell)) => cell.0,
                (None, None) => break,
            };
            let a = left.next_if(|cell| cell.0 == at).map_or(self.fill, |cell| cell.1);
            let b = right.next_if(|cell| cell.0 == at).map_or(other.fill, |cell| cell.1);
            cells.push((at, f(a, b)));
        }
        Self::sparse(self.n.min(other.n), f(self.fill, other.fill), cells)
    }

    /// Fill, intervals and values; every interval's value, without intervals, where most differ.
    pub(super) fn parts(&self) -> (f64, Vec<u32>, Vec<f64>) {
        match &self.cells {
            Cells::Dense(values) => (f64::NAN, Vec::new(), values.clone()),
            Cells::Sparse(cells) => {
                let (intervals, values) = cells.iter().copied().unzip();
                (self.fill, intervals, values)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: f64 = f64::NAN;

    #[test]
    fn sparse_and_dense_hold_the_same() {
        let sparse = Samples::sparse(5, 0.0, vec![(1, 2.0), (4, 3.0)]);
        let dense = Samples::dense(vec![0.0, 2.0, 0.0, 0.0, 3.0]);
        assert_eq!(sparse, dense);
        for interval in 0..5 {
            assert_eq!(sparse.get(interval).to_bits(), dense.get(interval).to_bits());
        }
        assert!(sparse.get(5).is_nan() && dense.get(5).is_nan(), "there is no sixth interval");
        assert_eq!(sparse.present().count(), 5, "a filled zero is a value");
        assert_ne!(sparse, Samples::filled(5, 0.0));
    }

    #[test]
    fn absent_is_absent_however_it_is_held() {
        assert!(Samples::filled(3, ABSENT).all_absent());
        assert!(Samples::dense(vec![ABSENT; 3]).all_absent());
        assert!(Samples::sparse(9, ABSENT, vec![(2, ABSENT)]).all_absent());
        assert!(!Samples::filled(3, 0.0).all_absent());
        assert_eq!(Samples::filled(3, ABSENT), Samples::dense(vec![ABSENT; 3]));
    }

    #[test]
    fn computing_leaves_the_shape() {
        let a = Samples::sparse(9, 1.0, vec![(2, 5.0), (7, 6.0)]);
        let b = Samples::sparse(9, ABSENT, vec![(2, 10.0)]);
        let sum = a.zip(&b, |a, b| a + b);
        assert_eq!(sum.present().collect::<Vec<_>>(), [(2, 15.0)]);
        let dense = Samples::dense(a.iter().collect());
        assert_eq!(sum, dense.zip(&b, |a, b| a + b));
        assert_eq!(a.map(|v| v * 2.0), dense.map(|v| v * 2.0));
    }
}
