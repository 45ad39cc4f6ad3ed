//! The cache among threads, processes, and processes that are killed.

use std::collections::{BTreeMap, HashSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::RngExt;

use super::*;
use crate::rng;

fn name(number: usize) -> Key {
    key(&[b"test", &number.to_le_bytes()])
}

/// What entry `number` must hold: long enough to take several pages of the file now and then.
fn value(number: usize) -> Vec<u8> {
    (0..1536 + number % 7 * 1000).map(|i| (number * 31 + i) as u8).collect()
}

fn put(bucket: &mut Bucket, space: Space, numbers: std::ops::Range<usize>) {
    let (keys, values): (Vec<_>, Vec<_>) = numbers.map(|i| (name(i), value(i))).unzip();
    bucket.put(space, keys.iter().zip(values.iter().map(Vec::as_slice))).unwrap();
}

fn read(bucket: &Bucket, numbers: std::ops::Range<usize>) -> BTreeMap<usize, Vec<u8>> {
    let numbers: Vec<usize> = numbers.collect();
    let keys: Vec<Key> = numbers.iter().map(|&i| name(i)).collect();
    let mut found = BTreeMap::new();
    bucket
        .read(&keys, |position, bytes| {
            found.insert(numbers[position], bytes.to_vec());
        })
        .unwrap();
    found
}

#[test]
fn parts_do_not_run_together() {
    let keys = [key(&[b"ab", b"c"]), key(&[b"a", b"bc"]), key(&[b"abc"]), key(&[b"abc", b""]), key(&[])];
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    assert_eq!(key(&[b"ab", b"c"]), keys[0]);
}

#[test]
fn sizes_in_words() {
    for (text, bytes_) in
        [("0", 0), ("12", 12), ("500MB", 500_000_000), (" 1.5 GB ", 1_500_000_000), ("2GiB", 2 << 30)]
    {
        assert_eq!(bytes(text), Some(bytes_), "{text}");
    }
    for text in ["", "GB", "-1", "1.2.3", "5 parsecs", "1e9"] {
        assert_eq!(bytes(text), None, "{text}");
    }
}

#[test]
fn what_is_put_is_read_and_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let mut bucket = cache.bucket(EMBEDDINGS).unwrap();
    let space = bucket.space("model@1").unwrap();
    assert_eq!(space, cache.bucket(EMBEDDINGS).unwrap().space("model@1").unwrap());
    assert_ne!(space, bucket.space("model@2").unwrap());
    put(&mut bucket, space, 0..50);
    // Never changed, whoever comes second.
    bucket.put(space, [(&name(3), &b"other"[..])]).unwrap();
    let other = cache.bucket(EMBEDDINGS).unwrap();
    assert_eq!(other.present(&[name(3), name(50)]).unwrap(), [true, false]);
    assert_eq!(read(&other, 0..60), (0..50).map(|i| (i, value(i))).collect());
    // Buckets know nothing of each other.
    assert_eq!(cache.bucket(ANSWERS).unwrap().present(&[name(3)]).unwrap(), [false]);
}

#[test]
fn what_one_computes_the_others_leave() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let (mut one, mut two) = (cache.bucket(EMBEDDINGS).unwrap(), cache.bucket(EMBEDDINGS).unwrap());
    let space = one.space("model").unwrap();
    put(&mut one, space, 0..1);
    assert_eq!(one.claim(&[name(0), name(1), name(2)]).unwrap(), [Claim::Present, Claim::Ours, Claim::Ours]);
    assert_eq!(one.claim(&[name(1)]).unwrap(), [Claim::Ours], "one's own again");
    assert_eq!(two.claim(&[name(1), name(3)]).unwrap(), [Claim::Theirs, Claim::Ours]);
    put(&mut one, space, 1..2);
    assert_eq!(two.claim(&[name(1), name(2)]).unwrap(), [Claim::Present, Claim::Theirs]);
    one.release(&[name(2)]).unwrap();
    assert_eq!(two.claim(&[name(2)]).unwrap(), [Claim::Ours]);
    // Whoever goes leaves no claims.
    drop(two);
    assert_eq!(one.claim(&[name(2), name(3)]).unwrap(), [Claim::Ours, Claim::Ours]);
}

#[test]
fn pruning_takes_what_was_used_longest_ago_and_no_more_than_must_go() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let mut bucket = cache.bucket(EMBEDDINGS).unwrap();
    let (old, new) = (bucket.space("old").unwrap(), bucket.space("new").unwrap());
    put(&mut bucket, old, 0..2000);
    put(&mut bucket, new, 2000..3000);
    bucket.age("old", 40);
    drop(bucket);
    let size = || cache.size().unwrap().iter().map(|bucket| bucket.bytes).sum::<u64>();
    let full = size();
    assert_eq!(cache.prune(Some(60), Some(full * 2)).unwrap(), 0);
    let removed = cache.prune(None, Some(full / 2)).unwrap();
    assert!(size() <= full / 2, "{} of {full}", size());
    assert!((800..2000).contains(&removed), "{removed}");
    let bucket = cache.bucket(EMBEDDINGS).unwrap();
    assert_eq!(read(&bucket, 2000..3000).len(), 1000, "what was used last stays");
    let rest = read(&bucket, 0..2000).len() as u64;
    assert_eq!(rest, 2000 - removed);
    drop(bucket);
    assert_eq!(cache.prune(Some(30), None).unwrap(), rest);
    let spaces = &cache.size().unwrap()[0].spaces;
    assert_eq!(spaces.iter().map(|s| (s.name.as_str(), s.entries)).collect::<Vec<_>>(), [("new", 1000)]);
    assert_eq!(spaces[0].bytes, (2000..3000).map(|i| value(i).len() as u64).sum::<u64>());
    assert!(cache.clear().unwrap() > 0);
    assert!(cache.size().unwrap().is_empty());
    assert_eq!(cache.clear().unwrap(), 0, "clearing nothing is no error");
}

