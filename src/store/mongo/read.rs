//! Reading a client's dataset to show it: from what is kept, with one command, or with several side by side.

use std::sync::Arc;

use super::at_once::{self, AtOnce, Extent, Found};
use super::connection::Deployment;
use super::counter::Counter;
use super::dataset::{At, Reader};
use super::kept::KeptDataset;
use super::topology::Topology;
use super::{MongoStore, standalone};
use crate::model::{ClientId, Cursor};
use crate::store::cache::{Known, Times};
use crate::store::gather::Gathered;
use crate::store::pull::Reading;
use crate::store::{After, Data, FullReason, Moment, Pull, StoreError, Wanted};

impl MongoStore {
    /// Reads as much as is wanted, of this moment or a later one; on a lone mongod in the client's turn.
    pub(super) async fn dataset_in_turn(
        &self,
        client: &ClientId,
        wanted: Wanted,
        after: Option<&After>,
    ) -> Result<Pull, StoreError> {
        let (on_the_way, after) = (after.and_then(|after| after.read.as_deref()), after.map(|after| after.moment));
        let request = self.request(client, wanted, after)?;
        if let Some(read) = on_the_way.filter(|read| read.epoch == request.epoch) {
            request.kept().missed();
            request.kept().keep(read.known.clone());
            return Ok(request.show(&read.known));
        }
        if let (Wanted::Nothing, Some(moment)) = (wanted, after) {
            return Ok(Pull::nothing(request.deployment.store, *client, moment, self.kept.is_exact()));
        }
        // Held until all is read or the rest is read as it is sent; it waits if somebody else is reading this shop.
        let _reading = if request.is_to_be_kept() { self.readings.begin(request.epoch, *client).await } else { None };
        // The store may have been away meanwhile.
        let request = self.request(client, wanted, after)?;
        if let Some(known) = request.known().await {
            return Ok(request.show(&known));
        }
        let lone = request.is_lone();
        // Whichever it is, held as long.
        let (_turn, _passed) = match lone {
            true => (Some(self.batches.turn(client.object_id()).await?), None),
            false => (None, Some(self.datasets.pass().await?)),
        };
        let deployment = self.deployment().await?;
        if lone {
            standalone::finish_pending(&deployment.db, client.object_id()).await?;
        }
        Request { deployment, ..request }.read().await
    }

    fn request<'a>(
        &'a self,
        client: &'a ClientId,
        wanted: Wanted,
        after: Option<Moment>,
    ) -> Result<Request<'a>, StoreError> {
        let (epoch, deployment) = (self.connection.epoch(), self.connection.current()?);
        Ok(Request { mongo: self, deployment, epoch, client, wanted, after })
    }
}

/// Who wants what.
struct Request<'a> {
    mongo: &'a MongoStore,
    deployment: Arc<Deployment>,
    epoch: u64,
    client: &'a ClientId,
    wanted: Wanted,
    /// What it must not be older than.
    after: Option<Moment>,
}

/// What of a client's books was read.
struct Read {
    counter: Counter,
    /// When that was, if the database has a time.
    at: Option<At>,
    shown: Shown,
}

/// Where its records come from.
enum Shown {
    /// They were kept.
    Known(Known),
    /// From the database, if there were any to read.
    Read(Reading, Option<Gathered>),
}

