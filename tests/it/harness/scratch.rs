//! The one temporary directory of this test process.
//!
//! A guard process holds the other end of a pipe; when this process ends, however it ends, the pipe closes and the
//! guard removes the directory.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// A new empty directory below [`root`], removed when dropped.
pub fn fresh_dir(prefix: &str) -> TempDir {
    TempDir::with_prefix_in(prefix, root()).expect("a temporary directory")
}

/// The directory that everything of this test process lives in.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<Guarded> = OnceLock::new();
    &ROOT.get_or_init(Guarded::create).path
}

/// A directory and the guard that removes it when the pipe to it closes.
struct Guarded {
    path: PathBuf,
    _guard: Child,
}

impl Guarded {
    /// Makes the directory and starts its guard.
    fn create() -> Self {
        let path = TempDir::with_prefix("viveka-it-").expect("a temporary directory").keep();
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "viveka-it-guard"])
            .arg(&path)
            .process_group(0) // out of reach of Ctrl-C, which ends the tests but must not end the guard
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("/bin/sh starts");
        Self { path, _guard: guard }
    }
}

/// Waits for the end of its stdin, then removes `$1`; tries again while dying processes still write there.
const GUARD: &str = r#"
read -r _
for try in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$1" && exit
    sleep 0.2
done
"#;
