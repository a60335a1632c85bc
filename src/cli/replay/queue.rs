//! The queue: all captures of files and folders, in the order in which they are sent.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::capture::{Capture, CaptureError, Place};

/// Why a queue cannot be read, in one line.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A file or folder cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// A file is not JSON.
    #[error("{file}:{line} (entry {entry}): {text}")]
    Json { file: PathBuf, line: usize, entry: usize, text: String },
    /// An entry is no capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A folder has no files to read.
    #[error("{0} holds no .json, .jsonl or .ndjson file")]
    EmptyFolder(PathBuf),
    /// There is nothing to send.
    #[error("there are no captures to send")]
    Empty,
}

/// The endings of the files that are read of a folder.
const ENDINGS: [&str; 3] = ["json", "jsonl", "ndjson"];

/// Reads all captures, by the time that they bear; those of one time as they were named, and as they stand.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Capture>, QueueError> {
    let mut captures = Vec::new();
    for path in paths {
        for file in files(path)? {
            let text = std::fs::read(&file).map_err(|error| QueueError::Unreadable(file.clone(), error))?;
            captures.extend(entries(&file, &text)?);
        }
    }
    if captures.is_empty() {
        return Err(QueueError::Empty);
    }
    captures.sort_by_key(|capture| capture.at);
    Ok(captures)
}

/// The file itself, or the capture files of a folder by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, QueueError> {
    let unreadable = |error| QueueError::Unreadable(path.to_owned(), error);
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries: Result<Vec<_>, _> = std::fs::read_dir(path).map_err(unreadable)?.collect();
    let mut files: Vec<_> = entries.map_err(unreadable)?.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)));
    files.sort();
    if files.is_empty() { Err(QueueError::EmptyFolder(path.to_owned())) } else { Ok(files) }
}

/// The captures of a file: of one JSON array, or one after the other (JSON lines, or just one).
fn entries(file: &Path, text: &[u8]) -> Result<Vec<Capture>, QueueError> {
    let mut reader = Reader::new(file, text);
    let captures = if reader.take(b'[') { reader.list()? } else { reader.lines()? };
    if reader.is_at_end() { Ok(captures) } else { Err(reader.error("something follows the list")) }
}

/// Goes through a file and knows where it is.
struct Reader<'a> {
    file: Arc<Path>,
    text: &'a [u8],
    at: usize,
    entries: usize,
}

impl<'a> Reader<'a> {
    fn new(file: &Path, text: &'a [u8]) -> Self {
        /// Some editors begin a file of UTF-8 with it (RFC 8259, 8.1: it may be ignored).
        const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        Self { file: file.into(), text, at: 0, entries: 0 }
    }

    /// What stands between the brackets of an array, of which the first was taken.
    fn list(&mut self) -> Result<Vec<Capture>, QueueError> {
        let mut captures = Vec::new();
        while !self.take(b']') {
            if !captures.is_empty() && !self.take(b',') {
                return Err(self.error("a comma or the end of the list is missing"));
            }
            captures.push(self.capture()?);
        }
        Ok(captures)
    }

    fn lines(&mut self) -> Result<Vec<Capture>, QueueError> {
        let mut captures = Vec::new();
        while !self.is_at_end() {
            captures.push(self.capture()?);
        }
        Ok(captures)
    }

    fn capture(&mut self) -> Result<Capture, QueueError> {
        let (place, value) = self.value()?;
        Ok(Capture::read(place, value)?)
    }

