//! Whether the session that a token names is still open, as the store said some seconds ago at most.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::App;
use super::auth::Caller;
use super::error::ApiError;
use crate::model::{ClientId, SessionId};
use crate::store::{Standing, Store, StoreError};

/// What the store said of sessions, good news and bad.
#[derive(Debug, Clone)]
pub struct Sessions(Cache<(ClientId, SessionId), Standing>);

/// What is remembered of a session that has not been refused.
pub(super) enum Known {
    /// It is open, and its account is active.
    Active,
    /// Nothing: the store has to be asked.
    Nothing(SessionId),
}

impl Sessions {
    const MOST: u64 = 100_000;

    /// Nothing is known yet. What is said is believed for so long.
    pub fn new(moment: Duration) -> Self {
        Self(Cache::builder().max_capacity(Self::MOST).time_to_live(moment).build())
    }

    /// What can be said of a caller's session without asking the store.
    ///
    /// # Errors
    /// [`ApiError`] 401 or 403 if it is known to be no open session of an active account.
    pub(super) async fn known(&self, caller: Caller) -> Result<Known, ApiError> {
        let session = caller.session.ok_or(ApiError::SessionEnded)?;
        match self.0.get(&(caller.client, session)).await {
            Some(standing) => admitted(standing).map(|()| Known::Active),
            None => Ok(Known::Nothing(session)),
        }
    }

    /// Asks the store, and lets a session through that is open and whose account is active.
    ///
    /// # Errors
    /// [`ApiError`] 401, 403, or 503 if the store does not say.
    pub(super) async fn look_up(&self, client: ClientId, session: SessionId, app: &App) -> Result<(), ApiError> {
        let (sessions, store) = (self.clone(), Arc::clone(&app.store));
        admitted(app.run(async move { sessions.ask(client, session, store.as_ref()).await }).await??)
    }

    /// Asks once, however many requests of the session wait for the answer. An error is not remembered.
    async fn ask(&self, client: ClientId, session: SessionId, store: &dyn Store) -> Result<Standing, ApiError> {
        let asked = self.0.try_get_with((client, session), store.standing(&client, session)).await;
        asked.map_err(|error: Arc<StoreError>| ApiError::from(error.as_ref()))
    }
}

fn admitted(standing: Standing) -> Result<(), ApiError> {
    match standing {
        Standing::Active => Ok(()),
        Standing::SessionEnded => Err(ApiError::SessionEnded),
        Standing::ClientInactive => Err(ApiError::AccountInactive),
    }
}
