//! What a batch is made of: `--batch SIZE:MIX`.

use std::fmt;
use std::str::FromStr;

/// How many operations of each kind a batch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// `item.create`.
    pub items: u32,
    /// `item.update`.
    pub updates: u32,
    /// `item.delete`.
    pub deletes: u32,
    /// `invoice.create`.
    pub invoices: u32,
    /// `payment.create`.
    pub payments: u32,
}

/// The names that `--batch` knows, each with its mix, which also is its size.
pub const NAMED: [(&str, &str); 4] = [
    ("day", "item=5,update=5,delete=2,invoice=5,payment=3"),
    ("till", "invoice=2,payment=1"),
    ("market", "item=10,update=10,invoice=120,payment=60"),
    ("catalogue", "item=60,update=30,delete=10"),
];

impl Recipe {
    /// The most operations of a batch.
    pub const LARGEST: u32 = 10_000;

    const KINDS: [&str; 5] = ["item", "update", "delete", "invoice", "payment"];

    /// How many operations there are altogether.
    pub fn size(&self) -> u32 {
        self.counts().iter().sum()
    }

    fn counts(&self) -> [u32; 5] {
        [self.items, self.updates, self.deletes, self.invoices, self.payments]
    }

    fn from_counts([items, updates, deletes, invoices, payments]: [u32; 5]) -> Self {
        Self { items, updates, deletes, invoices, payments }
    }
}

impl Default for Recipe {
    fn default() -> Self {
        NAMED[0].1.parse::<Mix>().map_or(Self::from_counts([5, 5, 2, 5, 3]), |mix| Self::from_counts(mix.0))
    }
}

/// Reads `NAME`, `SIZE`, `SIZE:NAME` or `SIZE:MIX`.
impl FromStr for Recipe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (size, mix) = match text.split_once(':') {
            Some((size, mix)) => (Some(size), mix),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => (Some(text), NAMED[0].0),
            None => (None, text),
        };
        let mix: Mix = NAMED.iter().find(|(name, _)| *name == mix).map_or(mix, |(_, mix)| mix).parse()?;
        let size = match size {
            None => mix.total(),
            Some(size) => {
                size.parse().map_err(|_| format!("{size:?} is no size: a number of operations is asked for"))?
            }
        };
        if !(1..=u64::from(Self::LARGEST)).contains(&size) {
            return Err(format!("a batch has 1 to {} operations, not {size}", Self::LARGEST));
        }
        Ok(Self::from_counts(mix.share_out(size)))
    }
}

/// Prints what it reads again: `20:item=5,update=5,delete=2,invoice=5,payment=3`.
impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = Self::KINDS.iter().zip(self.counts()).filter(|(_, count)| *count > 0);
        let parts: Vec<_> = parts.map(|(kind, count)| format!("{kind}={count}")).collect();
        write!(f, "{}:{}", self.size(), parts.join(","))
    }
}

/// The weights of the kinds. Some are above 0.
struct Mix([u32; 5]);

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = [0; 5];
        for part in text.split(',') {
            let (kind, weight) = part.split_once('=').ok_or_else(|| unknown(part))?;
            let at = Recipe::KINDS.iter().position(|known| *known == kind).ok_or_else(|| unknown(kind))?;
            weights[at] =
                weight.parse().ok().filter(|weight| *weight <= Recipe::LARGEST).ok_or_else(|| {
                    format!("{weight:?} is no weight of {kind}: 0 to {} is asked for", Recipe::LARGEST)
                })?;
        }
        if weights.iter().all(|weight| *weight == 0) {
            return Err("a mix of nothing: give some kind a weight above 0".into());
        }
        Ok(Self(weights))
    }
}

fn unknown(part: &str) -> String {
    let names: Vec<_> = NAMED.iter().map(|(name, _)| *name).collect();
    format!("{part:?} is neither {} nor KIND=WEIGHT with a KIND of {}", names.join(", "), Recipe::KINDS.join(", "))
}

impl Mix {
    fn total(&self) -> u64 {
        self.0.iter().copied().map(u64::from).sum()
    }

    /// Shares this many operations out in proportion to the weights; what is left over goes to the largest
    /// remainders.
    fn share_out(&self, size: u64) -> [u32; 5] {
        let total = self.total();
        let mut counts = self.0.map(|weight| (u64::from(weight) * size / total) as u32);
        let mut by_remainder: Vec<usize> = (0..counts.len()).filter(|kind| self.0[*kind] > 0).collect();
        by_remainder.sort_by_key(|kind| std::cmp::Reverse(u64::from(self.0[*kind]) * size % total));
        let left = size as usize - counts.iter().sum::<u32>() as usize;
        by_remainder.iter().cycle().take(left).for_each(|kind| counts[*kind] += 1);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        text.parse::<Recipe>().map(|recipe| recipe.to_string())
    }

    #[test]
    fn a_mix_that_adds_up_to_the_size_is_taken_as_it_stands() {
        let text = "20:item=5,update=5,delete=2,invoice=5,payment=3";
        assert_eq!(shown(text).unwrap(), text);
        assert_eq!(Recipe::default().to_string(), text);
        assert_eq!(shown("day").unwrap(), text);
    }

    #[test]
    fn another_size_is_shared_out_in_proportion() {
        assert_eq!(shown("40:day").unwrap(), "40:item=10,update=10,delete=4,invoice=10,payment=6");
        assert_eq!(shown("10").unwrap(), "10:item=3,update=3,delete=1,invoice=2,payment=1");
        assert_eq!(shown("1:invoice=3,payment=1").unwrap(), "1:invoice=1");
        assert_eq!(shown("invoice=3").unwrap(), "3:invoice=3");
    }

    #[test]
    fn every_size_is_kept_and_every_print_is_read_again() {
        for size in 1..300 {
            let recipe: Recipe = format!("{size}:item=3,update=7,invoice=11,payment=1").parse().unwrap();
            assert_eq!((recipe.size(), recipe.deletes), (size, 0));
            assert_eq!(recipe.to_string().parse(), Ok(recipe));
        }
    }

    #[test]
    fn names_are_what_they_say() {
        for (name, mix) in NAMED {
            assert_eq!(shown(name).unwrap().split_once(':').unwrap().1, mix);
        }
    }

    #[test]
    fn what_is_no_batch_is_told_in_one_line() {
        for (text, told) in [
            ("", "\"\" is no size"),
            ("0", "1 to 10000"),
            ("10001", "1 to 10000"),
            ("20:", "\"\" is neither day, till, market, catalogue nor KIND=WEIGHT"),
            ("20:item", "\"item\" is neither"),
            ("20:items=5", "\"items\" is neither"),
            ("20:item=x", "no weight of item"),
            ("20:item=-1", "no weight of item"),
            ("x:item=1", "\"x\" is no size"),
            ("20:item=0", "a mix of nothing"),
        ] {
            let error = shown(text).unwrap_err();
            assert!(error.contains(told) && !error.contains('\n'), "{text:?}: {error}");
        }
    }
}
