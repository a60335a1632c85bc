//! The wire shape of a question about what was committed.

use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::invalid::{Invalid, ProblemCode, Problems};
use super::reader::{Reader, Report};
use super::schema::{Fields, Values};
use super::{read_body, root, stated_client};
use crate::model::{ClientId, IdempotencyKey, LocalId};

/// Keys and local ids of which a phone wants to know whether they are in the books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inquiry {
    /// Of batches.
    pub keys: Vec<IdempotencyKey>,
    /// Of records.
    pub local_ids: Vec<LocalId>,
}

impl Inquiry {
    /// The most keys and local ids together.
    pub const MOST: usize = 1000;

    /// Reads a request body. No body at all asks nothing.
    ///
    /// # Errors
    /// [`Invalid`], with all problems of shape at once.
    pub fn parse(body: &[u8], client: &ClientId, max_operations: usize) -> Result<Self, Invalid> {
        let body = read_body(body, client, max_operations)?;
        let mut report = Report::default();
        let mut inquiry = Self::default();
        if let Some(mut reader) = Reader::open(&body, root("The request"), &mut report) {
            inquiry.keys =
                names(&mut reader, "keys", IdempotencyKey::MOST_CHARACTERS, IdempotencyKey::new, &mut report);
            inquiry.local_ids = names(&mut reader, "localIds", LocalId::MOST_CHARACTERS, LocalId::new, &mut report);
        }
        if inquiry.keys.len() + inquiry.local_ids.len() > Self::MOST {
            let message = format!("The request must have at most {} keys and localIds", Self::MOST);
            report.problem(String::new(), ProblemCode::InvalidLength, message);
        }
        Problems::of(report.problems).map_or(Ok(inquiry), |problems| Err(Invalid::Shape(problems)))
    }
}

impl Inquiry {
    /// The same question in parts of so many keys; the first one has all local ids.
    pub fn parts(self, keys: usize) -> impl Iterator<Item = Self> {
        let mut parts: Vec<Self> =
            self.keys.chunks(keys).map(|keys| Self { keys: keys.to_vec(), local_ids: Vec::new() }).collect();
        match parts.first_mut() {
            Some(first) => first.local_ids = self.local_ids,
            None => parts.push(self),
        }
        parts.into_iter()
    }
}

/// The shape on the wire.
impl PartialSchema for Inquiry {
    fn schema() -> RefOr<Schema> {
        let key = Values::visible(IdempotencyKey::MOST_CHARACTERS, "The key of a batch.");
        let local_id = Values::visible(LocalId::MOST_CHARACTERS, "The `localId` of a record.");
        let together = format!("At most {} keys and local ids together.", Self::MOST);
        Fields::of(&format!("What to look up. {together}"))
            .optional("keys", Values::list(key, &format!("Idempotency keys. {together}")).with_items(0..=Self::MOST))
            .optional("localIds", Values::list(local_id, &format!("Local ids. {together}")).with_items(0..=Self::MOST))
            .optional("clientId", stated_client())
            .schema()
    }
}

impl ToSchema for Inquiry {}

fn names<T>(
    reader: &mut Reader<'_>,
    name: &'static str,
    longest: usize,
    parse: impl Fn(&str) -> Option<T>,
    report: &mut Report,
) -> Vec<T> {
    let mut names = Vec::new();
    for element in reader.list(name, &format!("The element of {name}"), report) {
        match element.value.as_str().and_then(|text| parse(text.trim())) {
            Some(name) => names.push(name),
            None => {
                let message = format!("{} must be 1 to {longest} visible ASCII characters", element.place.subject());
                let code = if element.value.is_string() { ProblemCode::InvalidLength } else { ProblemCode::WrongType };
                report.problem(element.place.path(), code, message);
            }
        }
    }
    names
}
