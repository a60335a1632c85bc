//! An archive on the disk.
//!
//! ```text
//! manifest.json                  what it is; complete when all clients are there, with the digest of each client.json
//! clients/ID/client.json         what the client's books count; for each file its count, bytes and SHA-256
//! clients/ID/items.bson          the records of one collection (or items.jsonl)
//! ```
//!
//! The directory of a client appears with all that is in it, at once, and the manifest is completed last. So a command
//! that was killed has left nothing that looks like more than it is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bson::RawDocumentBuf;
use serde::{Deserialize, Serialize};

use super::encoding::Encoding;
use crate::clock;
use crate::model::ClientId;
use crate::store::archive::{
    ArchiveError, ArchiveId, Books, CHUNK_BYTES, Chunk, ChunkSender, Chunks, Head, InOrder, Part, Source, Sum, Sums,
    Tally, archived_receipt, channel, sha256,
};

/// Counts and digests by the names of collections.
pub(super) type Digests = BTreeMap<String, Sum>;

/// What an archive says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Manifest {
    /// Always the same, so that no other file is taken for one.
    format: String,
    /// The version of this layout.
    version: u32,
    /// Its name.
    pub archive: ArchiveId,
    /// How records are written.
    pub encoding: Encoding,
    /// Which store it is of.
    pub source: Source,
    /// The one client that was asked for; all, if none is named.
    pub client: Option<String>,
    /// The version of the program that began it.
    made_by: String,
    /// When it was begun.
    made_at: String,
    /// The clients that it holds, with the SHA-256 of each `client.json`. Absent until it holds all of them.
    pub clients: Option<BTreeMap<String, String>>,
}

/// What an archive says of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClientSummary {
    pub client: String,
    #[serde(flatten)]
    pub head: Head,
    pub collections: Digests,
}

/// An archive, perhaps not complete yet.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    path: PathBuf,
    pub manifest: Manifest,
}

impl Manifest {
    const FORMAT: &str = "viveka-sync archive";
    const VERSION: u32 = 2;
    /// The first version, which is read too: receipts did not say whose they are.
    const FIRST: u32 = 1;

    /// One that is just begun.
    pub fn new(encoding: Encoding, source: Source, client: Option<ClientId>) -> Self {
        let (one, other) = (clock::new_tag().0 as u64, clock::new_tag().0 as u64);
        Self {
            format: Self::FORMAT.to_owned(),
            version: Self::VERSION,
            archive: ArchiveId(format!("{one:016x}{other:016x}")),
            encoding,
            source,
            client: client.map(|client| client.to_string()),
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: clock::now().to_string(),
            clients: None,
        }
    }
}

impl Directory {
    const MANIFEST: &str = "manifest.json";
    const CLIENTS: &str = "clients";
    const CLIENT: &str = "client.json";

    /// Begins an archive in a new or empty directory, or goes on with one that was begun in the same way.
    pub fn begin(path: &Path, manifest: Manifest) -> Result<Self, ArchiveError> {
        if path.join(Self::MANIFEST).exists() {
            let begun = Self::open(path)?;
            let same = |of: &Manifest| (of.version, of.encoding, of.source.clone(), of.client.clone());
            if same(&begun.manifest) != same(&manifest) {
                let why =
                    "an archive of another store, another client, another encoding or an older version was begun here";
                return Err(refuse(path, why));
            }
            return Ok(begun);
        }
        let entries = |path| fs::read_dir(path).map(Iterator::count);
        if path.exists() && entries(path).map_err(|e| refuse(path, e))? > 0 {
            return Err(refuse(path, "it is not empty, and no archive was begun here"));
        }
        let archive = Self { path: path.to_owned(), manifest };
        private_directory(&path.join(Self::CLIENTS)).map_err(|e| refuse(path, e))?;
        archive.write_manifest()?;
        Ok(archive)
    }

