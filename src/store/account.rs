//! The records of another service, the login: whose account is active, and in which session of a device.

use bson::RawDocument;

use crate::model::ClientId;

/// A collection that the login service writes and this server only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountCollection {
    /// The clients: `{_id, isActive, ...}`.
    Clients,
    /// The sessions of their devices: `{_id, clientId, isActive, ...}`.
    DeviceSessions,
}

/// Whether a session of a device may act for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Active,
    /// It has ended, is another client's, or never was.
    SessionEnded,
    /// The client's account is not active, or never was.
    ClientInactive,
}

impl AccountCollection {
    /// The collection's name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::DeviceSessions => "devicesessions",
        }
    }
}

impl Standing {
    /// Of the records of both as they are stored, if they are.
    pub(super) fn of(client: &ClientId, account: Option<&RawDocument>, session: Option<&RawDocument>) -> Self {
        let own = |session: &&RawDocument| session.get_object_id("clientId").is_ok_and(|id| id == client.object_id());
        if !session.filter(own).is_some_and(is_active) {
            Self::SessionEnded
        } else if !account.is_some_and(is_active) {
            Self::ClientInactive
        } else {
            Self::Active
        }
    }
}

/// What does not say that it is active is not.
fn is_active(record: &RawDocument) -> bool {
    record.get_bool("isActive").unwrap_or(false)
}
