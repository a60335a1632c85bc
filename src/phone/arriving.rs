//! An answer that is taken in piece by piece, for whoever wants only a part of a large one.

use bytes::Bytes;
use reqwest::Response;

use super::{Answer, SendError, Server};

/// An answer whose body is on its way. Dropped before its end, it takes its connection along.
#[derive(Debug)]
pub struct Arriving {
    head: Answer,
    response: Response,
    server: Server,
}

impl Arriving {
    pub(super) fn new(response: Response, server: Server) -> Self {
        Self { head: Answer::head(&response), response, server }
    }

    /// The answer, its body still empty.
    pub fn head(&self) -> &Answer {
        &self.head
    }

    /// The next piece of the body; `None` at its end, and only there is it an answer.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn piece(&mut self) -> Result<Option<Bytes>, SendError> {
        self.response.chunk().await.map_err(|error| self.server.why(error))
    }
}