impl Request<'_> {
    /// Whether all will be read, so that it is kept, of a client of whom nothing is.
    fn is_to_be_kept(&self) -> bool {
        let kept = &self.mongo.kept;
        matches!(self.wanted, Wanted::Full(_))
            && kept.is_used(&self.deployment, self.epoch)
            && !kept.knows(self.epoch, self.client)
    }

    fn is_lone(&self) -> bool {
        self.deployment.topology == Topology::Standalone
    }

    fn kept(&self) -> KeptDataset<'_> {
        self.mongo.kept.of(&self.deployment, self.epoch, self.client)
    }

    /// The dataset that is kept, if it is as new as it is known that it must be.
    async fn known(&self) -> Option<Known> {
        self.kept().reached(self.after?).await
    }

    fn show(&self, known: &Known) -> Pull {
        let pull = known.pull(self.deployment.store, *self.client, self.wanted);
        Pull { exact: self.mongo.kept.is_exact(), ..pull }
    }

    /// The most that is held of a dataset: of one that may be kept more.
    fn most_held(&self) -> usize {
        let memory = self.mongo.memory;
        if self.mongo.kept.is_used(&self.deployment, self.epoch) { memory.most_held() } else { memory.stream_above }
    }

    async fn read(&self) -> Result<Pull, StoreError> {
        self.mongo.kept.begin(&self.deployment, self.epoch).await;
        let reader = Reader {
            db: self.deployment.db.clone(),
            client: self.client.object_id(),
            lone: self.is_lone(),
            routed: self.deployment.is_router,
            most_held: self.most_held(),
        };
        let at = self.after.filter(|after| after.time > 0).map(|after| At::of(after.time));
        let read = match self.read_at_once(&reader, at).await? {
            Some(read) => read,
            None => self.read_side_by_side(&reader, at).await?,
        };
        let Read { counter, at, shown } = read;
        let position = counter.position();
        let (mode, data) = match shown {
            Shown::Known(known) => return Ok(self.show(&known)),
            Shown::Read(reading, gathered) => {
                if gathered.is_some() {
                    self.kept().missed();
                }
                if let (Reading::Full(_), Some(gathered)) = (reading, &gathered) {
                    self.note(&reader, counter, at, gathered);
                }
                (reading.mode(), gathered.map_or(Data::Nothing, Gathered::into_data))
            }
        };
        Ok(Pull {
            cursor: Cursor { store: self.deployment.store, client: *self.client, position },
            mode,
            data,
            moment: Moment { position, time: at.map_or(0, At::time) },
            exact: self.mongo.kept.is_exact(),
        })
    }

    /// Reads what is likely to be little with one command. Gives nothing if it is not, or not any more.
    async fn read_at_once(&self, reader: &Reader, at: Option<At>) -> Result<Option<Read>, StoreError> {
        let (store, small) = (self.deployment.store, !self.mongo.large.contains(self.client));
        let recent =
            |cursor: Cursor| self.after.is_some_and(|after| at_once::is_recent(cursor.position, after.position));
        let extent = match self.wanted {
            _ if reader.lone || reader.routed => return Ok(None),
            // Perhaps nothing has to be read but the counter.
            _ if at.is_none() && self.mongo.kept.knows(self.epoch, self.client) => return Ok(None),
            Wanted::Full(_) if small => Extent::Full,
            Wanted::Since(cursor) if cursor.store == store && (small || (at.is_some() && recent(cursor))) => {
                Extent::Since(cursor.position.revision)
            }
            _ => return Ok(None),
        };
        let AtOnce { counter, at, dataset } = match reader.at_once(at, extent).await? {
            Found::All(read) => *read,
            Found::Nothing => return Ok(None),
            Found::TooMuch => {
                self.mongo.large.note(self.client);
                return Ok(None);
            }
        };
        // A cursor may turn out not to be of this history.
        let reading = self.wanted.reading(store, counter.revision, &counter.lineage);
        let fits =
            matches!((extent, reading), (Extent::Full, Reading::Full(_)) | (Extent::Since(_), Reading::Since(_)));
        let shown = Shown::Read(reading, Some(Gathered::Whole(dataset)));
        Ok(fits.then_some(Read { counter, at: Some(at), shown }))
    }

    /// Reads what may be much, and what is little in several commands.
    async fn read_side_by_side(&self, reader: &Reader, at: Option<At>) -> Result<Read, StoreError> {
        let ((counter, at), mut gathered) = match (self.wanted, at) {
            // The time is known, and what to read too.
            (Wanted::Full(_), Some(at)) if !reader.lone => {
                let (counter, all) = tokio::try_join!(reader.counter(Some(at)), reader.all(Some(at)))?;
                (counter, Some(all))
            }
            (_, at) => (reader.counter(at).await?, None),
        };
        if gathered.is_none()
            && self.wanted != Wanted::Nothing
            && let Some(known) = self.kept().at(counter.position(), at).await
        {
            return Ok(Read { counter, at, shown: Shown::Known(known) });
        }
        let mut reading = self.wanted.reading(self.deployment.store, counter.revision, &counter.lineage);
        if let Reading::Since(revision) = reading {
            match reader.changed_since(at, revision).await? {
                Some(changed) => gathered = Some(Gathered::Whole(changed)),
                // More has changed than is told one by one.
                None => reading = Reading::Full(FullReason::CursorExpired),
            }
        }
        if let (Reading::Full(_), None) = (reading, &gathered) {
            gathered = Some(reader.all(at).await?);
        }
        Ok(Read { counter, at, shown: Shown::Read(reading, gathered) })
    }

    /// Notes what may help the next time: all of a client's records were read.
    fn note(&self, reader: &Reader, counter: Counter, at: Option<At>, gathered: &Gathered) {
        let Gathered::Whole(dataset) = gathered else { return self.mongo.large.note(self.client) };
        if dataset.bytes() > reader.most_at_once() {
            self.mongo.large.note(self.client);
        }
        let (position, time) = (counter.position(), at.map_or(0, At::time));
        let times = Times { read: time, committed: time };
        self.kept().keep(Known { position, lineage: Arc::new(counter.lineage), dataset: dataset.clone(), times });
    }
}
