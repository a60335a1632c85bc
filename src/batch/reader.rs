//! Reads the fields of one JSON object, and says all that is wrong with them.
//!
//! A reader looks at types only; the bounds stand as `validator` attributes on the wire structs, and
//! [`Report::bounds`] puts both into the same words. Absent and null are the same everywhere but where
//! a field says otherwise.

use std::rc::Rc;

use bson::oid::ObjectId;
use serde_json::{Map, Value};
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use super::invalid::{Problem, ProblemCode, Problems};
use super::names::{Alias, MOST_ALIAS_CHARACTERS, Names, Target, reference_text};
use super::warning::{WarningKind, Warnings};
use crate::model::{Amount, LocalId, Timestamp};

/// The longest list of ids that any field may have.
pub(super) const MOST_IDS: usize = 1000;

/// What was found while reading a batch.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// As many as are told.
    pub problems: Vec<Problem>,
    pub warnings: Warnings,
    found: usize,
}

/// Which create it is, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its index in its list of the request.
    pub index: usize,
    /// The names by which the answer's `idMap` shows it: its alias and its local id, less those that
    /// other creates of the batch share.
    pub names: Vec<Alias>,
    /// What the phone calls it for ever.
    pub local_id: Option<LocalId>,
}

/// Where a reader stands: the JSON pointer for programs and the subject for people. Both are put into words
/// only if there is something to say, which of most elements there is not.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: Rc<str>,
    subject: Rc<str>,
    /// Which element of the list that `path` and `subject` are of.
    index: Option<usize>,
}

/// An element of a list.
#[derive(Debug, Clone)]
pub(super) struct Element<'a> {
    pub index: usize,
    pub value: &'a Value,
    pub place: Place,
}

/// The fields of one JSON object.
pub(super) struct Reader<'a> {
    place: Place,
    fields: &'a Map<String, Value>,
    /// Few enough that looking through them is faster than any set.
    read: Vec<&'static str>,
}

impl Report {
    /// How many problems were found so far, those included that are too many to be told.
    pub fn found(&self) -> usize {
        self.found
    }

    /// Notes a problem with the value at `path`; of too many it is only counted.
    pub fn problem(&mut self, path: String, code: ProblemCode, message: String) {
        self.found += 1;
        if self.problems.len() < Problems::MOST {
            self.problems.push(Problem { path, code, message });
        }
    }

    /// Notes that a field is missing, in the words `{subject} {what}`.
    pub fn missing(&mut self, place: &Place, field: &str, what: &str) {
        self.problem(place.member(field), ProblemCode::Missing, format!("{} {what}", place.subject()));
    }

    /// Checks the bounds of a wire struct, whose field names are those of the wire in snake case.
    pub fn bounds(&mut self, place: &Place, wire: &impl Validate) {
        let Err(ValidationErrors(fields)) = wire.validate() else { return };
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        for (field, kind) in fields {
            let ValidationErrorsKind::Field(errors) = kind else { continue };
            for error in errors {
                let code = if error.code == "length" { ProblemCode::InvalidLength } else { ProblemCode::OutOfRange };
                // Only our own text is told: `validator` also carries the rejected value.
                let rule = error.message.unwrap_or_default();
                let field = camel_case(&field);
                let message = match rule.strip_prefix('!') {
                    Some(fixed) => fixed.to_owned(),
                    None => format!("{} must have {field} {rule}", place.subject()),
                };
                self.problem(place.member(&field), code, message);
            }
        }
    }
}

impl Place {
    pub fn new(path: &str, subject: &str) -> Self {
        Self { path: path.into(), subject: subject.into(), index: None }
    }

    pub fn path(&self) -> String {
        match self.index {
            Some(index) => format!("{}/{index}", self.path),
            None => self.path.as_ref().to_owned(),
        }
    }

    pub fn subject(&self) -> String {
        match self.index {
            Some(index) => format!("{} at index {index}", self.subject),
            None => self.subject.as_ref().to_owned(),
        }
    }

