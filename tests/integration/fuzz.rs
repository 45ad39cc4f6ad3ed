//! Anything at all as input, for some seconds by default: each target of `fuzz/targets.rs` in a process of its own, fed
//! with mutated fixtures. No coverage is seen; what gives a message that was not seen before is mutated further.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::targets::{ALL, RUN_FILES, Target};
use crate::util::{analyze, root, small, stderr};

/// The most memory of a target's process.
const MOST_KB: u64 = 1_000_000;
/// Larger fixtures make slow mutants.
const MOST_BYTES: u64 = 64 << 10;
/// Inputs that are kept for further mutation, and bytes of them: the memory that is measured is the program's.
const MOST_KEPT: usize = 2000;
const MOST_BYTES_KEPT: usize = 32 << 20;
/// Outcomes that are told apart, a hash each; those after them are not counted.
const MOST_OUTCOMES: usize = 1 << 20;

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn fuzz_every_target_takes_anything() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 60, |i| (i % 2) as f64);
    let run =
        analyze(dir.path(), &["d.parquet", "--out", "run", "--quiet", "--features", "8", "--active", "2"]);
    assert!(run.status.success(), "{}", stderr(&run));
    let only = std::env::var("WIMHF_FUZZ_ONLY").ok();
    for (name, ..) in ALL.iter().filter(|(name, ..)| only.as_deref().is_none_or(|only| only == *name)) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fuzz::one_target", "--ignored", "--nocapture"])
            .env("WIMHF_FUZZ_TARGET", name)
            .env("WIMHF_FUZZ_FOLDER", dir.path())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().find_map(|line| line.split_once("fuzzed: ")).map_or("", |(_, line)| line);
        println!("{name}: {line}");
        let last = dir.path().join(format!("{name}.last"));
        if !output.status.success() {
            // Kept where somebody can look at it.
            let kept = std::env::temp_dir().join(format!("wimhf-fuzz-{name}"));
            let _ = std::fs::copy(&last, &kept);
            panic!("{name}: {}: {}\n{said}{}", output.status, kept.display(), stderr(&output));
        }
        let peak: u64 = line.rsplit_once("peak_kb=").and_then(|(_, kb)| kb.trim().parse().ok()).unwrap();
        assert!(peak < MOST_KB, "{name}: {peak} kB");
    }
}

/// The child of the test above.
#[test]
#[ignore = "called by the test of all targets"]
fn one_target() {
    let Ok(name) = std::env::var("WIMHF_FUZZ_TARGET") else { return };
    let folder = PathBuf::from(std::env::var("WIMHF_FUZZ_FOLDER").unwrap());
    let (_, target, endings) = ALL.iter().find(|(other, ..)| *other == name).unwrap();
    let corpus = match name.as_str() {
        "runs" => of_run(&folder),
        _ => corpus(endings),
    };
    let seconds = Duration::from_secs(setting("WIMHF_FUZZ_SECONDS", 2));
    let clock = Duration::from_secs(setting("WIMHF_FUZZ_CLOCK", 10 * seconds.as_secs()));
    let began = Instant::now();
    let (calls, kinds, slowest) =
        fuzz(*target, corpus, &folder, &folder.join(format!("{name}.last")), (seconds, clock));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    let peak: String = peak.chars().filter(char::is_ascii_digit).collect();
    let slowest = slowest.as_millis();
    let (processor, clock) = (used().as_secs(), began.elapsed().as_secs());
    println!(
        "fuzzed: {calls} inputs, {kinds} outcomes, {processor} s of the processor, {clock} s by the clock, slowest {slowest} ms, peak_kb={peak}"
    );
    assert!(calls > 0 && kinds > 0);
}

/// The processor's time that this process has used: an hour beside other work is an hour all the same.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // After the name in brackets, which may hold anything: user and system time, in hundredths.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// Calls a target with one mutant after the other; how many, how many outcomes there were, and what the slowest took.
fn fuzz(
    target: Target,
    mut corpus: Vec<Vec<u8>>,
    folder: &Path,
    last: &Path,
    (time, clock): (Duration, Duration),
) -> (usize, usize, Duration) {
    let mut chance = Chance(setting("WIMHF_FUZZ_SEED", 1));
    let (mut seen, mut calls, mut slowest) = (HashSet::new(), 0, Duration::ZERO);
    let (began, at_start) = (Instant::now(), used());
    let (firsts, mut kept) = (corpus.len(), 0);
    // Every fixture once as it is; then mutants until the time is over.
    while calls < firsts || (used() - at_start < time && began.elapsed() < clock) {
        let input = match corpus.get(calls) {
            Some(whole) if calls < firsts => whole.clone(),
            _ => mutant(&corpus, &mut chance),
        };
        std::fs::write(last, &input).unwrap();
        let before = used();
        // A hash of what was said: messages with a piece of the input in them are without number.
        let said = hashed(&target(&input, folder));
        let is_new = seen.len() < MOST_OUTCOMES && seen.insert(said);
        slowest = slowest.max(used() - before);
        if is_new && calls >= firsts && corpus.len() < MOST_KEPT && kept + input.len() < MOST_BYTES_KEPT {
            kept += input.len();
            corpus.push(input);
        }
        calls += 1;
    }
    (calls, seen.len(), slowest)
}

fn hashed(text: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(text, &mut hasher);
    std::hash::Hasher::finish(&hasher)
}

