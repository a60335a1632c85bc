//! Ctrl-C and SIGTERM, for a command that has something to tell when it is broken off.

use std::io;

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether the command is to end: what is under way is finished after a first signal, and given up after a second.
#[derive(Debug, Clone, Default)]
pub(super) struct Interruption {
    once: CancellationToken,
    twice: CancellationToken,
}

impl Interruption {
    /// From now on, signals do not end the process: this tells of them.
    ///
    /// # Errors
    /// The system's, if it does not tell of signals.
    pub fn listen() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let heard = Self::default();
        Handle::current().spawn(heard.clone().hear(terminate, interrupt));
        Ok(heard)
    }

    /// Whether there was a signal.
    pub fn is_asked(&self) -> bool {
        self.once.is_cancelled()
    }

    /// Until there is a signal.
    pub async fn asked(&self) {
        self.once.cancelled().await;
    }

    /// Until there is a second one.
    pub async fn insisted(&self) {
        self.twice.cancelled().await;
    }

    async fn hear(self, mut terminate: Signal, mut interrupt: Signal) {
        for token in [self.once, self.twice] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    }
}
