//! Stopping and going on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::util::{analyze, contents, json, small, stderr, wimhf};

fn statuses(run: &std::path::Path) -> Vec<(String, String)> {
    json(&run.join("run.json"))["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["name"].as_str().unwrap().to_owned(), s["status"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn a_second_call_reuses_every_stage_and_changed_settings_redo_what_they_touch() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 200, |i| f64::from(u8::from(i % 3 == 0)));
    let first = analyze(dir.path(), &["d.parquet", "--out", "run"]);
    assert!(first.status.success(), "{}", stderr(&first));
    let run = dir.path().join("run");
    assert!(statuses(&run).iter().all(|(_, status)| status == "done"));
    let before = contents(&run);

    let second = analyze(dir.path(), &["d.parquet", "--out", "run"]);
    assert!(second.status.success(), "{}", stderr(&second));
    assert!(statuses(&run).iter().all(|(_, status)| status == "reused"), "{:?}", statuses(&run));
    assert_eq!(first.stdout, second.stdout);
    assert!(before == contents(&run));

    let refused = analyze(dir.path(), &["d.parquet", "--out", "run", "--features", "8"]);
    assert_eq!(refused.status.code(), Some(2));
    for word in ["other settings", "`sae.features` not set there, 8 now", "`--out`", "`--replace`"] {
        assert!(stderr(&refused).contains(word), "{word} is not in {}", stderr(&refused));
    }
    assert!(before == contents(&run), "nothing is lost");
    let third = analyze(dir.path(), &["d.parquet", "--out", "run", "--features", "8", "--replace"]);
    assert!(third.status.success(), "{}", stderr(&third));
    let found = statuses(&run);
    let status = |name: &str| found.iter().find(|(stage, _)| stage == name).map(|(_, s)| s.as_str());
    assert_eq!(status("embed"), Some("reused"));
    // The setting is that of the features of sentences; those on differences do not depend on it.
    assert_eq!(status("sentences"), Some("done"));
    assert_eq!(status("sae"), Some("reused"));
    assert_eq!(status("report"), Some("done"));

    let forced = analyze(dir.path(), &["d.parquet", "--out", "run", "--force"]);
    assert!(forced.status.success());
    assert!(statuses(&run).iter().all(|(_, status)| status == "done"));
    assert!(before == contents(&run), "the same seed gives the same files");
}

/// Sums are formed in one order, however many threads share the work: files are the same to the last bit.
#[test]
fn the_number_of_threads_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sample = crate::util::data("sample.parquet");
    let mut runs = ["1", "2", "3"].map(|threads| {
        let output = wimhf(dir.path())
            .args(["analyze", "--device", "cpu", "--seed", "1", &sample, "--out", threads])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        contents(&dir.path().join(threads))
    });
    // The page and the checkpointed training say when and how long.
    for run in &mut runs {
        run.remove(std::path::Path::new("report.html"));
        assert!(run.len() > 15);
    }
    for (file, content) in &runs[0] {
        for other in &runs[1..] {
            assert!(other[file] == *content, "{}", file.display());
        }
    }
}

/// Settings with which a run takes moments.
const SMALL: [&str; 4] = ["--features", "8", "--active", "2"];

