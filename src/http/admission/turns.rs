//! Whose turn it is: a bounded number at once, handed out round-robin over the clients that wait.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::model::ClientId;

/// A semaphore that is fair to clients: the next free place goes to the client whose turn it is, however
/// many the others have waiting, and within a client to who came first. One client has only some of the
/// places, so that its slow work cannot hold them all.
///
/// How many may wait is not limited here: whoever waits holds the place of a request, and those are.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Mutex<Line>>);

/// A place to work in, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    client: ClientId,
}

type Line = Rota<ClientId, oneshot::Sender<Turn>>;

impl Turns {
    /// `at_once` places, of which one client has its `part` (a half, a third..), rounded up.
    pub fn new(at_once: usize, part: usize) -> Self {
        Self(Arc::new(Mutex::new(Rota::new(at_once, at_once.div_ceil(part)))))
    }

    /// Waits for the client's turn. Whoever drops the future leaves the queue.
    pub async fn take(&self, client: ClientId) -> Turn {
        let (sender, receiver) = oneshot::channel();
        let ticket = self.lock().line_up(client, sender);
        self.begin_next();
        let _place = Place { turns: self, client, ticket };
        receiver.await.unwrap_or_else(|_| unreachable!("a place in the queue is given up by its holder alone"))
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.lock().clients.values().map(|line| line.waiting.len()).sum()
    }

    /// Begins every turn that can begin now.
    fn begin_next(&self) {
        // The lock is free again before a turn is handed over: one whose receiver has gone in this moment
        // is dropped here, and its place passes on.
        while let Some((client, waiter)) = self.begin_one() {
            drop(waiter.send(Turn { turns: self.clone(), client }));
        }
    }

    fn begin_one(&self) -> Option<(ClientId, oneshot::Sender<Turn>)> {
        self.lock().begin()
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().end(self.client);
        self.turns.begin_next();
    }
}

/// A place in the queue. Leaving it after the turn has begun is nothing.
struct Place<'a> {
    turns: &'a Turns,
    client: ClientId,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.lock().leave(self.client, self.ticket);
    }
}

/// The order of turns, without any waiting: who works, who waits, and who is next.
#[derive(Debug)]
struct Rota<K, W> {
    free: usize,
    most_each: usize,
    clients: HashMap<K, Client<W>>,
    /// The clients that wait, each once, in the order of their next turns.
    round: VecDeque<K>,
    tickets: u64,
}

#[derive(Debug)]
struct Client<W> {
    working: usize,
    waiting: VecDeque<(u64, W)>,
}

impl<K: Copy + Eq + Hash, W> Rota<K, W> {
    fn new(at_once: usize, most_each: usize) -> Self {
        Self { free: at_once, most_each, clients: HashMap::new(), round: VecDeque::new(), tickets: 0 }
    }

    /// Puts a waiter at the end of its client's line; the ticket is to [`Rota::leave`] with.
    fn line_up(&mut self, client: K, waiter: W) -> u64 {
        let line = self.clients.entry(client).or_insert_with(|| Client { working: 0, waiting: VecDeque::new() });
        if line.waiting.is_empty() {
            self.round.push_back(client);
        }
        self.tickets += 1;
        line.waiting.push_back((self.tickets, waiter));
        self.tickets
    }

    /// Takes a waiter out of its line, if it still waits.
    fn leave(&mut self, client: K, ticket: u64) {
        let Some(line) = self.clients.get_mut(&client) else { return };
        line.waiting.retain(|(other, _)| *other != ticket);
        if line.waiting.is_empty() {
            self.round.retain(|other| *other != client);
        }
        self.forget_if_idle(client);
    }

    /// Begins the next turn, if there is a free place and somebody who may have it.
    fn begin(&mut self) -> Option<(K, W)> {
        if self.free == 0 {
            return None;
        }
        let may_begin = |client: &K| self.clients.get(client).is_some_and(|line| line.working < self.most_each);
        let client = self.round.iter().position(may_begin).and_then(|at| self.round.remove(at))?;
        let line = self.clients.get_mut(&client)?;
        let (_, waiter) = line.waiting.pop_front()?;
        line.working += 1;
        self.free -= 1;
        if !line.waiting.is_empty() {
            self.round.push_back(client);
        }
        Some((client, waiter))
    }

    /// Ends a turn.
    fn end(&mut self, client: K) {
        self.free += 1;
        if let Some(line) = self.clients.get_mut(&client) {
            line.working -= 1;
        }
        self.forget_if_idle(client);
    }

