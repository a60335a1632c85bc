//! A file that is worked on and stays as it is: what is written to it is kept in memory.
//!
//! redb checks a file only where it could mend it too, and to look after books is not to change them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// A file, and what was written over it.
#[derive(Debug)]
pub(super) struct Unwritten {
    file: File,
    over: Mutex<Over>,
}

/// What was written.
#[derive(Debug)]
struct Over {
    /// The length that it would have.
    len: u64,
    /// How much of the file still counts, since it was last cut.
    below: u64,
    /// The blocks that were written to, by their numbers.
    blocks: BTreeMap<u64, Box<Block>>,
}

type Block = [u8; BLOCK];
const BLOCK: usize = 4096;

impl Unwritten {
    /// Opens a file to be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, over: Mutex::new(Over { len, below: len, blocks: BTreeMap::new() }) })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Unwritten {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over();
        if offset + out.len() as u64 > over.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        over.read_file(&self.file, offset, out)?;
        let end = offset + out.len() as u64;
        for (number, block) in over.blocks.range(offset / BLOCK as u64..end.div_ceil(BLOCK as u64)) {
            let begin = number * BLOCK as u64;
            let (from, to) = (offset.max(begin), end.min(begin + BLOCK as u64));
            out[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&block[(from - begin) as usize..(to - begin) as usize]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut over = self.over();
        over.blocks.retain(|number, _| number * (BLOCK as u64) < len);
        if let Some(last) = over.blocks.get_mut(&(len / BLOCK as u64)) {
            last[(len % BLOCK as u64) as usize..].fill(0);
        }
        over.below = over.below.min(len);
        over.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over();
        let end = offset + data.len() as u64;
        let mut from = offset;
        while from < end {
            let number = from / BLOCK as u64;
            let (begin, within) = (number * BLOCK as u64, (from % BLOCK as u64) as usize);
            let to = end.min(begin + BLOCK as u64);
            let mut block = match over.blocks.remove(&number) {
                Some(block) => block,
                None => {
                    let mut block = Box::new([0; BLOCK]);
                    over.read_file(&self.file, begin, &mut block[..])?;
                    block
                }
            };
            block[within..within + (to - from) as usize]
                .copy_from_slice(&data[(from - offset) as usize..(to - offset) as usize]);
            over.blocks.insert(number, block);
            from = to;
        }
        over.len = over.len.max(end);
        Ok(())
    }
}

impl Over {
    /// Reads what the file has, and zeros behind it.
    fn read_file(&self, file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.below.saturating_sub(offset).min(out.len() as u64) as usize;
        let (there, behind) = out.split_at_mut(there);
        behind.fill(0);
        file.read_exact_at(there, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let before = [7; 3 * BLOCK + 10];
        std::fs::write(&path, before).unwrap();
        let file = Unwritten::open(&path).unwrap();
        let read = |offset, len| {
            let mut out = vec![1; len];
            file.read(offset, &mut out).map(|()| out)
        };
        let edge = BLOCK as u64 - 2;
        file.write(edge, &[9; 4]).unwrap();
        assert_eq!(read(edge - 1, 6).unwrap(), [7, 9, 9, 9, 9, 7]);
        file.set_len(edge + 3).unwrap();
        assert!(read(edge, 4).is_err(), "it ends there");
        file.set_len(4 * BLOCK as u64).unwrap();
        assert_eq!(read(edge, 6).unwrap(), [9, 9, 9, 0, 0, 0], "what was cut off is gone");
        assert_eq!(read(2 * BLOCK as u64, 4).unwrap(), [0; 4]);
        assert_eq!(file.len().unwrap(), 4 * BLOCK as u64);
        assert!(std::fs::read(&path).unwrap() == before);
    }
}