/// `kill -9` at twenty moments spread over the run, then the same command: the same result, and no
/// stage that was recorded as finished is done again.
#[test]
fn kill_at_twenty_moments_and_go_on() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 300, |i| f64::from(u8::from(i % 3 == 0)));
    let started = Instant::now();
    let whole = analyze(dir.path(), &[&["d.parquet", "--out", "whole"], &SMALL[..]].concat());
    let took = started.elapsed();
    assert!(whole.status.success(), "{}", stderr(&whole));
    let expected = contents(&dir.path().join("whole"));

    // One after the other for itself, two at a time: the moments lie where they lie.
    let moment = |moment: u32| -> (bool, bool) {
        let name = format!("run{moment}");
        let run = dir.path().join(&name);
        let mut child = wimhf(dir.path())
            .args(["analyze", "--device", "cpu", "d.parquet", "--out", &name])
            .args(SMALL)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_secs_f64(took.as_secs_f64() * f64::from(moment % 20) / 20.0));
        // SIGKILL on Unix: nothing can be cleaned up.
        child.kill().unwrap();
        let killed = !child.wait().unwrap().success();
        let finished: Vec<String> = if run.join("run.json").exists() {
            statuses(&run).into_iter().map(|(stage, _)| stage).collect()
        } else {
            Vec::new()
        };
        let partial = !finished.is_empty() && !finished.contains(&"report".to_owned());

        let again = analyze(dir.path(), &[&["d.parquet", "--out", name.as_str()], &SMALL[..]].concat());
        assert!(again.status.success(), "after moment {moment}: {}", stderr(&again));
        for (stage, status) in statuses(&run) {
            let expected = if finished.contains(&stage) { "reused" } else { "done" };
            assert_eq!(status, expected, "{stage} after moment {moment}");
        }
        let found = contents(&run);
        assert_eq!(
            expected.keys().collect::<Vec<_>>(),
            found.keys().collect::<Vec<_>>(),
            "no leftovers after moment {moment}"
        );
        for (file, content) in &expected {
            assert!(found[file] == *content, "{} differs after moment {moment}", file.display());
        }
        assert_eq!(again.stdout.len() > 200, whole.stdout.len() > 200);
        (killed, partial)
    };
    let moment = &moment;
    let outcomes: Vec<(bool, bool)> = std::thread::scope(|scope| {
        let half = |odd: u32| scope.spawn(move || (0..10).map(|i| moment(2 * i + odd)).collect::<Vec<_>>());
        [half(0), half(1)].into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    let killed = outcomes.iter().filter(|(killed, _)| *killed).count();
    assert!(killed >= 5, "only {killed} of 20 kills hit the program");
    // Beside other tests the moments drift: go on until one falls between two stages.
    let mut partial = outcomes.iter().any(|(_, partial)| *partial);
    for more in 20..60 {
        partial = partial || moment(more).1;
    }
    assert!(partial, "no kill fell between two stages");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_130_and_the_next_call_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    small(&dir.path().join("d.parquet"), 3000, |i| f64::from(u8::from(i % 3 == 0)));
    let child = wimhf(dir.path())
        .args(["analyze", "--device", "cpu", "d.parquet", "--out", "run"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The lock is there once the handler is installed and work has begun.
    let lock = dir.path().join("run/.lock");
    let patience = Instant::now();
    while !lock.exists() && patience.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let signal = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("goes on"));
    let again = analyze(dir.path(), &["d.parquet", "--out", "run"]);
    assert!(again.status.success(), "{}", stderr(&again));
}

/// Asks to stop once a stage has begun.
struct StopIn<'a> {
    stage: &'a str,
    cancel: wimhf::Cancel,
}

impl wimhf::Observer for StopIn<'_> {
    fn stage(&mut self, name: &str, _: usize) {
        if name == self.stage {
            self.cancel.request();
        }
    }
}

/// Whoever asks to stop while a stage is under way is not kept waiting for its end: every stage looks, and leaves no
/// half of itself. The same call then goes on, and what comes out is what comes out in one go.
#[test]
fn every_stage_stops_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("d.parquet");
    small(&file, 400, |i| f64::from(u8::from(i % 3 == 0)));
    let request = |out: &str| {
        let mut request = wimhf::AnalyzeRequest::new(&file.display().to_string(), dir.path().join(out));
        request.device = wimhf::sae::DeviceChoice::Cpu;
        (request.config.sae.features, request.config.sae.active) = (Some(8), Some(2));
        request
    };
    let stages =
        ["embed", "sentences", "sae", "describe", "themes", "effects", "principles", "report", "score"];
    for stage in stages {
        let request = request("stopped");
        let mut stop = StopIn { stage, cancel: request.context().cancel.clone() };
        let error = wimhf::analyze(&request, &mut stop).map(|_| ()).expect_err(stage);
        assert_eq!(error.kind, wimhf::ErrorKind::Cancelled, "{stage}: {error}");
        let done: Vec<String> =
            statuses(&dir.path().join("stopped")).into_iter().map(|(name, _)| name).collect();
        assert!(!done.iter().any(|name| name == stage), "{stage} was finished: {done:?}");
    }
    wimhf::analyze(&request("stopped"), &mut ()).unwrap();
    wimhf::analyze(&request("whole"), &mut ()).unwrap();
    let (stopped, whole) = (contents(&dir.path().join("stopped")), contents(&dir.path().join("whole")));
    assert!(stopped.keys().eq(whole.keys()));
    for (file, content) in &whole {
        // The page says how long stages took.
        let same = file.ends_with("report.html") || stopped[file] == *content;
        assert!(same, "{}", file.display());
    }
}

/// The verbs on a finished run that take long look, too.
#[test]
fn verbs_stop_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = crate::util::copy_of_sample_run(dir.path());
    let run = wimhf::Run::open(&path).unwrap();
    let before = contents(&path);
    run.context.cancel.request();
    let page = run.report(&wimhf::ops::report::ReportRequest::default()).map(|_| ());
    let constitution = run.constitution(&wimhf::ConstitutionRequest::default(), &mut ()).map(|_| ());
    let personal = run.personalize(&wimhf::PersonalizeRequest::default()).map(|_| ());
    for (verb, outcome) in [("report", page), ("constitution", constitution), ("personalize", personal)] {
        let error = outcome.expect_err(verb);
        assert_eq!(error.kind, wimhf::ErrorKind::Cancelled, "{verb}: {error}");
    }
    assert!(before == contents(&path), "nothing was written");
}
