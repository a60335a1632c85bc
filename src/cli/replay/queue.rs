//! The queue: all captures of files and folders, in the order in which they are sent.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::capture::{Capture, CaptureError, Place};

/// Why a queue cannot be read, in one line; entries have a line each if they are several.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A file or folder cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// Entries are no captures, or not JSON.
    #[error("{}", lines_of(.0))]
    Broken(Vec<CaptureError>),
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
    let (mut captures, mut broken) = (Vec::new(), Vec::new());
    for path in paths {
        for file in files(path)? {
            let text = std::fs::read(&file).map_err(|error| QueueError::Unreadable(file.clone(), error))?;
            let entries = Entries::of(&file, &text);
            captures.extend(entries.captures);
            broken.extend(entries.broken);
        }
    }
    if !broken.is_empty() {
        return Err(QueueError::Broken(broken));
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

/// One is told as it is, several below their number; of very many the first.
fn lines_of(broken: &[CaptureError]) -> String {
    const MOST: usize = 20;
    if let [only] = broken {
        return only.to_string();
    }
    let mut lines = format!("{} entries cannot be sent, so nothing is sent:", broken.len());
    for error in broken.iter().take(MOST) {
        let _ = write!(lines, "\n  {error}");
    }
    if broken.len() > MOST {
        let _ = write!(lines, "\n  and {} more", broken.len() - MOST);
    }
    lines
}

/// What a file holds.
#[derive(Debug, Default)]
struct Entries {
    captures: Vec<Capture>,
    broken: Vec<CaptureError>,
}

impl Entries {
    /// The entries of one JSON array, or one after the other (JSON lines, or just one).
    fn of(file: &Path, text: &[u8]) -> Self {
        let mut reader = Reader::new(file, text);
        let mut entries = Self::default();
        if !reader.take(b'[') {
            entries.read_lines(&mut reader);
        } else if let Err(damage) = entries.read_list(&mut reader) {
            entries.broken.push(damage);
        }
        entries
    }

    /// What stands between the brackets of an array, of which the first was taken. Where it is damaged nobody can tell
    /// how it goes on.
    fn read_list(&mut self, reader: &mut Reader<'_>) -> Result<(), CaptureError> {
        let mut is_first = true;
        while !reader.take(b']') {
            if !is_first && !reader.take(b',') {
                return Err(reader.error("a comma or the end of the list is missing"));
            }
            is_first = false;
            self.read_one(reader)?;
        }
        if reader.is_at_end() { Ok(()) } else { Err(reader.error("something follows the list")) }
    }

    /// What is damaged ends where the next line begins like an entry.
    fn read_lines(&mut self, reader: &mut Reader<'_>) {
        while !reader.is_at_end() {
            if let Err(damage) = self.read_one(reader) {
                self.broken.push(damage);
                reader.skip_to_object_on_line();
            }
        }
    }

    /// Takes in one entry; the error is that it is not JSON.
    fn read_one(&mut self, reader: &mut Reader<'_>) -> Result<(), CaptureError> {
        let (place, value) = reader.value()?;
        match Capture::read(place, value) {
            Ok(capture) => self.captures.push(capture),
            Err(error) => self.broken.push(error),
        }
        Ok(())
    }
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

    /// The value that begins here, and its place. Where it is no JSON the reader stays.
    fn value(&mut self) -> Result<(Place, Value), CaptureError> {
        self.skip_blanks();
        self.entries += 1;
        let place = self.place(self.line());
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
    fn damage(&self, error: &serde_json::Error) -> CaptureError {
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        let line = self.line() + error.line().saturating_sub(1);
        // A line break that should not be there counts to the line that it begins.
        let (line, column) = match error.column() {
            0 => (line.saturating_sub(1), "at the end of the line".to_owned()),
            column => (line, format!("in column {column}")),
        };
        CaptureError::new(self.place(line), format!("not JSON: {reason} {column}"))
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

    fn error(&self, text: &str) -> CaptureError {
        CaptureError::new(self.place(self.line()), text.to_owned())
    }

    /// The entry that was begun last, on this line.
    fn place(&self, line: usize) -> Place {
        Place { file: Arc::clone(&self.file), line, entry: self.entries.max(1) }
    }

    fn line(&self) -> usize {
        1 + self.text[..self.at].iter().filter(|byte| **byte == b'\n').count()
    }

    /// To the next line that begins with an object, or to the end.
    fn skip_to_object_on_line(&mut self) {
        let next = self.text[self.at..].windows(2).position(|bytes| bytes == b"\n{");
        self.at = next.map_or(self.text.len(), |before| self.at + before + 1);
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
        let Entries { captures, broken } = Entries::of(Path::new("q"), text.as_bytes());
        if !broken.is_empty() {
            return Err(lines_of(&broken));
        }
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
    fn all_broken_entries_are_told_and_of_very_many_the_first() {
        let (one, cut_off) = (capture("a", 1), "{\"endpoint\": \"/api");
        let told = places(&format!("7\n{one}\n{cut_off}\n{one}\n{{}}\n")).unwrap_err();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines[0], "3 entries cannot be sent, so nothing is sent:");
        assert!(lines[1].starts_with("  q:1 (entry 1): a capture must be"), "{told}");
        assert!(lines[2].starts_with("  q:4 (entry 3): not JSON: control character"), "{told}");
        assert!(lines[3].starts_with("  q:7 (entry 5): endpoint is missing"), "{told}");
        assert_eq!(lines.len(), 4, "{told}");

        let many = places(&format!("[{}]", vec!["{}"; 50].join(",\n"))).unwrap_err();
        assert_eq!((many.lines().count(), many.lines().last()), (22, Some("  and 30 more")));
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
