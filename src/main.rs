//! The `viveka-sync` program.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::error::ErrorKind;
use tokio::runtime::Builder;
use viveka_sync::cli::{Cli, Exit, refusal};

/// The system's allocator keeps what large requests have freed: each thread its own, for ever. This one
/// gives it back, so that the memory budget bounds the process too. It is built not to ask for huge pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    small_pages_only();
    let exit = match Cli::read() {
        Ok(cli) => run(cli),
        Err(error) => tell(error),
    };
    exit.into()
}

/// Runs a command on the main runtime. A server has a thread for HTTP on each core beside it, and threads for what takes
/// long: more here would only wake each other, and each keeps memory of its own.
fn run(cli: Cli) -> Exit {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let runtime = Builder::new_multi_thread().worker_threads(cores.div_ceil(2)).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads can be started: {error}");
            return Exit::NotDone;
        }
    };
    runtime.block_on(cli.run()).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        error.exit()
    })
}

/// Keeps the kernel from making huge pages of this process' memory where it does so unasked: each piece of
/// memory that is touched for the first time would take 2 MB, and the time to clear them.
fn small_pages_only() {
    #[cfg(target_os = "linux")]
    // An old kernel cannot, and it works as well then.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// A wrong setting is told in one line; help and version print as they are.
fn tell(error: clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nothing can be done about a closed standard output.
            let _ = error.print();
            Exit::Good
        }
        _ => {
            eprintln!("{}", refusal(error));
            Exit::NotDone
        }
    }
}
