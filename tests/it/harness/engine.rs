//! The engines that every behaviour is tested on.

use std::sync::OnceLock;

use super::mongod::Topology;
use super::server::{Server, Setup};

/// Where a server keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// In a file of its own.
    Embedded,
    /// In a MongoDB that has transactions.
    ReplicaSet,
    /// In a MongoDB that has transactions, where no other program writes what the servers write.
    SoleWriter,
    /// In a MongoDB that has none.
    LoneMongod,
}

impl Engine {
    /// The server on this engine that the tests of this process share; each takes a client of its own.
    pub fn server(self) -> &'static Server {
        static EMBEDDED: OnceLock<Server> = OnceLock::new();
        static REPLICA_SET: OnceLock<Server> = OnceLock::new();
        static SOLE_WRITER: OnceLock<Server> = OnceLock::new();
        static LONE_MONGOD: OnceLock<Server> = OnceLock::new();
        let shared = match self {
            Self::Embedded => &EMBEDDED,
            Self::ReplicaSet => &REPLICA_SET,
            Self::SoleWriter => &SOLE_WRITER,
            Self::LoneMongod => &LONE_MONGOD,
        };
        // So many tests at once may send what one server would shed.
        shared.get_or_init(|| Server::start(&Setup::on(self).env("MEMORY_BUDGET_BYTES", (4_u64 << 30).to_string())))
    }

    /// The engine, for tests that start servers of their own on it.
    pub fn itself(self) -> Self {
        self
    }

    /// The kind of MongoDB below it, if any.
    pub fn topology(self) -> Option<Topology> {
        match self {
            Self::Embedded => None,
            Self::ReplicaSet | Self::SoleWriter => Some(Topology::ReplicaSet),
            Self::LoneMongod => Some(Topology::Lone),
        }
    }
}

/// Makes one test per engine of each function: `embedded::NAME`, `replica_set::NAME`, `sole_writer::NAME` and
/// `lone_mongod::NAME`.
///
/// Use it once per module, for all functions of that module. They take the engine's shared server, or the engine to
/// start their own on:
/// `on_every_engine! { fn sells_one_item(server: &Server) { .. } fn .. }`
/// `on_every_engine! { fn outlives_a_restart(engine: Engine) { .. } fn .. }`
macro_rules! on_every_engine {
    ($($(#[$about:meta])* fn $test:ident($server:ident: &Server) $body:block)+) => {
        $($(#[$about])* fn $test($server: &$crate::harness::Server) $body)+
        $crate::harness::on_every_engine!(@modules (server) $($test)+);
    };
    ($($(#[$about:meta])* fn $test:ident($engine:ident: Engine) $body:block)+) => {
        $($(#[$about])* fn $test($engine: $crate::harness::Engine) $body)+
        $crate::harness::on_every_engine!(@modules (itself) $($test)+);
    };
    // The inner steps: the modules, whose tests call the functions beside them.
    (@modules $argument:tt $($test:ident)+) => {
        $crate::harness::on_every_engine!(@module embedded Embedded $argument $($test)+);
        $crate::harness::on_every_engine!(@module replica_set ReplicaSet $argument $($test)+);
        $crate::harness::on_every_engine!(@module sole_writer SoleWriter $argument $($test)+);
        $crate::harness::on_every_engine!(@module lone_mongod LoneMongod $argument $($test)+);
    };
    (@module $module:ident $engine:ident ($argument:ident) $($test:ident)+) => {
        mod $module {
            $(#[test]
            fn $test() {
                super::$test($crate::harness::Engine::$engine.$argument());
            })+
        }
    };
}
pub(crate) use on_every_engine;
