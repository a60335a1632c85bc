//! What series are told apart by. Every label has a closed set of values, none of which comes from a request, so that
//! no stranger can add to their number.

/// The labels of a metric.
pub trait Labels: Copy + 'static {
    /// How many values there are.
    const COUNT: usize;
    /// Whether all of them are shown from the start, or each from its first event.
    const FROM_THE_START: bool;

    /// All values, in the order of their indexes.
    fn all() -> Vec<Self>;

    /// The place of this value among all.
    fn index(self) -> usize;

    /// The labels' names with what they are.
    fn pairs(self) -> Vec<(&'static str, &'static str)>;
}

/// No labels: one series.
impl Labels for () {
    const COUNT: usize = 1;
    const FROM_THE_START: bool = true;

    fn all() -> Vec<Self> {
        vec![()]
    }

    fn index(self) -> usize {
        0
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

/// Two labels. Most combinations never happen, so each is shown when it has.
impl<A: Labels, B: Labels> Labels for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;
    const FROM_THE_START: bool = false;

    fn all() -> Vec<Self> {
        A::all().into_iter().flat_map(|a| B::all().into_iter().map(move |b| (a, b))).collect()
    }

    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        [self.0.pairs(), self.1.pairs()].concat()
    }
}

/// Declares a label: its name, and its values with their texts.
macro_rules! labels {
    ($($(#[$about:meta])* $label:ident = $name:literal { $($(#[$doc:meta])* $value:ident = $text:expr,)+ })+) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $label {
            $($(#[$doc])* #[doc = concat!("`", $text, "`")] $value,)+
        }

        impl $label {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The value as it is shown.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }

            /// The value that is shown like this, if there is one.
            pub fn named(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.text() == text)
            }
        }

        impl Labels for $label {
            const COUNT: usize = Self::ALL.len();
            const FROM_THE_START: bool = true;

            fn all() -> Vec<Self> {
                Self::ALL.to_vec()
            }

            fn index(self) -> usize {
                self as usize
            }

            fn pairs(self) -> Vec<(&'static str, &'static str)> {
                vec![($name, self.text())]
            }
        }
    )+};
}

