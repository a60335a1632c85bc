//! The phones of one round.

use std::collections::HashMap;
use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::audit::{History, audit};
use crate::books::Books;
use crate::device::{Device, Fate, Shop};
use crate::front::{Front, Progress};

/// How much is asked of a server in one round.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Shops.
    pub shops: usize,
    /// Phones in each.
    pub phones: usize,
    /// Batches of each phone.
    pub batches: usize,
}

impl Load {
    /// What every cell takes, unless it says something else.
    pub const USUAL: Self = Self { shops: 2, phones: 2, batches: 8 };

    /// How many batches all phones send, about.
    pub fn total(&self) -> usize {
        self.shops * self.phones * self.batches
    }
}

/// New shops with their phones.
pub struct Crowd {
    load: Load,
    devices: Vec<Device>,
}

impl Crowd {
    /// Phones that send to `front`. The same dice make the same shops and the same queues.
    pub fn new(load: Load, front: &Arc<Front>, dice: &mut ChaCha8Rng) -> Self {
        let mut devices = Vec::new();
        for index in 0..load.shops {
            let client: String = (0..12).map(|_| format!("{:02x}", dice.random::<u8>())).collect();
            let shop = Arc::new(Shop::new(index, client));
            for phone in 0..load.phones {
                let dice = ChaCha8Rng::from_rng(dice);
                devices.push(Device::new(Arc::clone(&shop), phone, Arc::clone(front), dice));
            }
        }
        Self { load, devices }
    }

    /// Has every phone work through its queue while `disturb` breaks things.
    pub fn work<T>(&mut self, disturb: impl FnOnce(&Progress) -> T) -> T {
        let batches = self.load.batches;
        self.all(|device, progress| device.work(batches, progress), disturb)
    }

    /// Has every phone send its whole history again.
    pub fn resend(&mut self) {
        self.all(Device::resend, |_| ());
    }

    /// Notes that a backup of the books was made.
    pub fn backed_up(&mut self) {
        self.devices.iter_mut().for_each(Device::backed_up);
    }

    /// The clients' ids.
    pub fn clients(&self) -> Vec<String> {
        self.devices.chunks(self.load.phones).map(|phones| phones[0].shop.client.clone()).collect()
    }

    /// Everything of every client as the server shows it.
    ///
    /// # Errors
    /// The server does not answer a pull.
    pub fn pull(&self) -> Result<HashMap<String, Books>, String> {
        let pull = |phone: &Device| {
            let client = phone.shop.client.clone();
            let answer = phone.books().ok_or_else(|| format!("client {client}: a pull is not answered"))?;
            Ok((client, Books::pulled(&answer)?))
        };
        self.devices.chunks(self.load.phones).map(|phones| pull(&phones[0])).collect()
    }

    /// Where the server says something else of a batch than it said before.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn reconcile(&self) -> Result<Vec<String>, String> {
        let found: Vec<_> = self.devices.iter().map(Device::reconcile).collect::<Result<_, _>>()?;
        Ok(found.concat())
    }

    /// All that is wrong with the books, as the server shows them and as the store holds them.
    pub fn audit(&self, pulled: &HashMap<String, Books>, stored: &HashMap<String, Books>) -> Vec<String> {
        let mut found: Vec<String> = self.devices.iter().flat_map(|device| device.violations.clone()).collect();
        for phones in self.devices.chunks(self.load.phones) {
            let shop = &phones[0].shop;
            let sent = phones.iter().flat_map(|phone| &phone.sent).collect();
            let history = History { client: &shop.client, scarce: &shop.shelf.scarce, sent };
            let (pulled, stored) = (&pulled[&shop.client], &stored[&shop.client]);
            found.extend(audit(&history, stored));
            if stored.as_pulled() != *pulled {
                found.push(format!("client {}: a pull shows other books than the store holds", shop.client));
            }
        }
        found
    }

    /// How many batches were acknowledged.
    pub fn acknowledged(&self) -> usize {
        let sent = self.devices.iter().flat_map(|device| &device.sent);
        sent.filter(|sent| matches!(sent.fate, Fate::Acknowledged(_))).count()
    }

    /// How many of these had had an attempt of which nothing was heard.
    pub fn settled(&self) -> usize {
        self.devices.iter().map(|device| device.settled).sum()
    }

    fn all<T>(&mut self, task: impl Fn(&mut Device, &Progress) + Sync, disturb: impl FnOnce(&Progress) -> T) -> T {
        let progress = Progress::new(self.load.shops, self.load.phones);
        std::thread::scope(|scope| {
            for device in &mut self.devices {
                scope.spawn(|| task(device, &progress));
            }
            disturb(&progress)
        })
    }
}