#[test]
fn a_damaged_file_is_named_with_what_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    drop(cache.bucket(EMBEDDINGS).unwrap());
    let file = cache.folder().join("embeddings.sqlite");
    std::fs::write(
        &file,
        "this is no database, and it is longer than a header of one hundred bytes ".repeat(9),
    )
    .unwrap();
    let message = cache.bucket(EMBEDDINGS).unwrap_err().to_string();
    assert!(message.contains("damaged") && message.contains("hint: `wimhf cache clear`"), "{message}");
    cache.clear().unwrap();
    cache.bucket(EMBEDDINGS).unwrap();
}

/// Entries in all, and at a time, of the test with processes.
const ENTRIES: usize = 600;
const BATCH: usize = 16;

/// By itself, one process; the next two run it as several.
#[test]
fn one_process_computes_everything_once() {
    if let Some(folder) = std::env::var_os("WIMHF_TEST_CHILD").map(PathBuf::from) {
        return compute(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    compute(folder.path());
    assert_eq!(computed(folder.path()), (0..ENTRIES).map(|i| (i, 1)).collect());
}

fn compute(folder: &Path) {
    let mut log = OpenOptions::new().append(true).create(true).open(folder.join("log")).unwrap();
    // One write a line, at the file's end: lines of several processes do not mix.
    let mut say = |line: String| log.write_all(line.as_bytes()).unwrap();
    let me = std::process::id();
    let mut bucket = Cache::at(folder).bucket(EMBEDDINGS).unwrap();
    let space = bucket.space("model").unwrap();
    let mut waiting: Vec<usize> = (0..ENTRIES).collect();
    while !waiting.is_empty() {
        let mut others = Vec::new();
        for numbers in waiting.chunks(BATCH) {
            let keys: Vec<Key> = numbers.iter().map(|&i| name(i)).collect();
            let mut ours = Vec::new();
            for (&number, claim) in numbers.iter().zip(bucket.claim(&keys).unwrap()) {
                match claim {
                    Claim::Ours => ours.push(number),
                    Claim::Theirs => others.push(number),
                    Claim::Present => {}
                }
            }
            if ours.is_empty() {
                continue;
            }
            let list = ours.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
            say(format!("computes {me} {list}\n"));
            // Takes a moment, as computing does.
            std::thread::sleep(Duration::from_millis(3));
            let entries: Vec<(Key, Vec<u8>)> = ours.iter().map(|&i| (name(i), value(i))).collect();
            bucket.put(space, entries.iter().map(|(key, value)| (key, value.as_slice()))).unwrap();
            say(format!("kept {me} {list}\n"));
        }
        if !others.is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        waiting = others;
    }
}

fn spawn(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cache::tests::one_process_computes_everything_once", "--nocapture"])
        .env("WIMHF_TEST_CHILD", folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// How often each entry was computed; none again after it was kept.
fn computed(folder: &Path) -> BTreeMap<usize, usize> {
    let log = std::fs::read_to_string(folder.join("log")).unwrap();
    let (mut counts, mut kept) = (BTreeMap::new(), HashSet::new());
    for line in log.lines() {
        let mut words = line.split(' ');
        let what = words.next().unwrap();
        for number in words.nth(1).unwrap().split(',').map(|text| text.parse::<usize>().unwrap()) {
            if what == "kept" {
                kept.insert(number);
            } else {
                assert!(!kept.contains(&number), "{number} was computed again although it was kept");
                *counts.entry(number).or_default() += 1;
            }
        }
    }
    counts
}

#[test]
fn processes_together_compute_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    // All of them find no file and make it.
    let children: Vec<Child> = (0..5).map(|_| spawn(folder.path())).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(computed(folder.path()), (0..ENTRIES).map(|i| (i, 1)).collect());
    let bucket = Cache::at(folder.path()).bucket(EMBEDDINGS).unwrap();
    assert_eq!(read(&bucket, 0..ENTRIES), (0..ENTRIES).map(|i| (i, value(i))).collect());
}

#[cfg(unix)]
#[test]
fn killed_twenty_times_nothing_is_damaged_and_only_what_was_under_way_is_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut chance = rng::stream(5, "kill");
    let mut killed = 0;
    // A child lives on beside the one that is killed, so that claims are taken over too.
    while killed < 20 {
        let mut child = spawn(folder.path());
        std::thread::sleep(Duration::from_millis(chance.random_range(5..60)));
        // SIGKILL.
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
        if folder.path().join(VERSION).join("embeddings.sqlite").exists() {
            let bucket = Cache::at(folder.path()).bucket(EMBEDDINGS).unwrap();
            assert_eq!(bucket.check(), "ok");
            assert!(read(&bucket, 0..ENTRIES).into_iter().all(|(number, bytes)| bytes == value(number)));
        }
        if folder.path().join("log").exists()
            && read(&Cache::at(folder.path()).bucket(EMBEDDINGS).unwrap(), 0..ENTRIES).len()
                > ENTRIES * 9 / 10
        {
            // Nearly done before it was killed often enough: begin again.
            Cache::at(folder.path()).clear().unwrap();
            std::fs::remove_file(folder.path().join("log")).unwrap();
        }
    }
    assert!(spawn(folder.path()).wait().unwrap().success());
    let bucket = Cache::at(folder.path()).bucket(EMBEDDINGS).unwrap();
    assert_eq!(read(&bucket, 0..ENTRIES), (0..ENTRIES).map(|i| (i, value(i))).collect());
    let again: usize = computed(folder.path()).values().map(|count| count - 1).sum();
    assert!(again <= 20 * BATCH, "{again} computed again");
}
