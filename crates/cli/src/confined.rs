//! Under a limit on the address space (`ulimit -v`) a process that gets no more memory is ended at once, in the middle of
//! a sentence of the standard library's. So where there is such a limit, the work is done by a child, and this process lives to
//! say what happened. Without a limit nothing of this is done.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Who may have so much does not run out of it for its sake.
const MUCH: u64 = 64 << 30;
/// Says to the child that it is one.
const CHILD: &str = "WIMHF_CONFINED";
/// What the standard library says at the end; the user hears it in our words.
const LAST_WORDS: [&str; 4] =
    ["memory allocation of ", "note: run with `RUST_BACKTRACE", "skipping backtrace printing", "mimalloc: "];

/// Does the work of this process in a child where the address space is limited; `None` where it is not, or no child can
/// be had.
pub fn in_child() -> Option<ExitCode> {
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    let most = address_space().filter(|most| *most < MUCH)?;
    let mut command = Command::new(std::env::current_exe().ok()?);
    let command = command.args(std::env::args_os().skip(1)).env(CHILD, "1").stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    // Ctrl-C reaches both: the child stops in its own way, and is waited for.
    let _ = ctrlc::set_handler(|| {});
    if let Some(said) = child.stderr.take() {
        pass_on(said);
    }
    let status = child.wait().ok()?;
    if let Some(code) = status.code() {
        return Some(ExitCode::from(u8::try_from(code).unwrap_or(1)));
    }
    if let Some(other) = ended_from_outside(status) {
        return Some(ExitCode::from(other));
    }
    sweep();
    let _ = std::io::stderr().write_fmt(format_args!(
        "error: the memory is not enough: {} MB of address space are allowed\nhint: raise the limit (`ulimit -v`), or use fewer threads with `RAYON_NUM_THREADS=1 POLARS_MAX_THREADS=1`; finished stages are kept\n",
        most / 1_000_000
    ));
    Some(ExitCode::from(2))
}

/// The exit code by a shell's custom where somebody ended the child; `None` where it gave up itself: an abort, an access to
/// memory that it did not get.
#[cfg(unix)]
fn ended_from_outside(status: std::process::ExitStatus) -> Option<u8> {
    use std::os::unix::process::ExitStatusExt;
    let signal = u8::try_from(status.signal()?).ok()?;
    (![6, 7, 11].contains(&signal)).then(|| signal.saturating_add(128))
}

#[cfg(not(unix))]
fn ended_from_outside(_: std::process::ExitStatus) -> Option<u8> {
    None
}

/// Removes what the child had half-written: beside whatever it was told of, and in it.
fn sweep() {
    let told = std::env::args_os().skip(1).map(|argument| {
        let text = argument.to_string_lossy().into_owned();
        PathBuf::from(
            text.split_once('=').filter(|_| text.starts_with('-')).map_or(&*text, |(_, value)| value),
        )
    });
    let mut folders = vec![PathBuf::from(".")];
    for path in told {
        folders.extend(path.parent().map(Path::to_path_buf));
        let below = std::fs::read_dir(&path).into_iter().flatten().flatten();
        folders.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
        folders.push(path);
    }
    folders.sort();
    folders.dedup();
    folders.iter().for_each(|folder| wimhf::store::sweep_leftovers(folder));
}

fn pass_on(said: impl std::io::Read) {
    for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
        if !LAST_WORDS.iter().any(|words| line.starts_with(words.as_bytes())) {
            let _ = std::io::stderr().write_all(&[&line, b"\n".as_slice()].concat());
        }
    }
}

/// The limit on this process's address space, in bytes, where there is one.
fn address_space() -> Option<u64> {
    let limits = wimhf::limits::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    // "unlimited" is no number.
    line.split_whitespace().next()?.parse().ok()
}
