//! Who may take how much of something that is scarce: places of requests, bytes of memory.

use std::collections::HashMap;
use std::hash::Hash;

/// A bounded supply, of which everybody leaves as much to the others as they have themselves.
///
/// This is the dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998). One holder alone
/// gets half, two greedy ones a third each, and so on: whatever the greedy hold, somebody who comes anew
/// finds as much free as the greediest has. No share is set aside for those who are not there.
#[derive(Debug)]
pub(super) struct Shares<K> {
    total: usize,
    used: usize,
    holders: HashMap<K, usize>,
}

impl<K: Copy + Eq + Hash> Shares<K> {
    pub fn new(total: usize) -> Self {
        Self { total, used: 0, holders: HashMap::new() }
    }

    /// How much is taken, and how much there is in all.
    pub fn taken(&self) -> (usize, usize) {
        (self.used, self.total)
    }

    /// The most that anybody can ever hold.
    pub fn most(&self) -> usize {
        self.total / 2
    }

    /// Gives a holder so much more, if it may have it.
    pub fn take(&mut self, holder: K, amount: usize) -> bool {
        let held = self.holders.get(&holder).copied().unwrap_or_default();
        let fits = self.used.checked_add(amount).filter(|used| *used <= self.total);
        let Some(used) = fits.filter(|used| held + amount <= self.total - used) else { return false };
        if amount > 0 {
            self.used = used;
            self.holders.insert(holder, held + amount);
        }
        true
    }

    /// Takes back what a holder has been given.
    pub fn give_back(&mut self, holder: K, amount: usize) {
        let Some(held) = self.holders.get_mut(&holder) else { return };
        let amount = amount.min(*held);
        *held -= amount;
        self.used -= amount;
        if *held == 0 {
            self.holders.remove(&holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes one at a time until refused; says how many it got.
    fn grab(shares: &mut Shares<u8>, holder: u8) -> usize {
        (0..).take_while(|_| shares.take(holder, 1)).count()
    }

    #[test]
    fn the_greedy_leave_as_much_as_they_have() {
        let mut shares = Shares::new(60);
        assert_eq!(grab(&mut shares, 1), 30);
        assert_eq!(grab(&mut shares, 2), 15);
        shares.give_back(1, 10);
        assert_eq!(grab(&mut shares, 2), 5, "two greedy ones come to a third each");
        assert_eq!(grab(&mut shares, 1), 0);
        assert_eq!(grab(&mut shares, 3), 10);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_leaves_nothing_behind() {
        let mut shares = Shares::new(10);
        assert!(shares.take(1, 5) && !shares.take(1, 1) && !shares.take(2, 3) && shares.take(2, 2));
        shares.give_back(1, 5);
        shares.give_back(2, 2);
        assert!(shares.take(3, 0) && shares.take(1, shares.most()));
        shares.give_back(1, 5);
        assert!(shares.holders.is_empty() && shares.used == 0);
    }

    #[test]
    fn an_absurd_wish_is_refused() {
        assert!(!Shares::new(10).take(1, usize::MAX));
    }

    proptest! {
        #[test]
        fn newcomers_find_something_and_the_total_holds(steps in prop::collection::vec((0..6_u8, 1..40_usize, any::<bool>()), 1..200)) {
            let mut shares = Shares::new(100);
            for (holder, amount, takes) in steps {
                if takes { shares.take(holder, amount); } else { shares.give_back(holder, amount); }
                let held: usize = shares.holders.values().sum();
                prop_assert_eq!(held, shares.used);
                prop_assert!(shares.used <= 100);
                let holders = shares.holders.len();
                prop_assert!(shares.used == 0 || 100 - shares.used >= 100 / (1 << holders.min(7)), "{} of {} holders", shares.used, holders);
            }
        }
    }
}