labels! {
    /// Where a request went. What has no route is one value, whatever path it names.
    Route = "route" {
        Sync = "/api/sync",
        ReadyToSync = "/api/readytosync",
        Data = "/api/sync/data",
        Validate = "/api/sync/validate",
        Reconcile = "/api/sync/reconcile",
        Limits = "/api/sync/limits",
        Health = "/api/health",
        Other = "other",
    }

    /// The status of an answer.
    Status = "status" {
        Ok = "200",
        NotModified = "304",
        BadRequest = "400",
        Unauthorized = "401",
        Forbidden = "403",
        NotFound = "404",
        MethodNotAllowed = "405",
        RequestTimeout = "408",
        Conflict = "409",
        PayloadTooLarge = "413",
        UnsupportedMediaType = "415",
        Unprocessable = "422",
        TooManyRequests = "429",
        InternalError = "500",
        Unavailable = "503",
        Other = "other",
    }

    /// The code of an error, as phones read it.
    Code = "code" {
        MalformedJson = "malformed_json",
        InvalidBatch = "invalid_batch",
        KeyInvalid = "idempotency_key_invalid",
        KeyRequired = "idempotency_key_required",
        Unauthorized = "unauthorized",
        SessionExpired = "session_expired",
        AccountInactive = "account_inactive",
        KeysAway = "keys_unavailable",
        ForeignOrigin = "origin_not_allowed",
        RateLimited = "rate_limited",
        SlowBody = "request_timeout",
        ClientMismatch = "client_mismatch",
        NotFound = "not_found",
        MethodNotAllowed = "method_not_allowed",
        InProgress = "sync_in_progress",
        PayloadTooLarge = "payload_too_large",
        TooManyOperations = "too_many_operations",
        UnsupportedEncoding = "unsupported_encoding",
        BatchRejected = "batch_rejected",
        KeyReused = "idempotency_key_reused",
        Overloaded = "overloaded",
        StoreUnavailable = "store_unavailable",
        InternalError = "internal_error",
        Other = "other",
    }

    /// A part of the work on a request.
    Phase = "phase" {
        /// Receiving the body and undoing its compression.
        Read = "read",
        /// Checking its shape.
        Parse = "parse",
        /// Waiting for the client's turn.
        Wait = "wait",
        /// Applying the rules, which is a part of `execute`.
        Plan = "plan",
        /// Loading, planning and committing in the store, its own queue included.
        Execute = "execute",
        /// Reading the dataset, or as much of it as is wanted.
        Dataset = "dataset",
        /// Compressing an answer that is sent as a whole.
        Encode = "encode",
    }

    /// What an operation does.
    OperationKind = "kind" {
        ItemCreate = "item_create",
        ItemUpdate = "item_update",
        ItemDelete = "item_delete",
        InvoiceCreate = "invoice_create",
        PaymentCreate = "payment_create",
    }

    /// How a batch was answered that had been committed before.
    Replay = "how" {
        /// By the finished answer, which was kept.
        Cache = "cache",
        /// By another request with the same batch, which was at work.
        Coalesced = "coalesced",
        /// By the receipt in the store.
        Receipt = "receipt",
    }

    /// Why a transaction did not go through at once.
    Retry = "reason" {
        /// Another transaction had the client's document.
        Conflict = "conflict",
        /// Records were not as the plan had taken them to be.
        Overtaken = "overtaken",
        /// What was to be read did not fit into one command.
        Apart = "apart",
        /// Anything else that passes: an election, a lost connection.
        Transient = "transient",
        /// The commit was asked for again, because nobody said what came of it.
        Commit = "commit",
    }

    /// Where requests wait.
    Queue = "queue" {
        /// For their client's turn to execute a batch.
        Execute = "execute",
        /// .. to read its dataset.
        Answer = "answer",
        /// .. to keep a core busy.
        Compute = "compute",
        /// In the store: for the embedded writer until it has committed, or for their turn at MongoDB.
        Store = "store",
    }

    /// What is kept in memory.
    CacheName = "cache" {
        /// Datasets that commits bring up to date.
        Dataset = "dataset",
        /// Finished answers for retries.
        Replay = "replay",
    }

    /// What came of looking into a cache.
    Lookup = "result" {
        Hit = "hit",
        Miss = "miss",
    }

    /// The version of this program.
    Version = "version" {
        This = env!("CARGO_PKG_VERSION"),
    }

    /// Where the books are kept.
    Engine = "engine" {
        Embedded = "embedded",
        MongoDb = "mongodb",
    }
}

impl Route {
    /// The route of a path.
    pub fn of(path: &str) -> Self {
        Self::named(path).unwrap_or(Self::Other)
    }
}

impl Status {
    /// The value of a status code.
    pub fn of(code: u16) -> Self {
        Self::named(itoa::Buffer::new().format(code)).unwrap_or(Self::Other)
    }
}

impl Code {
    /// The value of an error's code.
    pub fn of(code: &str) -> Self {
        Self::named(code).unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_place_of_its_own() {
        fn check<L: Labels>() {
            let places: Vec<usize> = L::all().into_iter().map(Labels::index).collect();
            assert_eq!(places, (0..L::COUNT).collect::<Vec<_>>());
        }
        check::<()>();
        check::<Route>();
        check::<(Route, Status)>();
    }

    #[test]
    fn what_is_not_known_is_other() {
        assert_eq!(Route::of("/api/sync"), Route::Sync);
        assert_eq!(Route::of("/api/sync/"), Route::Other);
        assert_eq!((Status::of(422), Status::of(418)), (Status::Unprocessable, Status::Other));
        assert_eq!((Code::of("unauthorized"), Code::of("")), (Code::Unauthorized, Code::Other));
    }
}
