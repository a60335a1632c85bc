//! The contract of [`Store`](viveka_sync::store::Store), on every engine: one suite, one line for each engine.

mod cases;
mod subject;

use cases::*;
use subject::Subject;

/// Makes a test of every case for every engine.
macro_rules! contract_suite {
    ($($engine:ident),*; $cases:tt) => {
        $(contract_suite!(@engine $engine $cases);)*
    };
    (@engine $engine:ident [$($case:ident),* $(,)?]) => {
        mod $engine {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    super::$case(Subject::$engine().await).await;
                }
            )*
        }
    };
}

contract_suite! {
    embedded, replica_set, sole_writer, lone_mongod;
    [
        a_reject_writes_nothing,
        all_of_a_plan_is_written,
        a_plan_that_cannot_be_written_leaves_nothing,
        a_snapshot_sees_the_previous_commit,
        what_is_shown_after_a_batch_is_what_is_there,
        other_clients_are_invisible,
        a_batch_waits_for_the_one_before_it,
        concurrent_batches_of_one_client_lose_nothing,
        concurrent_batches_of_many_clients_lose_nothing,
        a_replay_writes_nothing_and_tells_the_same,
        a_key_cannot_be_reused,
        a_rejected_batch_leaves_its_key_free,
        concurrent_batches_under_one_key_commit_once,
        reopening_keeps_the_data,
        the_dataset_is_in_id_order,
        the_dataset_is_consistent_under_concurrent_writes,
        the_store_says_what_it_is,
        a_session_stands_by_its_own_record_and_its_clients,
    ]
}
