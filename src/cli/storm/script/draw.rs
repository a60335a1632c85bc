//! Choices that come out the same again: the audit makes every batch anew from the seed.

/// A stream of numbers that its seed alone decides (SplitMix64, by Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// The stream of a seed and a place, such as a client, a phone and a sync.
    pub fn of(seed: u64, place: &[u32]) -> Self {
        let mut draw = Self(seed);
        for part in place {
            draw.0 = draw.next() ^ u64::from(*part);
        }
        draw
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which is not 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A number of this range.
    pub fn within(&mut self, range: std::ops::Range<u32>) -> u32 {
        range.start + self.below(range.end - range.start)
    }

    /// True in so many of 100 cases.
    pub fn percent(&mut self, percent: f64) -> bool {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64 * 100.0 < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_draws_the_same_and_another_one_does_not() {
        let three = |place: &[u32]| {
            let mut draw = Draw::of(7, place);
            [draw.next(), draw.next(), draw.next()]
        };
        assert_eq!(three(&[1, 2]), three(&[1, 2]));
        assert_ne!(three(&[1, 2]), three(&[2, 1]));
    }

    #[test]
    fn percentages_hold_and_bounds_are_kept() {
        let mut draw = Draw::of(1, &[]);
        let hits = (0..10_000).filter(|_| draw.percent(25.0)).count();
        assert!((2_200..2_800).contains(&hits), "{hits}");
        assert!(!(0..1_000).any(|_| draw.percent(0.0)) && (0..1_000).all(|_| draw.percent(100.0)));
        assert!((0..1_000).all(|_| (3..7).contains(&draw.within(3..7))));
    }
}