    /// Opens an archive.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let bytes = read_regular(&path.join(Self::MANIFEST))
            .map_err(|e| refuse(path, format!("no {}: {e}", Self::MANIFEST)))?;
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|e| refuse(path, format!("{}: {e}", Self::MANIFEST)))?;
        let is_known = (Manifest::FIRST..=Manifest::VERSION).contains(&manifest.version);
        if manifest.format != Manifest::FORMAT || !is_known {
            return Err(refuse(path, "it is no archive of this version of the format"));
        }
        Ok(Self { path: path.to_owned(), manifest })
    }

    /// Says that all clients are there.
    pub fn complete(&mut self, clients: &[ClientId]) -> Result<(), ArchiveError> {
        let mut digests = BTreeMap::new();
        for client in clients {
            let bytes = self.read_file(&self.client_directory(client).join(Self::CLIENT))?;
            digests.insert(client.to_string(), sha256(&bytes));
        }
        self.manifest.clients = Some(digests);
        self.write_manifest()
    }

    /// What the archive says of a client; `None` if it does not hold it.
    ///
    /// # Errors
    /// [`ArchiveError::Source`], in particular if what lies there is of another client.
    pub fn summary(&self, client: &ClientId) -> Result<Option<ClientSummary>, ArchiveError> {
        let path = self.client_directory(client).join(Self::CLIENT);
        let sealed = self.manifest.clients.as_ref().map(|clients| clients.get(&client.to_string()));
        // What a complete archive does not name was left from another try.
        if !path.exists() || sealed == Some(None) {
            return Ok(None);
        }
        let bytes = self.read_file(&path)?;
        if sealed.flatten().is_some_and(|sealed| *sealed != sha256(&bytes)) {
            return Err(refuse(&path, "it is not the file that the manifest knows"));
        }
        let summary: ClientSummary = serde_json::from_slice(&bytes).map_err(|e| refuse(&path, e))?;
        if summary.client != client.to_string() {
            let why = format!("it is of client {}, and lies in the directory of client {client}", summary.client);
            return Err(refuse(&path, why));
        }
        Ok(Some(summary))
    }

    /// What lies among the clients of a complete archive and is not known to it, such as what somebody has put there.
    ///
    /// # Errors
    /// [`ArchiveError::Source`] if the directory cannot be read.
    pub fn unknown(&self) -> Result<Vec<String>, ArchiveError> {
        let path = self.path.join(Self::CLIENTS);
        let names = || -> io::Result<Vec<String>> {
            let entries = fs::read_dir(&path)?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        let is_known = |name: &String| self.manifest.clients.as_ref().is_some_and(|known| known.contains_key(name));
        match names() {
            Ok(mut names) => {
                names.retain(|name| !is_known(name));
                names.sort();
                Ok(names)
            }
            // An archive of no clients may have been copied without its empty directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(refuse(&path, error)),
        }
    }

    /// Removes what there is of a client.
    pub fn remove(&self, client: &ClientId) -> Result<(), ArchiveError> {
        let directory = self.client_directory(client);
        for old in [&directory, &directory.with_extension("part")] {
            if old.exists() {
                fs::remove_dir_all(old).map_err(|e| refuse(old, e))?;
            }
        }
        Ok(())
    }

    /// Reads a client's records as if to write them, and leaves the archive as it is.
    ///
    /// # Errors
    /// [`ArchiveError`], as [`Self::put`] and a reading afterwards would say it.
    pub async fn try_out(&self, client: &ClientId, mut books: Books) -> Result<(), ArchiveError> {
        while let Some(chunk) = books.records.recv().await {
            let Chunk { part, records } = chunk?;
            for record in records {
                self.manifest.encoding.encode(&record).map_err(|why| part.refuse(client, &record, &why))?;
                part.check(client, &record)?;
            }
        }
        Ok(())
    }

    /// Writes a client, in place of what was there of it.
    pub async fn put(&self, client: &ClientId, mut books: Books) -> Result<ClientSummary, ArchiveError> {
        let (directory, aside) = (self.client_directory(client), self.client_directory(client).with_extension("part"));
        self.remove(client)?;
        private_directory(&aside).map_err(|e| refuse(&aside, e))?;
        let mut tally = Tally::default();
        let mut file: Option<PartFile> = None;
        while let Some(chunk) = books.records.recv().await {
            let chunk = chunk?;
            tally.add(&chunk);
            if file.as_ref().is_some_and(|file| file.part != chunk.part) {
                file.take().map_or(Ok(()), PartFile::close)?;
            }
            let open = match file.take() {
                Some(file) => file,
                None => PartFile::create(&aside, chunk.part, self.manifest.encoding)?,
            };
            file = Some(open.write(client, &chunk)?);
        }
        file.map_or(Ok(()), PartFile::close)?;
        let summary =
            ClientSummary { client: client.to_string(), head: books.head, collections: named(&tally.finish()) };
        write_durably(&aside.join(Self::CLIENT), &pretty(&summary))?;
        fs::rename(&aside, &directory).map_err(|e| refuse(&directory, e))?;
        sync(&self.path.join(Self::CLIENTS))?;
        Ok(summary)
    }

    /// Reads a client's records and compares them with what the archive says of them: before the end, if they are not
    /// the same, or another client's, comes an error. `keep` says which records are passed on.
    pub fn read(
        &self,
        client: &ClientId,
        summary: &ClientSummary,
        keep: impl Fn(Part, &bson::raw::RawDocument) -> bool + Send + 'static,
    ) -> Chunks {
        let (sender, records) = channel();
        let (archive, client, summary) = (self.clone(), *client, summary.clone());
        std::thread::spawn(move || {
            if let Err(error) = archive.send_all(&client, &summary, keep, &sender) {
                // Nobody to tell is nobody to care.
                let _ = sender.blocking_send(Err(error));
            }
        });
        records
    }

    fn send_all(
        &self,
        client: &ClientId,
        summary: &ClientSummary,
        keep: impl Fn(Part, &bson::raw::RawDocument) -> bool,
        sender: &ChunkSender,
    ) -> Result<(), ArchiveError> {
        let directory = self.client_directory(client);
        let mut tally = Tally::default();
        for part in Part::ALL.into_iter().filter(|part| summary.collections.contains_key(part.name())) {
            let path = part_path(&directory, part, self.manifest.encoding);
            let mut input = BufReader::new(open_regular(&path).map_err(|e| refuse(&path, e))?);
            let (mut records, mut bytes, mut order) = (Vec::new(), 0, InOrder::default());
            while let Some(record) = self.manifest.encoding.read(&mut input).map_err(|e| refuse(&path, e))? {
                tally.add_record(part, record.as_bytes());
                let record = self.own(client, part, record)?;
                part.check(client, &record)?;
                order.follow(client, part, &record)?;
                if !keep(part, &record) {
                    continue;
                }
                bytes += record.as_bytes().len();
                records.push(record);
                if bytes >= CHUNK_BYTES {
                    bytes = 0;
                    if sender.blocking_send(Ok(Chunk { part, records: std::mem::take(&mut records) })).is_err() {
                        return Ok(());
                    }
                }
            }
            if !records.is_empty() && sender.blocking_send(Ok(Chunk { part, records })).is_err() {
                return Ok(());
            }
        }
        if named(&tally.finish()) != summary.collections {
            return Err(refuse(&directory, "the records are not those that client.json knows: the archive is damaged"));
        }
        Ok(())
    }

    /// A record of an archive of the first version, whose receipts do not say whose they are, as it would be now.
    fn own(&self, client: &ClientId, part: Part, record: RawDocumentBuf) -> Result<RawDocumentBuf, ArchiveError> {
        if self.manifest.version > Manifest::FIRST || part != Part::Receipts {
            return Ok(record);
        }
        archived_receipt(client, &record).map_err(|error| part.refuse(client, &record, &error.to_string()))
    }

    /// Says what is wrong with the archive.
    pub fn refuse(&self, why: &str) -> ArchiveError {
        refuse(&self.path, why)
    }

    fn client_directory(&self, client: &ClientId) -> PathBuf {
        self.path.join(Self::CLIENTS).join(client.to_string())
    }

    fn write_manifest(&self) -> Result<(), ArchiveError> {
        write_durably(&self.path.join(Self::MANIFEST), &pretty(&self.manifest))
    }

    fn read_file(&self, path: &Path) -> Result<Vec<u8>, ArchiveError> {
        read_regular(path).map_err(|e| refuse(path, e))
    }
}