/// SplitMix64: the same inputs for the same seed, on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % most.max(1) as u64) as usize
    }
}

const NUMBERS: [u64; 12] =
    [0, 1, 127, 128, 255, 256, 65_535, 65_536, u32::MAX as u64, i32::MAX as u64, u64::MAX, i64::MAX as u64];

/// Pieces that mean something in one of the formats.
const PIECES: [&[u8]; 34] = [
    b"PAR1",
    b"ARROW1\0\0",
    &[0xff; 4],
    &[0x1f, 0x8b, 8],
    b"\x28\xb5\x2f\xfd",
    b"{\"",
    b"\":",
    b"},",
    b"[[[[[[[[",
    b"]",
    b"null",
    b"NaN",
    b"\\ud83d",
    b"\\u0000",
    b"\"\"",
    b"\"",
    b"\n",
    b"\r\n",
    b",",
    b"\t",
    b";",
    "\u{feff}".as_bytes(),
    "\u{202e}".as_bytes(),
    "é\u{301}🙂".as_bytes(),
    b"chosen",
    b"rejected",
    b"label",
    b"response_A",
    b"[[concept]]\nid = \"x\"\n",
    b"patterns = [\"(a*)*\"]\n",
    b"pair_ab12: A",
    b"<think>",
    b"1e999",
    b"tie",
];

fn mutant(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut data = corpus[chance.below(corpus.len())].clone();
    for _ in 0..1 << chance.below(4) {
        let at = chance.below(data.len() + 1);
        let rest = data.len() - at;
        match chance.below(9) {
            0 if rest > 0 => data[at] ^= 1 << chance.below(8),
            1 if rest > 0 => data[at] = chance.below(256) as u8,
            2 => data.truncate(at),
            3 if rest > 0 => drop(data.drain(at..at + 1 + chance.below(rest.min(64)))),
            4 if rest > 0 => {
                let piece = data[at..at + 1 + chance.below(rest.min(256))].to_vec();
                data.splice(at..at, piece);
            }
            5 => {
                let number = NUMBERS[chance.below(NUMBERS.len())].to_le_bytes();
                let length = rest.min([1, 2, 4, 8][chance.below(4)]);
                data[at..at + length].copy_from_slice(&number[..length]);
            }
            6 => drop(data.splice(at..at, PIECES[chance.below(PIECES.len())].iter().copied())),
            7 => {
                let other = &corpus[chance.below(corpus.len())];
                let from = chance.below(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            _ => {
                let text = NUMBERS[chance.below(NUMBERS.len())].to_string();
                drop(data.splice(at..at, text.into_bytes()));
            }
        }
    }
    // Doubling must not make them grow for ever.
    data.truncate(2 * MOST_BYTES as usize);
    data
}

/// The fixtures that end so, and some lines for what has no files.
fn corpus(endings: &[&str]) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut folders = ["tests/fixtures/shapes", "tests/fixtures/fuzz", "data", "../shared/cases/files"]
        .map(|name| root().join(name))
        .to_vec();
    while let Some(folder) = folders.pop() {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| endings.iter().any(|other| ending == *other))
                && path.metadata().is_ok_and(|about| about.len() <= MOST_BYTES)
            {
                found.extend(std::fs::read(&path));
            }
        }
    }
    let lines: &[&str] = match endings {
        ["labels"] => &[
            "A\nB\ntie",
            "1\n2\n1.5",
            "A>>B\nB>A\nA=B",
            "model_a\nmodel_b",
            "-3\n0\n3",
            "A=A,B=B,C=tie",
            "1..-1",
            "0.5\n70%",
        ],
        ["answer"] => &[
            "{\"pair_ab12\": {\"s1\": \"A\", \"s2\": \"tie\"}, \"pair_cd34\": \"B\"}",
            "<think>hm</think>pair_ab12: A\npair_cd34 - tie",
            "A",
            "```json\n{\"concept\": \"lists things\"}\n```",
            "1. Prefer the shorter one\n2. Prefer lists",
        ],
        ["gz", "zst"] => return packed(),
        ["toml"] => &[
            "[[concept]]\nid = \"x_y\"\nshort = \"x\"\ndescription = \"does x\"\nphrases = [\"x y\"]\n",
            "seed = 3\n[split]\nshares = [0.3, 0.3, 0.4]\n",
            "pin = [\"refuses:avoid\"]\n[reword]\nrefuses = \"x\"\n",
        ],
        _ => &["The first. The second!\n\n- one\n- two\n"],
    };
    found.extend(lines.iter().map(|line| line.as_bytes().to_vec()));
    found
}

fn packed() -> Vec<Vec<u8>> {
    let line = b"{\"chosen\": \"a b\", \"rejected\": \"c\"}\n".repeat(5);
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut writer, &line).unwrap();
    let mut found = vec![writer.finish().unwrap()];
    found.extend(std::fs::read(root().join("../shared/cases/files/A34_pairs.jsonl.zst")));
    found
}

/// Each file of a run behind the byte that names it.
fn of_run(folder: &Path) -> Vec<Vec<u8>> {
    let file = |(at, name): (usize, &&str)| {
        let content =
            std::fs::read(folder.join("run").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        [&[at as u8], content.as_slice()].concat()
    };
    RUN_FILES.iter().enumerate().map(file).collect()
}
