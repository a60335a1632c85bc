//! The keys of a set that an issuer publishes and changes.
//!
//! One task reads the set now and then, and soon when a token is signed with a key that is not in it. The last good set
//! stays in force while a newer one cannot be had, so an issuer that is away locks nobody out.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::key::{Key, Rules};
use super::key_set;
use super::location::{LONGEST_READ, Location, Reader};

/// The way to a key set. Dropping it ends the task.
pub(super) struct Published {
    current: watch::Receiver<Current>,
    asked: Arc<Notify>,
    rest: Duration,
    _task: AbortOnDropHandle<()>,
}

/// The set that is in force, and how it went the last time that a newer one was asked for.
struct Current {
    keys: Vec<Key>,
    /// When the last reading began: whatever had been published by then is known.
    as_of: Instant,
    /// Whether the last reading failed, so that an unknown key may well be a good one.
    failed: bool,
}

/// Whether there are newer keys cannot be told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreachable;

/// The way to a key set that is not gone yet, and the set itself if it is in a file.
pub(super) struct Opened {
    source: Source,
    read: Option<Current>,
    period: Duration,
    rest: Duration,
}

impl Opened {
    /// Reads the set if it is in a file. What an address gives may come later.
    ///
    /// # Errors
    /// What is wrong with the file, or why no address can be asked.
    pub async fn at(location: Location, rules: Rules) -> Result<Self, String> {
        let (period, rest) = (location.period(), location.rest());
        let mut source = Source { reader: location.reader()?, rules, text: Vec::new() };
        let as_of = Instant::now();
        let read = match location {
            Location::File(_) => {
                let keys = source.read().await?.unwrap_or_default();
                Some(Current { keys, as_of, failed: false })
            }
            Location::Url(..) => None,
        };
        Ok(Self { source, read, period, rest })
    }
}

impl Published {
    /// Has the set, be it an empty one because an address gives none now, and goes on to read it on this runtime.
    pub async fn begin(Opened { mut source, read, period, rest }: Opened) -> Self {
        let current = match read {
            Some(current) => current,
            None => source.first().await,
        };
        let (sender, current) = watch::channel(current);
        let asked = Arc::new(Notify::new());
        let task = refresh(source, sender, Arc::clone(&asked), period, rest);
        Self { current, asked, rest, _task: AbortOnDropHandle::new(Handle::current().spawn(task)) }
    }

    /// Looks at the keys in force.
    pub fn with<T>(&self, look: impl FnOnce(&[Key]) -> T) -> T {
        look(&self.current.borrow().keys)
    }

    /// Has the set read again and waits for that, however many ask for it: a set that was read before now does not tell
    /// that a key is no good. While the last reading failed, nobody waits for the next one.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn renew(&self) -> Result<(), Unreachable> {
        let now = Instant::now();
        let mut current = self.current.clone();
        self.asked.notify_one();
        if current.borrow().failed {
            return Err(Unreachable);
        }
        let read = current.wait_for(|current| current.as_of >= now);
        // Another reading may be under way first.
        match timeout(2 * LONGEST_READ + self.rest, read).await {
            Ok(Ok(current)) if !current.failed => Ok(()),
            _ => Err(Unreachable),
        }
    }
}

/// What is read, and what was read last.
struct Source {
    reader: Reader,
    rules: Rules,
    text: Vec<u8>,
}

impl Source {
    /// What an address gives as the first thing.
    async fn first(&mut self) -> Current {
        let as_of = Instant::now();
        let read = self.read().await;
        if let Err(error) = &read {
            tracing::warn!(error, "the token keys cannot be read; tokens get 503 until they can");
        }
        Current { failed: read.is_err(), keys: read.ok().flatten().unwrap_or_default(), as_of }
    }

    /// The keys, if they are not those of the last time.
    async fn read(&mut self) -> Result<Option<Vec<Key>>, String> {
        let text = self.reader.read().await?;
        if text == self.text {
            return Ok(None);
        }
        let keys = key_set::parse(&text, &self.rules)?;
        self.text = text;
        Ok(Some(keys))
    }
}

/// Reads when it is time or somebody has asked, and rests after each reading, so that strangers who ask all the time bring
/// about no more than one for each rest.
async fn refresh(
    mut source: Source,
    current: watch::Sender<Current>,
    asked: Arc<Notify>,
    period: Duration,
    rest: Duration,
) {
    loop {
        sleep(rest).await;
        // Either way it is time now.
        let _ = timeout(period.saturating_sub(rest), asked.notified()).await;
        let as_of = Instant::now();
        let read = source.read().await;
        tell(&read, current.borrow().failed);
        current.send_modify(|current| {
            current.as_of = as_of;
            current.failed = read.is_err();
            if let Ok(Some(keys)) = read {
                current.keys = keys;
            }
        });
    }
}

/// Tells the log what is new, and of an outage only its beginning and its end.
fn tell(read: &Result<Option<Vec<Key>>, String>, failed: bool) {
    match read {
        Ok(Some(keys)) => tracing::info!(keys = keys.len(), "the token keys have changed"),
        Ok(None) if failed => tracing::info!("the token keys can be read again"),
        Ok(None) => {}
        Err(error) if !failed => {
            tracing::warn!(error, "the token keys cannot be read; the last good ones stay in force");
        }
        Err(error) => tracing::debug!(error, "the token keys still cannot be read"),
    }
}
