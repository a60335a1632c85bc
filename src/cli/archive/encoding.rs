//! How the records of a file are written one after another.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use bson::RawDocumentBuf;
use bson::raw::RawDocument;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::extjson;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// BSON, as mongodump writes it and bsondump reads it
    Bson,
    /// JSON lines: one record a line, in canonical Extended JSON
    Jsonl,
}

impl Encoding {
    /// Larger than any document that a database takes, in bytes; in JSON it may be some times as large.
    const LARGEST: u64 = 48 << 20;

    /// How the names of files end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Bson => "bson",
            Self::Jsonl => "jsonl",
        }
    }

    /// A record as it is written. Whatever would not come back as the same bytes is refused.
    pub fn encode(self, record: &RawDocument) -> Result<Cow<'_, [u8]>, String> {
        match self {
            Self::Bson => Ok(Cow::Borrowed(record.as_bytes())),
            Self::Jsonl => {
                let mut line = extjson::write(record).map_err(|e| format!("cannot be read: {e}"))?;
                if extjson::read(&line).ok().as_ref().map(|read| read.as_bytes()) != Some(record.as_bytes()) {
                    return Err("does not survive as JSON; use --encoding bson".to_owned());
                }
                line.push('\n');
                Ok(Cow::Owned(line.into_bytes()))
            }
        }
    }

    /// Reads the next record, if there is one.
    pub fn read(self, input: &mut impl BufRead) -> io::Result<Option<RawDocumentBuf>> {
        if input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let record = match self {
            Self::Bson => {
                let mut length = [0; 4];
                input.read_exact(&mut length)?;
                let rest = u64::from(u32::from_le_bytes(length)).saturating_sub(4);
                let mut bytes = length.to_vec();
                if rest > Self::LARGEST || input.take(rest).read_to_end(&mut bytes)? as u64 != rest {
                    return Err(io::Error::other("a record is cut off, or is none"));
                }
                RawDocumentBuf::from_bytes(bytes).map_err(io::Error::other)?
            }
            Self::Jsonl => {
                let mut line = String::new();
                input.take(4 * Self::LARGEST).read_line(&mut line)?;
                extjson::read(&line).map_err(io::Error::other)?
            }
        };
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn records_come_back_one_after_another() {
        let records = [rawdoc! { "_id": 1, "name": "Tea" }, rawdoc! {}, rawdoc! { "_id": { "a": [1_i64, 2.5] } }];
        for encoding in [Encoding::Bson, Encoding::Jsonl] {
            let mut bytes = Vec::new();
            records.iter().for_each(|record| bytes.extend_from_slice(&encoding.encode(record).unwrap()));
            let mut input = &bytes[..];
            for record in &records {
                assert_eq!(encoding.read(&mut input).unwrap().as_ref(), Some(record));
            }
            assert_eq!(encoding.read(&mut input).unwrap(), None);
            let mut cut = &bytes[..bytes.len() - 2];
            let read = std::iter::from_fn(|| encoding.read(&mut cut).transpose());
            assert!(read.collect::<Result<Vec<_>, _>>().is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let mut twice = rawdoc! { "a": 1 };
        twice.append(bson::cstr!("a"), 2);
        let mut looks_like_an_id = rawdoc! {};
        looks_like_an_id.append(bson::cstr!("x"), rawdoc! { "$oid": "64b000000000000000000001" });
        for record in [twice, looks_like_an_id] {
            assert!(Encoding::Jsonl.encode(&record).is_err());
            assert!(Encoding::Bson.encode(&record).is_ok());
        }
    }
}
