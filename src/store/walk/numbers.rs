//! Uses the numbers in keys as a [`Scale`].

use super::pace::Scale;

/// The digits of each kind of number or identifier, in ASCII order. The smaller sets come first.
const ALPHABETS: [&[u8]; 8] = [
    DECIMAL,
    b"0123456789abcdef",
    b"0123456789ABCDEF",
    b"abcdefghijklmnopqrstuvwxyz",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"0123456789abcdefghijklmnopqrstuvwxyz",
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    ALPHANUMERIC,
];
const DECIMAL: &[u8] = b"0123456789";
const ALPHANUMERIC: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Positions stay below this, so that they can be multiplied by small numbers.
const POSITIONS: u128 = 1 << 96;

/// The numbers in keys, beginning with the first one in which they differ: counters, hashes, or the parts of a date,
/// for example. Together they are read as one mixed-radix number: each is a digit, whose radix is the size of its
/// alphabet to the power of its width for the first, and one more than the largest value seen for the others.
#[derive(Debug)]
pub(super) struct Numbers {
    runs: Vec<Run>,
    /// Whether every number has the same width in each key.
    is_fixed: bool,
}

/// A number whose digits are aligned on the left: missing last digits of a shorter number count as 0.
#[derive(Debug)]
struct Run {
    /// The text before it, the same in every key.
    before: String,
    alphabet: &'static [u8],
    width: usize,
    /// How many values it can have.
    values: u128,
}

impl Numbers {
    /// The numbers in these keys, which are in ascending order.
    pub(super) fn of(keys: &[&str]) -> Option<Self> {
        let (first, last) = (keys.first()?.as_bytes(), keys.last()?.as_bytes());
        let differs = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let tails: Vec<&[u8]> = keys.iter().filter_map(|key| key.as_bytes().get(differs..)).collect();
        let alphabet = alphabet(&tails)?;
        if !alphabet.contains(last.get(differs)?) {
            return None;
        }
        let base = alphabet.len() as u128;
        let most = std::iter::successors(Some(base), |values| Some(values * base));
        let most = most.take_while(|values| *values < POSITIONS).count();
        // Digits before the first difference matter only for carries.
        let left = leading(alphabet, last[..differs].iter().rev()).min(most / 2);
        let (before, _) = keys.last()?.split_at_checked(differs - left)?;
        let mut tails: Vec<&[u8]> =
            keys.iter().filter_map(|key| key.as_bytes().get(before.len()..)).collect();
        let (mut narrowest, mut width) = widths(alphabet, &tails);
        let values = base.checked_pow(u32::try_from(width.min(most)).ok()?)?;
        let mut runs = vec![Run { before: before.to_owned(), alphabet, width: width.min(most), values }];
        let mut positions = values;
        // Later numbers only make the position more precise.
        while narrowest == width && width <= most {
            tails = tails.into_iter().map(|tail| &tail[width..]).collect();
            let Some(run) = Run::next(&tails).filter(|run| run.values < POSITIONS / positions) else { break };
            positions *= run.values;
            tails = tails.into_iter().map(|tail| &tail[run.before.len()..]).collect();
            (narrowest, width) = widths(run.alphabet, &tails);
            runs.push(run);
        }
        Some(Self { runs, is_fixed: narrowest == width && width <= most })
    }
}

impl Numbers {
    /// Whether the first number is decimal or hexadecimal, and not a name.
    pub(super) fn is_numeric(&self) -> bool {
        self.runs.first().is_some_and(|run| run.alphabet.starts_with(DECIMAL) && run.alphabet.len() <= 16)
    }
}

impl Run {
    /// The number that follows in these texts, if they are the same before it, and it has the same width in each.
    fn next(texts: &[&[u8]]) -> Option<Self> {
        let first = texts.first()?;
        let (before, _) = first.split_at(first.iter().position(|byte| ALPHANUMERIC.contains(byte))?);
        let tails: Vec<&[u8]> = texts.iter().map(|text| text.strip_prefix(before)).collect::<Option<_>>()?;
        let alphabet = alphabet(&tails)?;
        let (narrowest, width) = widths(alphabet, &tails);
        let before = str::from_utf8(before).ok()?.to_owned();
        let mut run = Self { before, alphabet, width, values: POSITIONS };
        let fits = (alphabet.len() as u128).checked_pow(u32::try_from(width).ok()?)? < POSITIONS;
        run.values = 1 + tails.iter().map(|tail| run.value(tail)).max()?;
        (narrowest == width && fits).then_some(run)
    }

    /// The value of the number with which a text begins.
    fn value(&self, text: &[u8]) -> u128 {
        let digits = text.iter().map_while(|byte| self.alphabet.iter().position(|digit| digit == byte));
        let digits = digits.chain(std::iter::repeat(0)).take(self.width);
        digits.fold(0, |value, digit| value * self.alphabet.len() as u128 + digit as u128)
    }

    fn write(&self, mut value: u128, key: &mut String) {
        let base = self.alphabet.len() as u128;
        let mut digits = Vec::with_capacity(self.width);
        for _ in 0..self.width {
            digits.push(char::from(self.alphabet[usize::try_from(value % base).unwrap_or_default()]));
            value /= base;
        }
        key.push_str(&self.before);
        key.extend(digits.into_iter().rev());
    }
}

