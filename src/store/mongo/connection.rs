//! The way to a database that may be away: looked for at the start, doubted whenever something failed,
//! and looked for again if the doubt was right.
//!
//! Each search begins from nothing: it resolves the connection string, makes a driver client of its own
//! and asks the deployment what it is. So nothing of an outage outlives it, neither connections that wait
//! for an answer to a question that was given up, nor the belief that a mongod is a lone one.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use mongodb::{Client, Database};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Backoff;
use super::options::MongoOptions;
use super::orphans::Orphans;
use super::topology::{Hello, Topology};
use super::{indexes, standalone, within};
use crate::model::StoreId;
use crate::store::StoreError;
use crate::store::client_queue::ClientQueue;

/// The way to the database. Dropping it ends the search.
#[derive(Debug)]
pub(super) struct Connection {
    state: watch::Receiver<State>,
    doubts: Arc<Notify>,
    epoch: Arc<AtomicU64>,
    _search: AbortOnDropHandle<()>,
}

/// A deployment that answered, and what it was then.
#[derive(Debug)]
pub(super) struct Deployment {
    pub db: Database,
    pub topology: Topology,
    /// Whether it is a sharded cluster.
    pub is_router: bool,
    pub store: StoreId,
    process: Option<ObjectId>,
}

#[derive(Debug, Clone)]
enum State {
    /// The first search is under way.
    Sought,
    /// Nobody answers, or nobody who takes writes.
    Away,
    /// It answers, and is made ready: collections, indexes, interrupted batches.
    Preparing,
    /// It is in use.
    Ready(Arc<Deployment>),
    /// It answered at the start that it cannot be used, and that will not pass.
    Unusable(StoreError),
}

impl Connection {
    /// Begins the search.
    pub fn begin(options: MongoOptions, batches: Arc<ClientQueue>, orphans: Arc<Orphans>) -> Self {
        let (sender, state) = watch::channel(State::Sought);
        let doubts = Arc::new(Notify::new());
        let epoch = Arc::new(AtomicU64::new(0));
        let search =
            Search { options, batches, orphans, state: sender, doubts: Arc::clone(&doubts), epoch: Arc::clone(&epoch) };
        let search = AbortOnDropHandle::new(Handle::current().spawn(search.run()));
        Self { state, doubts, epoch, _search: search }
    }

    /// The deployment as it was found.
    ///
    /// # Errors
    /// [`StoreError::Away`], at once.
    pub fn current(&self) -> Result<Arc<Deployment>, StoreError> {
        match &*self.state.borrow() {
            State::Ready(deployment) => Ok(Arc::clone(deployment)),
            _ => Err(StoreError::Away),
        }
    }

    /// Rises whenever the database is found again, and whenever another process answers.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Something failed: have it found out whether the database is still what it was.
    pub fn doubt(&self) {
        self.doubts.notify_one();
    }

    /// Waits until the first search is over, successful or not, but not for ever: an index may be long in the
    /// making. The search goes on without the caller.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] or [`StoreError::Internal`] if the database cannot be used.
    pub async fn begun(&self) -> Result<(), StoreError> {
        let begun = until(self.state.clone(), |state| !matches!(state, State::Sought | State::Preparing));
        timeout(Search::FIRST_SEARCH, begun).await.map_or(Ok(()), |state| state.usable())
    }

    /// Waits until the database is in use, however long that takes.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] or [`StoreError::Internal`] if it cannot be used.
    pub async fn ready(&self) -> Result<(), StoreError> {
        until(self.state.clone(), |state| matches!(state, State::Ready(_) | State::Unusable(_))).await.usable()
    }

    /// Waits until the database turns out to be unusable, which for a usable one is for ever.
    pub fn unusable(&self) -> impl Future<Output = StoreError> + Send + 'static {
        let unusable = until(self.state.clone(), |state| matches!(state, State::Unusable(_)));
        async move {
            match unusable.await.usable() {
                Err(error) => error,
                Ok(()) => std::future::pending().await,
            }
        }
    }
}

impl State {
    fn usable(&self) -> Result<(), StoreError> {
        match self {
            Self::Unusable(why) => Err(why.clone()),
            _ => Ok(()),
        }
    }
}

/// Waits for a state, and gives it or a later one.
async fn until(mut state: watch::Receiver<State>, wanted: impl FnMut(&State) -> bool) -> State {
    // An error says that the search is over. Its last state stays.
    let _ = state.wait_for(wanted).await;
    state.borrow().clone()
}

impl Deployment {
    /// How long it may take to say what it is, in trouble.
    const PATIENCE: Duration = Duration::from_secs(4);

    /// Asks whether it is there, takes writes, and is what it was.
    ///
    /// # Errors
    /// [`StoreError`] if not.
    pub async fn confirm(&self) -> Result<Hello, StoreError> {
        let hello = within(Self::PATIENCE, Hello::ask(&self.db)).await?;
        if hello.topology == self.topology {
            return Ok(hello);
        }
        Err(StoreError::Unavailable(format!("the deployment was {:?} and is now {:?}", self.topology, hello.topology)))
    }
}

/// The task that looks for the database.
struct Search {
    options: MongoOptions,
    batches: Arc<ClientQueue>,
    orphans: Arc<Orphans>,
    state: watch::Sender<State>,
    doubts: Arc<Notify>,
    epoch: Arc<AtomicU64>,
}

