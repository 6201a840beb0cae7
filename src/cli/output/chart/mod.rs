//! Pictures of series for terminals: lines, bars, heat maps. Pure: series and the room there is to a
//! text. Knows no terminal, no source and no clock.
//!
//! Everything that colour says is said without it too: each line has a letter, and shades differ in
//! their glyphs.

mod bars;
mod canvas;
mod heat;
mod legend;
mod lines;
mod scale;
mod time;

use clap::builder::styling::{Ansi256Color, Style};
use traceql_engine::metrics::{LabelValue, Series, TimeAxis};

use super::metrics::names::BUCKET;
use super::metrics::unit::Units;
use crate::terminal::{Paint, Terminal};

pub(crate) use legend::summary;

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chart<'a> {
    /// Which times samples stand for.
    pub(crate) axis: &'a TimeAxis,
    /// In the order of the answer.
    pub(crate) series: &'a [Series],
    /// Each series has one value for the whole range.
    pub(crate) is_instant: bool,
    /// What numbers measure.
    pub(crate) units: Units,
}

/// Where and how it is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Columns available.
    pub(crate) width: usize,
    /// Rows of the plot; axes and legend come on top of it.
    pub(crate) height: usize,
    /// Colours.
    pub(crate) paint: Paint,
    /// Letters outside ASCII can be shown.
    pub(crate) unicode: bool,
}

/// Narrower than this a picture says nothing; longer lines are then the lesser evil.
const MIN_WIDTH: usize = 30;
const MIN_HEIGHT: usize = 4;

/// Colours of series, given out in order. All have a contrast of 3 at least to black and to white, so
/// that they can be read on either; a test holds them to it.
const PALETTE: [u8; 10] = [33, 166, 64, 161, 98, 136, 30, 168, 102, 130];

/// Colours of shades, faintest first.
const HEAT: [u8; 4] = [30, 64, 136, 161];

impl Chart<'_> {
    /// Draws the picture that suits: bars for single values, a heat map for buckets over time, lines
    /// for the rest. Every line ends with a line feed. Without series there is no picture.
    pub(crate) fn draw(&self, look: &Look) -> String {
        let look =
            Look { width: look.width.max(MIN_WIDTH), height: look.height.max(MIN_HEIGHT), ..*look };
        if self.series.is_empty() {
            String::new()
        } else if self.is_instant {
            bars::draw(self, &look)
        } else if self.series.iter().all(|series| bucket(series).is_some()) {
            heat::draw(self, &look)
        } else {
            lines::draw(self, &look)
        }
    }
}

impl Look {
    /// As it suits a terminal, or a file that is looked at in one.
    pub(crate) fn of(terminal: &Terminal) -> Self {
        /// Rows that axes, legend and the prompt that follows take.
        const OTHERS: usize = 10;
        const HEIGHT: usize = 16;
        let height = terminal.height.map_or(HEIGHT, |height| {
            usize::from(height).saturating_sub(OTHERS).clamp(MIN_HEIGHT, HEIGHT)
        });
        let width = usize::from(terminal.width);
        Self { width, height, paint: terminal.stdout, unicode: terminal.unicode }
    }

    /// One text or its substitute.
    fn pick<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.unicode { unicode } else { ascii }
    }
}

/// The style of the n-th series.
fn ink(n: usize) -> Style {
    color(PALETTE[n % PALETTE.len()])
}

fn color(number: u8) -> Style {
    Style::new().fg_color(Some(Ansi256Color(number).into()))
}

/// The letter of the n-th series.
fn letter(n: usize) -> char {
    u8::try_from(n % 26).map_or('?', |n| char::from(b'A' + n))
}

/// The upper bound of a series that counts a bucket.
fn bucket(series: &Series) -> Option<f64> {
    match series.labels.last() {
        Some(label) if label.name == BUCKET => match label.value {
            LabelValue::Float(bound) if !bound.is_nan() => Some(bound),
            _ => None,
        },
        _ => None,
    }
}

/// A whole number nearest to a share of a count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "shares lie between 0 and 1, counts are columns and rows"
)]
fn share_of(share: f64, count: usize) -> usize {
    (share.clamp(0.0, 1.0) * count as f64).round() as usize
}

#[cfg(test)]
mod tests;