/// A file of records that is being written.
struct PartFile {
    part: Part,
    path: PathBuf,
    encoding: Encoding,
    output: BufWriter<File>,
}

impl PartFile {
    fn create(directory: &Path, part: Part, encoding: Encoding) -> Result<Self, ArchiveError> {
        let path = part_path(directory, part, encoding);
        let output = BufWriter::new(private_file(&path).map_err(|e| refuse(&path, e))?);
        Ok(Self { part, path, encoding, output })
    }

    fn write(mut self, client: &ClientId, chunk: &Chunk) -> Result<Self, ArchiveError> {
        for record in &chunk.records {
            let bytes = self.encoding.encode(record).map_err(|why| self.part.refuse(client, record, &why))?;
            self.output.write_all(&bytes).map_err(|e| refuse(&self.path, e))?;
        }
        Ok(self)
    }

    fn close(self) -> Result<(), ArchiveError> {
        let written = self.output.into_inner().map_err(io::IntoInnerError::into_error);
        written.and_then(|file| file.sync_all()).map_err(|e| refuse(&self.path, e))
    }
}

/// The sums of a summary, by parts.
pub(super) fn sums(digests: &Digests) -> Sums {
    digests.iter().filter_map(|(name, sum)| Some((Part::of(name)?, sum.clone()))).collect()
}

fn named(sums: &Sums) -> Digests {
    sums.iter().map(|(part, sum)| (part.name().to_owned(), sum.clone())).collect()
}

/// A directory that only its owner may look into: an archive holds the sessions and accounts of shops.
fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// A new file that only its owner may read.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create(true).truncate(true).open(path)
}

/// Opens a file to be read. Anything else, a pipe above all, is refused before anybody waits for what it says.
fn open_regular(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn part_path(directory: &Path, part: Part, encoding: Encoding) -> PathBuf {
    directory.join(format!("{}.{}", part.name(), encoding.extension()))
}

/// Writes a file so that it is there as a whole or as it was.
fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    let aside = path.with_extension("new");
    let write = || {
        let mut file = private_file(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().map_err(|e: io::Error| refuse(path, e))?;
    path.parent().map_or(Ok(()), sync)
}

/// A new name survives a power loss only once its directory does.
fn sync(directory: &Path) -> Result<(), ArchiveError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|e| refuse(directory, e))
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Says what is wrong with a file or a directory.
pub(super) fn refuse(path: &Path, why: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Source(format!("{}: {why}", path.display()))
}
