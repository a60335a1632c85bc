//! A replica set of three members, each of which may be lost.

use std::time::Duration;

use mongodb::bson::{Document, doc};

use super::mongod::{Mongod, Topology};
use super::wait::eventually;

/// Three mongods that elect a primary.
pub struct ReplicaSet {
    members: Vec<Mongod>,
}

impl ReplicaSet {
    /// Starts a new, empty one and waits until it has a primary and every member is in step.
    pub fn start() -> Self {
        let members: Vec<Mongod> = (0..3).map(|_| Mongod::start_uninitiated(Topology::ReplicaSet)).collect();
        let listed: Vec<Document> =
            (0i32..).zip(&members).map(|(id, member)| doc! { "_id": id, "host": member.address() }).collect();
        let settings = doc! { "electionTimeoutMillis": ELECTION_TIMEOUT_MILLIS, "heartbeatIntervalMillis": 500 };
        let config = doc! { "_id": "rs0", "members": listed, "settings": settings };
        members[0].admin(doc! { "replSetInitiate": config }).expect("replSetInitiate");
        let started = Self { members };
        started.wait_until_complete();
        started
    }

    /// The connection string of all members.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.members.iter().map(Mongod::address).collect();
        format!("mongodb://{}/?replicaSet=rs0", hosts.join(","))
    }

    /// The member that takes writes.
    pub fn primary(&mut self) -> &mut Mongod {
        let at = eventually("a replica set has a primary", DEADLINE, || {
            self.members.iter().position(|member| state(member).is_some_and(|hello| is(&hello, "isWritablePrimary")))
        });
        &mut self.members[at]
    }

    /// Kills all members but the primary, which takes writes from then on that it cannot have confirmed. Gives its place.
    pub fn lose_majority(&mut self) -> usize {
        let primary = self.primary().address();
        for member in self.members.iter_mut().filter(|member| member.address() != primary) {
            member.kill();
        }
        self.members.iter().position(|member| member.address() == primary).expect("the primary is a member")
    }

    /// Kills the member at a place, and starts all others: they have nothing of what it alone had.
    pub fn go_on_without(&mut self, lost: usize) {
        self.members[lost].kill();
        let others = self.members.iter_mut().enumerate().filter(|(place, _)| *place != lost);
        others.for_each(|(_, member)| member.relaunch());
    }

    /// Starts every member anew that was killed, and waits until all are in step: only then may another be lost.
    pub fn mend(&mut self) {
        for member in &mut self.members {
            if member.child.exit(Duration::ZERO).is_some() {
                member.relaunch();
            }
        }
        self.wait_until_complete();
    }

    /// Waits until there is one primary and all others follow it.
    fn wait_until_complete(&self) {
        eventually("a replica set is complete", DEADLINE, || {
            let states: Vec<_> = self.members.iter().filter_map(state).collect();
            let primaries = states.iter().filter(|hello| is(hello, "isWritablePrimary")).count();
            let secondaries = states.iter().filter(|hello| is(hello, "secondary")).count();
            (primaries == 1 && primaries + secondaries == self.members.len()).then_some(())
        });
    }
}

/// What a member says of itself; None if it does not answer.
fn state(member: &Mongod) -> Option<Document> {
    member.admin(doc! { "hello": 1 }).ok()
}

fn is(hello: &Document, role: &str) -> bool {
    hello.get_bool(role).unwrap_or(false)
}

/// After how long without a primary the others elect one. MongoDB's default is 10 s; a shorter one makes for
/// shorter rounds, and changes nothing else.
pub const ELECTION_TIMEOUT_MILLIS: i32 = 2000;

/// How long an election or a member's return may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