    /// The path of a place below this one.
    pub fn member(&self, name: &str) -> String {
        // RFC 6901, section 3: `~` and `/` are escaped.
        format!("{}/{}", self.path(), name.replace('~', "~0").replace('/', "~1"))
    }

    fn element(&self, index: usize) -> Self {
        Self { index: Some(index), ..self.clone() }
    }
}

impl<'a> Element<'a> {
    /// Opens an element that must be an object, and gives its index too.
    pub fn open(self, report: &mut Report) -> Option<(usize, Reader<'a>)> {
        Some((self.index, Reader::open(self.value, self.place, report)?))
    }
}

impl<'a> Reader<'a> {
    /// Opens an object; anything else is a problem. (A derived `Deserialize` would take a list by position.)
    pub fn open(value: &'a Value, place: Place, report: &mut Report) -> Option<Self> {
        let Some(fields) = value.as_object() else {
            report.problem(place.path(), ProblemCode::WrongType, format!("{} must be an object", place.subject()));
            return None;
        };
        Some(Self { place, fields, read: Vec::with_capacity(16) })
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A field's value; absent and null are `None`.
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.read.push(name);
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// Whether a field is there and null.
    pub fn is_null(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(Value::is_null)
    }

    /// A text, trimmed.
    pub fn text(&mut self, name: &'static str, report: &mut Report) -> Option<String> {
        let value = self.value(name)?;
        value.as_str().map(|text| text.trim().to_owned()).or_else(|| self.wrong(name, "a string", report))
    }

    /// A text of which blank is as good as none.
    pub fn nonblank_text(&mut self, name: &'static str, report: &mut Report) -> Option<String> {
        self.text(name, report).filter(|text| !text.is_empty())
    }

    /// An amount, rounded to 4 places.
    pub fn amount(&mut self, name: &'static str, report: &mut Report) -> Option<Amount> {
        let value = self.value(name)?;
        let Value::Number(number) = value else { return self.wrong(name, "a number", report) };
        match Amount::from_json(number) {
            Ok(amount) => Some(amount),
            Err(out_of_range) => {
                let message = format!("{} must have {name} {out_of_range}", self.place.subject());
                report.problem(self.place.member(name), ProblemCode::OutOfRange, message);
                None
            }
        }
    }

    pub fn flag(&mut self, name: &'static str, report: &mut Report) -> Option<bool> {
        let value = self.value(name)?;
        value.as_bool().or_else(|| self.wrong(name, "true or false", report))
    }

    /// A day or a point in time.
    pub fn time(&mut self, name: &'static str, report: &mut Report) -> Option<Timestamp> {
        let text = self.text(name, report)?;
        let at = Timestamp::parse(&text);
        if at.is_none() {
            let message = format!("{} must have {name} as YYYY-MM-DD or RFC 3339", self.place.subject());
            report.problem(self.place.member(name), ProblemCode::InvalidDate, message);
        }
        at
    }

    /// The id of a record that other services make.
    pub fn id<Id: From<ObjectId>>(&mut self, name: &'static str, report: &mut Report) -> Option<Id> {
        let value = self.value(name)?;
        parse_id(value).or_else(|| self.no_id(self.place.member(name), name, report))
    }

    /// A list of such ids.
    pub fn ids<Id: From<ObjectId>>(&mut self, name: &'static str, report: &mut Report) -> Option<Vec<Id>> {
        let value = self.value(name)?;
        let Some(values) = value.as_array() else { return self.wrong(name, "a list", report) };
        let id = |(index, value)| {
            parse_id(value).or_else(|| self.no_id(format!("{}/{index}", self.place.member(name)), name, report))
        };
        // One too many is enough to refuse the list; to read all of them could take a hundred times their text.
        Some(values.iter().take(MOST_IDS + 1).enumerate().filter_map(id).collect())
    }

    /// A reference to a record of this batch or of the store; blank is as good as none.
    pub fn reference<Id: From<ObjectId>>(
        &mut self,
        name: &'static str,
        names: &Names,
        report: &mut Report,
    ) -> Option<Target<Id>> {
        let value = self.value(name)?;
        let Some(text) = reference_text(value) else { return self.wrong(name, "a string or a whole number", report) };
        if text.is_empty() {
            return None;
        }
        resolve(text, names, &self.place, Some(name), report)
    }

    /// What the create at `index` calls its record. An `_id` that is neither a string nor a whole number is
    /// just stripped.
    pub fn identity(&mut self, index: usize, names: &Names, report: &mut Report) -> Identity {
        let alias = self.value("_id").and_then(reference_text).filter(|text| !text.is_empty());
        if alias.as_ref().is_some_and(|alias| alias.chars().count() > MOST_ALIAS_CHARACTERS) {
            let message =
                format!("{} must have an _id of at most {MOST_ALIAS_CHARACTERS} characters", self.place.subject());
            report.problem(self.place.member("_id"), ProblemCode::InvalidLength, message);
        }
        let local_id = self.local_id(report);
        let mut called: Vec<Alias> = alias.into_iter().chain(local_id.as_ref().map(LocalId::to_string)).collect();
        called.dedup();
        called.retain(|name| names.is_unique(name));
        Identity { index, names: called, local_id }
    }

    fn local_id(&mut self, report: &mut Report) -> Option<LocalId> {
        let text = self.text("localId", report)?;
        let local_id = LocalId::new(&text);
        if local_id.is_none() {
            let message = format!(
                "{} must have localId of 1 to {} visible ASCII characters",
                self.place.subject(),
                LocalId::MOST_CHARACTERS
            );
            report.problem(self.place.member("localId"), ProblemCode::InvalidLocalId, message);
        }
        local_id
    }

    /// The elements of a list, each with its place `{path}/{name}/{index}`.
    pub fn list(&mut self, name: &'static str, subject: &str, report: &mut Report) -> Vec<Element<'a>> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let Some(values) = value.as_array() else {
            self.wrong::<()>(name, "a list", report);
            return Vec::new();
        };
        let list = Place::new(&self.place.member(name), subject);
        values.iter().enumerate().map(|(index, value)| Element { index, value, place: list.element(index) }).collect()
    }

    /// Warns of every field that was not read, less those of a normalised record that phones echo back.
    pub fn warn_of_unknown(self, echoed: &[&str], report: &mut Report) {
        for name in self.fields.keys() {
            if !self.read.contains(&name.as_str()) && !echoed.contains(&name.as_str()) {
                let field: String = name.chars().take(200).collect();
                report.warnings.push(self.place.member(&field), WarningKind::UnknownField { field });
            }
        }
    }

    fn wrong<T>(&self, name: &str, expected: &str, report: &mut Report) -> Option<T> {
        let message = format!("{} must have {name} as {expected}", self.place.subject());
        report.problem(self.place.member(name), ProblemCode::WrongType, message);
        None
    }

    fn no_id<T>(&self, path: String, name: &str, report: &mut Report) -> Option<T> {
        let message = format!("{} must have {name} of 24 hex digits", self.place.subject());
        report.problem(path, ProblemCode::InvalidId, message);
        None
    }
}

/// Finds out what a reference names, be it the place itself or a member of it; an ambiguous one is a problem.
pub(super) fn resolve<Id: From<ObjectId>>(
    text: String,
    names: &Names,
    place: &Place,
    member: Option<&str>,
    report: &mut Report,
) -> Option<Target<Id>> {
    let target = names.resolve(&text);
    if target.is_none() {
        let alias: String = text.chars().take(MOST_ALIAS_CHARACTERS).collect();
        let message = format!("{} refers to {alias}, which several creates of this batch are called", place.subject());
        let path = member.map_or_else(|| place.path(), |member| place.member(member));
        report.problem(path, ProblemCode::AmbiguousReference, message);
    }
    target
}

fn parse_id<Id: From<ObjectId>>(value: &Value) -> Option<Id> {
    ObjectId::parse_str(value.as_str()?.trim()).ok().map(Id::from)
}

fn camel_case(snake: &str) -> String {
    let mut words = snake.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_uppercase() + tail
    })
}
