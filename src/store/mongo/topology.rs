//! What kind of deployment answers.

use bson::oid::ObjectId;
use bson::{Document, doc};
use mongodb::Database;

use crate::store::StoreError;

/// How batches are committed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topology {
    /// A replica set or a sharded cluster.
    Transactional,
    /// A lone mongod.
    Standalone,
}

/// What a deployment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    pub topology: Topology,
    /// Whether it is a router of a sharded cluster, which wants to know from a filter where a record lies.
    pub is_router: bool,
    /// Which process answered. Another one may have other data: a member that was elected, or a backup. Not said of
    /// routers, of which any may answer.
    pub process: Option<ObjectId>,
}

impl Hello {
    /// Asks the server. The driver believes that a lone mongod has transactions.
    pub async fn ask(db: &Database) -> Result<Self, StoreError> {
        let hello = db.client().database("admin").run_command(doc! { "hello": 1 }).await?;
        let version = hello.get_document("topologyVersion").ok();
        let process = version.and_then(|version| version.get_object_id("processId").ok());
        let is_router = is_router(&hello);
        Ok(Self { topology: Topology::of(&hello)?, is_router, process: process.filter(|_| !is_router) })
    }
}

fn is_router(hello: &Document) -> bool {
    hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid")
}

impl Topology {
    /// The first version with snapshot reads outside transactions: MongoDB 5.0.
    const OLDEST_WIRE_VERSION: i32 = 13;

    fn of(hello: &Document) -> Result<Self, StoreError> {
        if hello.get_i32("maxWireVersion").unwrap_or_default() < Self::OLDEST_WIRE_VERSION {
            return Err(StoreError::Unusable("MongoDB 5.0 or newer is needed".to_owned()));
        }
        // A member that is not initiated has no set's name yet, and is no lone mongod all the same.
        if !hello.get_bool("isWritablePrimary").unwrap_or(false) {
            return Err(StoreError::Unavailable("the replica set has no primary here, or is not initiated".to_owned()));
        }
        let is_transactional = hello.contains_key("setName") || is_router(hello);
        Ok(if is_transactional { Self::Transactional } else { Self::Standalone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_known_by_its_hello() {
        let hello = |more: Document| {
            let mut hello = doc! { "maxWireVersion": 17, "isWritablePrimary": true };
            hello.extend(more);
            Topology::of(&hello)
        };
        assert_eq!(hello(doc! {}).unwrap(), Topology::Standalone);
        assert_eq!(hello(doc! { "setName": "rs0" }).unwrap(), Topology::Transactional);
        assert_eq!(hello(doc! { "msg": "isdbgrid" }).unwrap(), Topology::Transactional);
        for waits in [
            doc! { "isWritablePrimary": false, "setName": "rs0" },
            doc! { "isWritablePrimary": false, "isreplicaset": true },
        ] {
            assert!(matches!(hello(waits), Err(StoreError::Unavailable(_))));
        }
        assert!(matches!(hello(doc! { "maxWireVersion": 9 }), Err(StoreError::Unusable(_))));
    }
}
