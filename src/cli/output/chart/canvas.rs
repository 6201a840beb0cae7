//! A grid of cells that dots, lines and letters are put on. With braille a cell has 2×4 dots, in
//! ASCII it is one. Knows no series and no units.
//!
//! Written here because no crate does it as needed: `textplots` holds coordinates as 32-bit floats,
//! which unix times do not fit into, and tells lines apart by colour alone; ratatui's canvas brings a
//! user interface along.

use std::fmt::Write as _;

use super::{Look, ink, letter};

/// Bits of the dots of a braille letter, by row and column.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
/// The braille letter without dots.
const BLANK: u32 = 0x2800;

/// A point in dots, from the left and from the top.
pub(super) type Dot = (usize, usize);

/// The grid.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    columns: usize,
    rows: usize,
    cells: Vec<Cell>,
    /// Dots of a cell, across and down.
    cell_dots: (usize, usize),
    /// There is but one line, which needs no letter.
    is_single: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    dots: u8,
    /// Who drew here last.
    owner: Option<usize>,
    glyph: Option<char>,
}

impl Canvas {
    pub(super) fn new(columns: usize, rows: usize, look: &Look, is_single: bool) -> Self {
        let cell_dots = if look.unicode { (2, 4) } else { (1, 1) };
        Self { columns, rows, cells: vec![Cell::default(); columns * rows], cell_dots, is_single }
    }

    /// Dots of so many columns.
    pub(super) fn dots_across(&self, columns: usize) -> usize {
        columns * self.cell_dots.0
    }

    /// Dots from top to bottom.
    pub(super) fn dots_down(&self) -> usize {
        self.rows * self.cell_dots.1
    }

    /// The cell that a dot lies in: column and row.
    pub(super) fn cell_of(&self, (x, y): Dot) -> (usize, usize) {
        (x / self.cell_dots.0, y / self.cell_dots.1)
    }

    /// Puts a dot for the n-th series. Outside of the grid it is lost.
    pub(super) fn dot(&mut self, (x, y): Dot, owner: usize) {
        let (across, down) = self.cell_dots;
        if let Some(cell) = self.cell((x / across, y / down)) {
            cell.dots |= DOTS[y % down % 4][x % across % 2];
            cell.owner = Some(owner);
        }
    }

    /// Puts a dot that is seen without neighbours.
    pub(super) fn blot(&mut self, (x, y): Dot, owner: usize) {
        let (across, down) = self.cell_dots;
        // Within the cell, or the blot would fall apart.
        let (left, top) = (x / across * across, y / down * down + (y % down).min(down.max(2) - 2));
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            if dx < across && dy < down {
                self.dot((left + dx, top + dy), owner);
            }
        }
    }

    /// Draws a line between two dots.
    pub(super) fn line(&mut self, from: Dot, to: Dot, owner: usize) {
        let (across, down) = (from.0.abs_diff(to.0), from.1.abs_diff(to.1));
        let n_steps = across.max(down);
        let between = |from: usize, to: usize, distance: usize, step: usize| {
            // Rounded, so that a line is the same in both directions.
            let moved = (2 * distance * step + n_steps) / (2 * n_steps).max(1);
            if to >= from { from + moved } else { from - moved }
        };
        for step in 0..=n_steps {
            let x = between(from.0, to.0, across, step);
            let y = between(from.1, to.1, down, step);
            self.dot((x, y), owner);
        }
    }

    /// Puts the series' letter into a cell, unless another letter is there. Says whether it is there
    /// now.
    pub(super) fn mark(&mut self, place: (usize, usize), owner: usize) -> bool {
        match self.cell(place) {
            Some(cell) if cell.glyph.is_none() => {
                *cell = Cell { glyph: Some(letter(owner)), owner: Some(owner), ..*cell };
                true
            }
            _ => false,
        }
    }

    fn cell(&mut self, (column, row): (usize, usize)) -> Option<&mut Cell> {
        (column < self.columns && row < self.rows)
            .then(|| &mut self.cells[row * self.columns + column])
    }

    /// A row as text, without the blanks at its end.
    pub(super) fn row(&self, row: usize, look: &Look) -> String {
        let cells = &self.cells[row * self.columns..(row + 1) * self.columns];
        let used = cells.iter().rposition(|cell| cell.owner.is_some()).map_or(0, |last| last + 1);
        let mut text = String::new();
        for run in cells[..used].chunk_by(|a, b| a.owner == b.owner) {
            let glyphs: String = run.iter().map(|cell| self.glyph(cell, look)).collect();
            let style = run[0].owner.map(ink).unwrap_or_default();
            write!(text, "{}", look.paint.paint(style, glyphs)).expect("strings take all");
        }
        text
    }

    fn glyph(&self, cell: &Cell, look: &Look) -> char {
        match (cell.glyph, cell.owner) {
            (Some(glyph), _) => glyph,
            (None, None) => ' ',
            (None, Some(_)) if look.unicode => {
                char::from_u32(BLANK + u32::from(cell.dots)).unwrap_or(' ')
            }
            (None, Some(_)) if self.is_single => '*',
            (None, Some(owner)) => letter(owner).to_ascii_lowercase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Paint;

    fn look(unicode: bool) -> Look {
        Look { width: 80, height: 8, paint: Paint { on: false }, unicode }
    }

    #[test]
    fn dots_make_braille() {
        let look = look(true);
        let mut canvas = Canvas::new(3, 2, &look, true);
        canvas.line((0, 7), (5, 0), 0);
        assert_eq!((canvas.row(0, &look), canvas.row(1, &look)), (" ⢀⠎".into(), "⡰⠁".into()));
        let mut canvas = Canvas::new(1, 1, &look, true);
        canvas.blot((1, 3), 0);
        assert_eq!(canvas.row(0, &look), "⣤");
        canvas.dot((50, 50), 0);
        canvas.line((3, 3), (3, 3), 0);
        assert_eq!(canvas.row(0, &look), "⣤", "what lies outside is lost");
    }

    #[test]
    fn letters_do_not_cover_each_other() {
        let look = look(false);
        let mut canvas = Canvas::new(3, 1, &look, false);
        canvas.line((0, 0), (2, 0), 1);
        assert!(canvas.mark((1, 0), 0));
        assert!(!canvas.mark((1, 0), 1));
        assert!(!canvas.mark((1, 1), 1));
        assert_eq!(canvas.row(0, &look), "bAb");
    }
}