    fn forget_if_idle(&mut self, client: K) {
        if self.clients.get(&client).is_some_and(|line| line.working == 0 && line.waiting.is_empty()) {
            self.clients.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    /// Begins all that can begin; the waiters in order.
    fn begun(rota: &mut Rota<char, u32>) -> Vec<u32> {
        std::iter::from_fn(|| rota.begin().map(|(_, waiter)| waiter)).collect()
    }

    #[test]
    fn a_storm_of_one_client_delays_another_by_one_turn() {
        let mut rota = Rota::new(1, 1);
        for number in 0..100 {
            rota.line_up('a', number);
        }
        assert_eq!(begun(&mut rota), [0]);
        rota.line_up('b', 1000);
        rota.line_up('b', 1001);
        let mut order = Vec::new();
        let mut working = 'a';
        for _ in 0..6 {
            rota.end(working);
            let (client, waiter) = rota.begin().unwrap();
            working = client;
            order.push(waiter);
        }
        assert_eq!(order, [1, 1000, 2, 1001, 3, 4]);
    }

    #[test]
    fn one_client_has_at_most_its_part_of_the_places() {
        let mut rota = Rota::new(4, 2);
        for number in 0..10 {
            rota.line_up('a', number);
        }
        assert_eq!(begun(&mut rota), [0, 1]);
        for number in 20..30 {
            rota.line_up('b', number);
        }
        assert_eq!(begun(&mut rota), [20, 21]);
        rota.end('a');
        assert_eq!(begun(&mut rota), [2], "b has its part");
    }

    #[test]
    fn who_leaves_is_skipped_and_forgotten() {
        let mut rota = Rota::new(1, 1);
        let tickets = [1, 2, 3].map(|number| rota.line_up('a', number));
        assert_eq!(begun(&mut rota), [1]);
        rota.leave('a', tickets[1]);
        rota.leave('a', tickets[0]);
        rota.end('a');
        assert_eq!(begun(&mut rota), [3]);
        let ticket = rota.line_up('b', 9);
        rota.leave('b', ticket);
        rota.end('a');
        assert!(begun(&mut rota).is_empty());
        assert!(rota.clients.is_empty() && rota.round.is_empty() && rota.free == 1);
    }

    #[tokio::test]
    async fn a_dropped_wait_passes_the_turn_on() {
        let [one, other] = ["64b000000000000000000001", "64b000000000000000000002"].map(client);
        let turns = Turns::new(1, 2);
        let turn = turns.take(one).await;
        let mut gone = Box::pin(turns.take(one));
        let mut late = Box::pin(turns.take(one));
        let mut next = Box::pin(turns.take(other));
        assert!((&mut gone).now_or_never().is_none() && (&mut late).now_or_never().is_none());
        assert!((&mut next).now_or_never().is_none());
        drop(gone);
        drop(turn);
        // `late` has been given the turn and has not looked yet: it hangs up with the turn in its hands.
        assert!((&mut next).now_or_never().is_none());
        drop(late);
        drop((&mut next).now_or_never().expect("the turn was passed on"));
        drop(next);
        assert!(turns.lock().clients.is_empty() && turns.lock().free == 1);
    }

    fn client(hex: &str) -> ClientId {
        ClientId::from_verified_claim(hex).unwrap()
    }

    proptest! {
        /// Whatever comes, works, leaves and ends: bounds hold, no place is lost, and nobody who could
        /// work waits while a place is free.
        #[test]
        fn no_place_is_lost_and_none_is_given_twice(at_once in 1..6_usize, steps in prop::collection::vec((0..4_u8, 0..3_u8, any::<prop::sample::Index>()), 1..300)) {
            let mut rota = Rota::new(at_once, at_once.div_ceil(2));
            let (mut waiting, mut working) = (Vec::new(), Vec::new());
            for (client, step, which) in steps {
                match step {
                    0 => waiting.push((client, rota.line_up(client, ()))),
                    1 if !waiting.is_empty() => {
                        let (client, ticket) = waiting.remove(which.index(waiting.len()));
                        rota.leave(client, ticket);
                    }
                    2 if !working.is_empty() => rota.end(working.remove(which.index(working.len()))),
                    _ => {}
                }
                while let Some((client, ())) = rota.begin() {
                    // First come, first served within a client.
                    let first = waiting.iter().position(|(other, _)| *other == client).unwrap();
                    waiting.remove(first);
                    working.push(client);
                }
                let works = |client: u8| working.iter().filter(|other| **other == client).count();
                prop_assert_eq!(rota.free + working.len(), at_once);
                prop_assert!((0..4).all(|client| works(client) <= at_once.div_ceil(2)));
                prop_assert!(rota.free == 0 || waiting.iter().all(|(client, _)| works(*client) == at_once.div_ceil(2)));
                prop_assert_eq!(rota.clients.values().map(|line| line.waiting.len()).sum::<usize>(), waiting.len());
            }
        }
    }
}