    /// The value that begins here, and its place.
    fn value(&mut self) -> Result<(Place, Value), QueueError> {
        self.skip_blanks();
        self.entries += 1;
        let place = Place { file: Arc::clone(&self.file), line: self.line(), entry: self.entries };
        let mut values = serde_json::Deserializer::from_slice(&self.text[self.at..]).into_iter();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(self.damage(&error)),
            None => return Err(self.error("an entry is missing")),
        };
        self.at += values.byte_offset();
        Ok((place, value))
    }

    /// Where and why the value that begins here is no JSON.
    fn damage(&self, error: &serde_json::Error) -> QueueError {
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        let line = self.line() + error.line().saturating_sub(1);
        self.error_at(line, &format!("not JSON: {reason} in column {}", error.column()))
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_blanks();
        self.at == self.text.len()
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let is_there = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn error(&self, text: &str) -> QueueError {
        self.error_at(self.line(), text)
    }

    fn error_at(&self, line: usize, text: &str) -> QueueError {
        QueueError::Json { file: self.file.to_path_buf(), line, entry: self.entries.max(1), text: text.to_owned() }
    }

    fn line(&self) -> usize {
        1 + self.text[..self.at].iter().filter(|byte| **byte == b'\n').count()
    }

    fn skip_blanks(&mut self) {
        self.at += self.text[self.at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(key: &str, second: u32) -> String {
        format!(
            r#"{{"endpoint": "/api/sync", "method": "POST", "body": {{}}, "timestamp": "2025-01-12T10:00:{second:02}Z",
             "requestId": "{key}"}}"#
        )
    }

    fn places(text: &str) -> Result<Vec<(usize, String)>, String> {
        let captures = entries(Path::new("q"), text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(captures.into_iter().map(|capture| (capture.place.line, capture.key)).collect())
    }

    #[test]
    fn an_array_lines_and_a_single_value_are_all_read() {
        let (one, two) = (capture("a", 1), capture("b", 2));
        let both = Ok(vec![(1, "a".to_owned()), (3, "b".to_owned())]);
        assert_eq!(places(&format!("[{one},\n{two}]\n")), both);
        assert_eq!(places(&format!("{one}\n{two}\n")), both);
        assert_eq!(places(&format!("\u{feff}{one}")), Ok(vec![(1, "a".to_owned())]));
        assert_eq!(places(" [ ] "), Ok(Vec::new()));
        assert_eq!(places(""), Ok(Vec::new()));
    }

    #[test]
    fn damage_is_told_with_its_line_and_entry() {
        let one = capture("a", 1);
        for (text, told) in [
            (format!("[{one},\n\n{{\"endpoint\": nul}}]"), "q:4 (entry 2): not JSON: expected ident in column"),
            (format!("{one}\n{{\"endpoint\": \"/api"), "q:3 (entry 2): not JSON: EOF while parsing a string"),
            (format!("[{one}\n{one}]"), "q:3 (entry 1): a comma or the end of the list is missing"),
            (format!("[{one}"), "q:2 (entry 1): a comma or the end of the list is missing"),
            (format!("[{one},"), "q:2 (entry 2): an entry is missing"),
            (format!("[{one}] {one}"), "q:2 (entry 1): something follows the list"),
            ("[".to_owned(), "q:1 (entry 1): an entry is missing"),
            (format!("{one}\n7"), "q:3 (entry 2): a capture must be an object"),
        ] {
            let error = places(&text).unwrap_err();
            assert!(error.starts_with(told), "{error:?} is not {told:?}");
        }
    }

    #[test]
    fn folders_are_read_by_name_and_all_is_sent_by_time() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("2.json", &capture("same-b", 5));
        write("1.jsonl", &format!("{}\n{}", capture("late", 9), capture("same-a", 5)));
        write("README.md", "not a capture");
        let early = directory.path().join("early");
        std::fs::write(&early, capture("early", 1)).unwrap();

        let captures = read(&[directory.path().to_owned(), early]).unwrap();
        let keys: Vec<_> = captures.iter().map(|capture| capture.key.as_str()).collect();
        assert_eq!(keys, ["early", "same-a", "same-b", "late"]);
    }

    #[test]
    fn nothing_to_send_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let told = |path: PathBuf| read(&[path]).unwrap_err().to_string();
        assert!(told(directory.path().to_owned()).ends_with("holds no .json, .jsonl or .ndjson file"));
        assert!(told(directory.path().join("none")).starts_with("cannot read "));
        std::fs::write(directory.path().join("a.json"), "[]").unwrap();
        assert_eq!(told(directory.path().to_owned()), "there are no captures to send");
    }
}
