//! Texts that are nearly right: seeds with parts cut out, doubled, exchanged with each other and with
//! what bites. What `fuzz/` finds at length, in the time of a test and the same every time.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// What is put between.
const BITING: [&str; 24] = [
    "'",
    "\"",
    "`",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    ":",
    "\n",
    "\t",
    " ",
    "\\",
    "\0",
    "é",
    "日本",
    "\u{202e}",
    "--",
    "/*",
    "99999999999999999999",
    "null",
];

/// Calls with this many texts made of the seeds.
pub(crate) fn for_each(seeds: &[&str], n: usize, mut check: impl FnMut(&str)) {
    let mut random = StdRng::seed_from_u64(17);
    for _ in 0..n {
        let mut text = seeds[random.random_range(0..seeds.len())].to_owned();
        for _ in 0..random.random_range(1..5) {
            let range = part(&text, &mut random);
            let with = match random.random_range(0..4) {
                0 => String::new(),
                1 => BITING[random.random_range(0..BITING.len())].to_owned(),
                2 => text[range.clone()].repeat(2),
                _ => {
                    let other = seeds[random.random_range(0..seeds.len())];
                    other[part(other, &mut random)].to_owned()
                }
            };
            text.replace_range(range, &with);
        }
        check(&text);
    }
}

/// A short part of a text, at boundaries of characters.
fn part(text: &str, random: &mut StdRng) -> std::ops::Range<usize> {
    let start = text.floor_char_boundary(random.random_range(0..=text.len()));
    let end = text.floor_char_boundary(text.len().min(start + random.random_range(0..20)));
    start..end.max(start)
}
