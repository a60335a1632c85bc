//! A walk over the bytes of a BSON document, every step within bounds.
//!
//! A record is read once, from front to back, and nothing is copied or checked that is not asked for:
//! texts and names stay bytes until somebody writes them.

/// Why stored bytes are not a record. It never tells what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length or an end that does not fit the bytes.
    #[error("a stored record is cut off or has a wrong length")]
    Length,
    /// A type that BSON does not have.
    #[error("a stored record has a value of an unknown type")]
    Type,
    /// A boolean that is neither 0 nor 1.
    #[error("a stored record has a boolean that is neither true nor false")]
    Boolean,
    /// A text or a name that is not UTF-8.
    #[error("a stored record has a text that is not UTF-8")]
    Utf8,
    /// Documents and arrays within each other, deeper than MongoDB itself allows.
    #[error("a stored record is nested too deeply")]
    Depth,
}

/// A stored value, cut out and not yet looked into.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Double(f64),
    /// Not known to be UTF-8.
    Text(&'a [u8]),
    Document(Elements<'a>),
    Array(Elements<'a>),
    ObjectId(&'a [u8; 12]),
    Boolean(bool),
    /// Milliseconds since 1970.
    DateTime(i64),
    Null,
    Undefined,
    Int32(i32),
    Int64(i64),
    Decimal128([u8; 16]),
    /// JavaScript, without its scope; not known to be UTF-8.
    Code(&'a [u8]),
    /// The types that the books do not use: BSON's number for the type, and the value's bytes.
    Rare(u8, &'a [u8]),
}

/// The elements of a document or an array that have not been read yet.
#[derive(Clone, Copy)]
pub(super) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// All elements of a document that takes exactly these bytes.
    pub(super) fn of(document: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = document;
        let elements = Self::cut(&mut rest)?;
        if rest.is_empty() { Ok(elements) } else { Err(Malformed::Length) }
    }

    /// The value of the first element of this name among those not read yet.
    pub(super) fn find(mut self, name: &[u8]) -> Result<Option<Value<'a>>, Malformed> {
        while let Some((found, value)) = self.next()? {
            if found == name {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The next element, its name not known to be UTF-8; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(&'a [u8], Value<'a>)>, Malformed> {
        let Some((&kind, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let name = take_name(&mut self.rest)?;
        let value = take_value(kind, &mut self.rest)?;
        Ok(Some((name, value)))
    }

    /// Cuts a document off the front.
    fn cut(rest: &mut &'a [u8]) -> Result<Self, Malformed> {
        const LENGTH: usize = 4;
        let length = rest.first_chunk().map(|bytes| i32::from_le_bytes(*bytes)).ok_or(Malformed::Length)?;
        let document = take(length, rest)?;
        match document.get(LENGTH..).and_then(<[u8]>::split_last) {
            Some((0, rest)) => Ok(Self { rest }),
            _ => Err(Malformed::Length),
        }
    }
}

#[inline]
fn take_value<'a>(kind: u8, rest: &mut &'a [u8]) -> Result<Value<'a>, Malformed> {
    Ok(match kind {
        0x01 => Value::Double(f64::from_le_bytes(*take_array(rest)?)),
        0x02 => Value::Text(take_text(rest)?),
        0x03 => Value::Document(Elements::cut(rest)?),
        0x04 => Value::Array(Elements::cut(rest)?),
        0x06 => Value::Undefined,
        0x07 => Value::ObjectId(take_array(rest)?),
        0x08 => match take_array(rest)? {
            [0] => Value::Boolean(false),
            [1] => Value::Boolean(true),
            _ => return Err(Malformed::Boolean),
        },
        0x09 => Value::DateTime(i64::from_le_bytes(*take_array(rest)?)),
        0x0a => Value::Null,
        0x10 => Value::Int32(i32::from_le_bytes(*take_array(rest)?)),
        0x12 => Value::Int64(i64::from_le_bytes(*take_array(rest)?)),
        0x13 => Value::Decimal128(*take_array(rest)?),
        0x0d => Value::Code(take_text(rest)?),
        0x0f => Value::Code(take_scoped_code(rest)?),
        _ => Value::Rare(kind, take_rare(kind, rest)?),
    })
}

#[cold]
fn take_rare<'a>(kind: u8, rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let whole = *rest;
    match kind {
        0x05 => {
            const SUBTYPE: i32 = 1;
            let length = i32::from_le_bytes(*take_array(rest)?);
            take(length.checked_add(SUBTYPE).ok_or(Malformed::Length)?, rest)?;
        }
        0x0b => {
            let _pattern = take_name(rest)?;
            let _options = take_name(rest)?;
        }
        0x0c => {
            let _namespace = take_text(rest)?;
            let _id: &[u8; 12] = take_array(rest)?;
        }
        0x0e => {
            let _symbol = take_text(rest)?;
        }
        0x11 => {
            let _timestamp: &[u8; 8] = take_array(rest)?;
        }
        0x7f | 0xff => {}
        _ => return Err(Malformed::Type),
    }
    Ok(&whole[..whole.len() - rest.len()])
}

#[cold]
fn take_scoped_code<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = rest.first_chunk().map(|bytes| i32::from_le_bytes(*bytes)).ok_or(Malformed::Length)?;
    let mut within = take(length, rest)?;
    let _length: &[u8; 4] = take_array(&mut within)?;
    take_text(&mut within)
}

/// A length, that many bytes, and the 0 that they end with and that is not part of the text.
#[inline]
fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = i32::from_le_bytes(*take_array(rest)?);
    match take(length, rest)?.split_last() {
        Some((0, text)) => Ok(text),
        _ => Err(Malformed::Length),
    }
}

/// Bytes up to a 0.
#[inline]
fn take_name<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let (words, _) = rest.as_chunks();
    let length = match words.iter().map(|word| zero_within(*word)).enumerate().find(|(_, at)| *at < WORD) {
        Some((word, at)) => word * WORD + at,
        None => rest.iter().position(|&byte| byte == 0).ok_or(Malformed::Length)?,
    };
    let (name, after) = rest.split_at(length);
    *rest = &after[1..];
    Ok(name)
}

const WORD: usize = 8;

/// Where the first 0 stands in a word; [`WORD`] if there is none.
#[inline]
fn zero_within(word: [u8; WORD]) -> usize {
    const LOW: u64 = u64::from_ne_bytes([0x01; WORD]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; WORD]);
    // Subtracting 1 from every byte makes a byte's highest bit out of a 0. A borrow may do so in a byte
    // above a 0, never below the first one.
    let word = u64::from_le_bytes(word);
    let zeros = word.wrapping_sub(LOW) & !word & HIGH;
    zeros.trailing_zeros() as usize / 8
}

#[inline]
fn take<'a>(length: i32, rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed::Length)?;
    let (taken, after) = rest.split_at_checked(length).ok_or(Malformed::Length)?;
    *rest = after;
    Ok(taken)
}

#[inline]
fn take_array<'a, const LENGTH: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; LENGTH], Malformed> {
    let (taken, after) = rest.split_first_chunk().ok_or(Malformed::Length)?;
    *rest = after;
    Ok(taken)
}