/// The number of leading bytes that belong to the alphabet.
fn leading<'a>(alphabet: &[u8], bytes: impl Iterator<Item = &'a u8>) -> usize {
    bytes.take_while(|byte| alphabet.contains(byte)).count()
}

/// The smallest and the greatest width of the numbers with which these texts begin.
fn widths(alphabet: &[u8], texts: &[&[u8]]) -> (usize, usize) {
    let widths = texts.iter().map(|text| leading(alphabet, text.iter()));
    widths.fold((usize::MAX, 0), |(least, most), width| (least.min(width), most.max(width)))
}

/// The alphabet of the words with which these texts begin.
fn alphabet(texts: &[&[u8]]) -> Option<&'static [u8]> {
    let words: Vec<&[u8]> = texts.iter().map(|text| &text[..leading(ALPHANUMERIC, text.iter())]).collect();
    // A number may be followed by letters, as in `0123a`. The digits at the start of hashes do not count: they usually
    // differ in width, or are fewer than 3.
    if let (least @ 3.., most) = widths(DECIMAL, &words)
        && least == most
    {
        return Some(DECIMAL);
    }
    let is_in = |alphabet: &&[u8]| words.iter().all(|word| leading(alphabet, word.iter()) == word.len());
    ALPHABETS.into_iter().find(is_in)
}

impl Scale for Numbers {
    fn position(&self, key: &str) -> Option<u128> {
        let mut rest = key.as_bytes().strip_prefix(self.runs.first()?.before.as_bytes())?;
        let mut position = 0;
        for (index, run) in self.runs.iter().enumerate() {
            if index > 0 {
                rest = rest.strip_prefix(run.before.as_bytes()).unwrap_or_default();
            }
            position = position * run.values + run.value(rest).min(run.values - 1);
            rest = rest.get(run.width..).unwrap_or_default();
        }
        Some(position)
    }

    fn key(&self, position: u128, like: &str) -> Option<String> {
        let (mut values, mut left) = (Vec::new(), position);
        for run in self.runs.iter().rev() {
            values.push(left % run.values);
            left /= run.values;
        }
        if left > 0 {
            return None;
        }
        let mut key = String::new();
        for (run, value) in self.runs.iter().zip(values.into_iter().rev()) {
            run.write(value, &mut key);
        }
        if self.is_fixed {
            key.push_str(like.get(key.len()..)?);
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::pace::Pace, *};

    /// The key that is `pages` pages after the last of `keys`, which are the last keys of consecutive pages.
    fn ahead(keys: &[&str], pages: f64) -> Option<String> {
        let samples: Vec<_> = keys.windows(2).map(|pair| (pair[0], pair[1])).collect();
        Pace::measure(Numbers::of(keys)?, &samples)?.ahead(keys.last()?, pages)
    }

    #[test]
    fn the_next_keys_are_extrapolated() {
        for (keys, pages, expected) in [
            (["part-000999.gz", "part-001999.gz", "part-002999.gz"], 10.0, Some("part-012999.gz")),
            (["part-000999.gz", "part-001999.gz", "part-002999.gz"], 0.5, Some("part-003499.gz")),
            // With a carry.
            (["k0899", "k0949", "k0999"], 2.0, Some("k1099")),
            // Hashes.
            (["h/0f3a", "h/1f3b", "h/2f3c"], 2.0, Some("h/4f3e")),
            (["h/0F3A", "h/1F3B", "h/2F3C"], 10.0, Some("h/CF46")),
            (["h/0f3a", "h/1f3b", "h/2f3c"], 16.0, None),
            // Directories with 500 keys.
            (["d/01/000299.x", "d/03/000299.x", "d/05/000299.x"], 3.0, Some("d/11/000299.x")),
            // Directories whose numbers reach 299.
            (["d/01/099.x", "d/01/299.x", "d/02/199.x"], 1.0, Some("d/03/099.x")),
            // Numbers without leading zeros.
            (["f-19.x", "f-28.x", "f-37.x"], 1.0, Some("f-46.x")),
            // Letters, and text that is no number.
            (["xga", "xha", "xia"], 3.0, Some("xla")),
            // These could be hexadecimal digits.
            (["xa", "xb", "xc"], 4.0, None),
            (["é1", "é2", "é3"], 1.0, Some("é4")),
            (["ä", "ö", "ü"], 1.0, None),
            (["same", "same", "same"], 1.0, None),
        ] {
            assert_eq!(ahead(&keys, pages).as_deref(), expected, "{keys:?}");
        }
    }

    proptest! {
        #[test]
        fn an_estimate_comes_after_the_last_key(
            mut keys in prop_oneof![
                proptest::collection::vec("[0-9a-fA-F/é.-]{0,12}", 1..30),
                proptest::collection::vec(any::<String>(), 1..8),
                proptest::collection::vec("k[0-9]{1,40}[a-z0-9]{0,30}/?[0-9]{0,60}", 1..30),
                proptest::collection::vec("[9fzZ]{50,70}", 1..4),
            ],
            pages in 0.0_f64..100.0,
        ) {
            keys.sort_unstable();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            if let Some(key) = ahead(&keys, pages) {
                prop_assert!(key.as_str() > *keys.last().unwrap());
            }
        }
    }
}
