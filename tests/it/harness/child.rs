//! A process under test that cannot outlive this one.
//!
//! It is started by a small shell that waits for it and takes orders over a pipe: each line is the name of a signal
//! to send, and the pipe's end, which comes with this process's end, however it ends, means SIGKILL. The shell is
//! the parent, so the pid cannot have been given to another process when a signal is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::scratch;
use super::wait::eventually;

/// A running (or ended) program, and all that it has printed.
pub struct Child {
    pid: u32,
    orders: ChildStdin,
    record: Arc<Record>,
}

impl Child {
    /// Starts `program` with exactly this environment; what it prints on either stream becomes its lines.
    pub fn start(program: &Path, arguments: &[String], environment: &[(String, String)]) -> Self {
        let mut supervisor = Command::new("/bin/sh")
            .args(["-c", SUPERVISOR, "viveka-it-supervisor"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().cloned())
            .current_dir(scratch::root())
            .process_group(0) // out of reach of Ctrl-C, as the guard in scratch.rs
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("/bin/sh starts");
        let orders = supervisor.stdin.take().expect("a piped stdin");
        let stdout = supervisor.stdout.take().expect("a piped stdout");
        let stderr = supervisor.stderr.take().expect("a piped stderr");

        let record = Arc::new(Record::default());
        std::thread::spawn({
            let record = Arc::clone(&record);
            move || record.keep(stderr, supervisor)
        });
        Self { pid: read_pid(stdout), orders, record }
    }

    /// The program's own process id, not the supervising shell's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Everything printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.record.lock().lines.clone()
    }

    /// The first `Some` that `pick` makes of a line, past or future; None if the program ends or `within` passes first.
    pub fn find_line<T>(&self, within: Duration, mut pick: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut checked = 0;
        self.record.wait(within, |seen| {
            let found = seen.lines[checked..].iter().find_map(|line| pick(line));
            checked = seen.lines.len();
            match (found, seen.exit) {
                (None, None) => None, // go on waiting
                (found, _) => Some(found),
            }
        })?
    }

    /// The exit status as a shell gives it (128 + n after signal n), once the program has ended within that time.
    pub fn exit(&self, within: Duration) -> Option<i32> {
        self.record.wait(within, |seen| seen.exit)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.order("TERM");
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&self) {
        self.order("KILL");
        self.exit(Duration::from_secs(10)).expect("a killed process ends");
    }

    /// Sends SIGSTOP and waits until nothing of it runs any more.
    pub fn pause(&self) {
        self.order("STOP");
        let stat = format!("/proc/{}/stat", self.pid);
        let stopped = || std::fs::read_to_string(&stat).ok()?.rsplit_once(") ")?.1.starts_with('T').then_some(());
        eventually("a stopped process", Duration::from_secs(10), stopped);
    }

    /// Sends SIGCONT.
    pub fn resume(&self) {
        self.order("CONT");
    }

    /// Tells the supervising shell to send a signal; one that is gone has nothing left to signal.
    pub(super) fn order(&self, signal: &str) {
        let _ = writeln!(&self.orders, "{signal}");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a reader thread writes down and the tests wait on.
#[derive(Default)]
struct Record {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// The printed lines, and the exit status once there is one; it is set after the last line.
#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    exit: Option<i32>,
}

impl Record {
    /// Writes down every line up to the end, then the exit status.
    fn keep(&self, output: impl Read, mut supervisor: std::process::Child) {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            self.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
            self.changed.notify_all();
        }
        let status = supervisor.wait().expect("the supervisor is our child");
        self.lock().exit = Some(status.code().unwrap_or(-1));
        self.changed.notify_all();
    }

    /// Asks `probe` now and after each change until it gives a value or the time is over.
    fn wait<T>(&self, within: Duration, mut probe: impl FnMut(&Seen) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut seen = self.lock();
        loop {
            if let Some(value) = probe(&seen) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            seen = self.changed.wait_timeout(seen, left).expect("no holder of this lock panics").0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // A test's closure may panic while it looks at a line; the lines are whole all the same.
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The supervisor's first and only line of output.
fn read_pid(output: impl Read) -> u32 {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("the supervisor's output");
    line.trim().parse().expect("the supervisor prints a pid")
}

/// Runs `"$@"`; prints its pid; sends it the signals named on stdin, and SIGKILL at stdin's end; exits as it does.
const SUPERVISOR: &str = r#"
exec 3<&0 4>&1
"$@" </dev/null >&2 3<&- 4>&- &
pid=$!
exec 2>/dev/null
( while read -r signal; do kill -s "$signal" "$pid"; done; kill -s KILL "$pid" ) <&3 4>&- &
watcher=$!
echo "$pid" >&4
exec 0</dev/null 1>&2 3<&- 4>&-
wait "$pid"
status=$?
kill "$watcher"
exit "$status"
"#;