impl Search {
    /// How long the first search for a server may take, for which the start waits.
    const FIRST_SEARCH: Duration = Duration::from_secs(3);
    /// How long each later one may take.
    const SEARCH: Duration = Duration::from_secs(10);
    const FIRST_PAUSE: Duration = Duration::from_millis(100);
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);

    async fn run(self) {
        let (mut began, mut patience) = (false, Self::FIRST_SEARCH);
        let mut outage = Outage::default();
        let mut backoff = Backoff::between(Self::FIRST_PAUSE, Self::LONGEST_PAUSE);
        loop {
            match self.find(patience).await {
                Ok(deployment) => {
                    self.epoch.fetch_add(1, Ordering::AcqRel);
                    outage.over();
                    began = true;
                    backoff = Backoff::between(Self::FIRST_PAUSE, Self::LONGEST_PAUSE);
                    let deployment = Arc::new(deployment);
                    self.state.send_replace(State::Ready(Arc::clone(&deployment)));
                    let why = self.lost(&deployment).await;
                    self.state.send_replace(State::Away);
                    outage.failed(&why);
                }
                // A wrong password or an old MongoDB at the start is an operator's mistake, who is told at
                // once. Later it is one more way to be away: a server that has worked does not give up.
                Err(why @ (StoreError::Unusable(_) | StoreError::Internal(_))) if !began => {
                    self.state.send_replace(State::Unusable(why));
                    return;
                }
                Err(error) => {
                    self.state.send_replace(State::Away);
                    outage.failed(&error);
                }
            }
            patience = Self::SEARCH;
            backoff.wait().await;
        }
    }

    /// Finds the deployment and makes it ready.
    async fn find(&self, patience: Duration) -> Result<Deployment, StoreError> {
        let deployment = within(patience, async {
            let db = self.client().await?;
            let Hello { topology, is_router, process } = Hello::ask(&db).await?;
            // Which store it is turns out when it is made ready.
            Ok::<_, StoreError>(Deployment { db, topology, is_router, store: StoreId(0), process })
        });
        let mut deployment = deployment.await?;
        self.state.send_replace(State::Preparing);
        // Building an index may take long, and a connection on which nothing happens says nothing.
        tokio::select! {
            prepared = self.prepare(&deployment) => prepared?,
            why = silence(&deployment) => return Err(why),
        }
        deployment.store = indexes::store_id(&deployment.db).await?;
        Ok(deployment)
    }

    async fn client(&self) -> Result<Database, StoreError> {
        let mut options = self.options.client_options().await?;
        let doubts = Arc::clone(&self.doubts);
        // The driver's monitors notice at once that a server is gone, also when nobody asks it anything.
        options.sdam_event_handler = Some(EventHandler::callback(move |event| {
            if matches!(event, SdamEvent::ServerHeartbeatFailed(_) | SdamEvent::ServerDescriptionChanged(_)) {
                doubts.notify_one();
            }
        }));
        let name = options.default_database.clone().unwrap_or_else(|| self.options.database.clone());
        Ok(Client::with_options(options)?.database(&name))
    }

    async fn prepare(&self, Deployment { db, topology, .. }: &Deployment) -> Result<(), StoreError> {
        let ensure = async { Ok::<_, StoreError>(indexes::ensure(db, self.options.receipt_days).await?) };
        match topology {
            Topology::Transactional => {
                // Of this server too, if it died: its orphans hold up their own shops' batches, and may hold up an index,
                // until this has ended them. Everybody else is served meanwhile.
                let (orphans, db) = (Arc::clone(&self.orphans), db.clone());
                Handle::current().spawn(async move { orphans.end(&db).await });
                ensure.await?;
            }
            Topology::Standalone => {
                ensure.await?;
                tracing::warn!(
                    "MONGO_URL leads to a lone mongod, which has no transactions: other programs may see the middle \
                     of a batch, and only one server process may use it. Use a replica set in production."
                );
            }
        }
        // On a replica set too: it may have been a lone mongod when it was last used.
        standalone::recover_all(db, &self.batches).await
    }

    /// Waits until a doubt proves right, and says what is wrong.
    async fn lost(&self, deployment: &Deployment) -> StoreError {
        let mut process = deployment.process;
        loop {
            self.doubts.notified().await;
            match deployment.confirm().await {
                Ok(hello) if hello.process == process => {}
                Ok(hello) => {
                    process = hello.process;
                    self.epoch.fetch_add(1, Ordering::AcqRel);
                }
                Err(why) => return why,
            }
        }
    }
}

/// Waits until the deployment does not answer any more.
async fn silence(deployment: &Deployment) -> StoreError {
    loop {
        tokio::time::sleep(Deployment::PATIENCE).await;
        if let Err(why) = deployment.confirm().await {
            return why;
        }
    }
}

/// What the log is told of an outage: its beginning, once a minute that it lasts, and its end.
#[derive(Debug, Default)]
struct Outage(Option<Since>);

#[derive(Debug)]
struct Since {
    began: Instant,
    told: Instant,
}

impl Outage {
    const REMINDER: Duration = Duration::from_secs(60);

    fn failed(&mut self, error: &StoreError) {
        let now = Instant::now();
        match &mut self.0 {
            None => {
                tracing::warn!(%error, "the database is away; batches are refused until it is back");
                self.0 = Some(Since { began: now, told: now });
            }
            Some(since) if now.duration_since(since.told) >= Self::REMINDER => {
                since.told = now;
                tracing::warn!(%error, seconds = since.began.elapsed().as_secs(), "the database is still away");
            }
            Some(_) => tracing::debug!(%error, "the database is still away"),
        }
    }

    fn over(&mut self) {
        if let Some(since) = self.0.take() {
            tracing::info!(seconds = since.began.elapsed().as_secs_f64(), "the database is back");
        }
    }
}
