//! What README.md and docs/ say: links lead somewhere, and every command in them runs.

use std::path::{Path, PathBuf};

use crate::util::{analyze, copy_of_sample_run, root, stderr, stdout, wimhf};

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = std::fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.extend(
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md"].map(|name| root().join(name)),
    );
    pages.sort();
    pages
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    let link = regex::Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut seen = 0;
    for page in pages() {
        for found in link.captures_iter(&read(&page)) {
            let target = found[1].split('#').next().unwrap().to_owned();
            if target.is_empty() || target.starts_with("http") {
                continue;
            }
            seen += 1;
            let path = page.parent().unwrap().join(&target);
            assert!(path.exists(), "{}: {target} is not there", page.display());
        }
    }
    assert!(seen > 10);
}

/// Indented lines that call the program, continued lines joined, comments cut off.
fn commands(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let code = line.strip_prefix("    ").map(str::trim_start);
        let Some(code) = code.filter(|code| open || code.starts_with("wimhf ")) else {
            open = false;
            continue;
        };
        // What stands after a gap is said about it.
        let code = code.split("  ").next().unwrap_or(code).trim_end();
        let (code, goes_on) = code.strip_suffix('\\').map_or((code, false), |code| (code.trim_end(), true));
        match found.last_mut() {
            Some(last) if open => *last += &format!(" {code}"),
            _ => found.push(code.to_owned()),
        }
        open = goes_on;
    }
    found
}

/// Words as a shell would split them, without variables.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (_, c) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[test]
fn every_command_in_the_documentation_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    std::fs::create_dir(at.join("runs")).unwrap();
    let run = copy_of_sample_run(&at.join("runs"));
    std::fs::rename(run, at.join("runs/sample")).unwrap();
    let (mut ran, mut parsed) = (0, 0);
    // What several pages say is tried once.
    let mut said = std::collections::HashSet::new();
    for page in pages() {
        for command in commands(&read(&page)) {
            if !said.insert(command.clone()) {
                continue;
            }
            let words: Vec<String> = words(&command).into_iter().skip(1).filter(|w| w != "--open").collect();
            let first = words.first().map_or("", String::as_str);
            // Not the user's own cache, and nobody's server.
            let kept = matches!(first, "analyze" | "cache" | "judge");
            if kept || !words.iter().all(|word| runs_here(word)) {
                // It needs files that are not here: its words are checked all the same.
                let output = wimhf(at).args(&words).arg("--no-such-option").output().unwrap();
                assert!(stderr(&output).contains("--no-such-option"), "{command}: {}", stderr(&output));
                parsed += 1;
                continue;
            }
            let output = wimhf(at).args(&words).output().unwrap();
            assert!(output.status.success(), "{}: {command}: {}", page.display(), stderr(&output));
            assert!(!stdout(&output).is_empty(), "{command} says nothing");
            ran += 1;
        }
    }
    assert!(ran >= 3 && parsed >= 3, "{ran} ran, {parsed} parsed");
}

/// A word of a command that names no file, or one that the test has.
fn runs_here(word: &str) -> bool {
    let file = word.contains('/') || Path::new(word).extension().is_some();
    !file || word == "runs/sample"
}

#[test]
fn the_program_shows_completes_and_describes_itself() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let run = |arguments: &[&str]| {
        let output = wimhf(at).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    };
    // The help fits a screen, and every subcommand's has examples.
    let help = run(&["--help"]);
    assert!(help.lines().count() <= 40, "{help}");
    let names: Vec<String> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect();
    assert!(names.iter().any(|name| name == "analyze") && names.len() >= 7, "{names:?}");
    for name in &names {
        assert!(run(&[name, "--help"]).contains("Example"), "{name} has no example");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completions", shell]).contains("analyze"), "{shell}");
    }
    assert!(run(&["man"]).contains(".TH wimhf 1"));
    run(&["man", "--out", "man"]);
    assert!(std::fs::read_to_string(at.join("man/wimhf-analyze.1")).unwrap().contains("autoencoder"));

    let told = run(&["demo", "--quiet"]);
    assert!(told.contains("refuses or") && told.contains("made up"), "{told}");
    assert!(at.join("wimhf-demo/run/report.html").exists());
    // A second time everything is there; the log says so.
    let output =
        analyze(at, &["wimhf-demo/sample.parquet", "--out", "wimhf-demo/run", "--log", "m.jsonl", "--force"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(at.join("m.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["sae/validation_loss"].as_f64()).collect();
    assert!(losses.len() >= 10 && losses.last() < losses.first(), "{losses:?}");
    let last = lines.last().unwrap();
    let auc =
        crate::util::json(&at.join("wimhf-demo/run/run.json"))["metrics"]["auc"]["known"]["value"].as_f64();
    assert_eq!(last["auc/known/value"].as_f64(), auc);
    assert!(auc.is_some());
}
