//! What README.md and docs/ say: links lead somewhere, and every command in them runs.

use std::path::{Path, PathBuf};

use crate::util::{analyze, copy_of_sample_run, root, stderr, stdout, wimhf};

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = ["docs", "docs/tutorials"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.extend(
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md"].map(|name| root().join(name)),
    );
    pages.sort();
    pages
}

/// What a heading is called in a link: GitHub's and mdBook's way.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
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
            let (target, part) = found[1].split_once('#').unwrap_or((&found[1], ""));
            if target.starts_with("http") {
                continue;
            }
            seen += 1;
            let path = if target.is_empty() { page.clone() } else { page.parent().unwrap().join(target) };
            assert!(path.exists(), "{}: {target} is not there", page.display());
            if !part.is_empty() && path.extension().is_some_and(|extension| extension == "md") {
                let headings = read(&path);
                let mut headings = headings.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|there| there == part), "{}: {target} has no {part}", page.display());
            }
        }
    }
    assert!(seen > 10);
}

/// Every page of the site stands in its list, once.
#[test]
fn the_site_lists_every_page() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    for page in pages() {
        let Ok(name) = page.strip_prefix(root().join("docs")) else { continue };
        let name = name.display().to_string().replace('\\', "/");
        if name != "SUMMARY.md" {
            assert_eq!(summary.matches(&format!("]({name})")).count(), 1, "{name} in docs/SUMMARY.md");
        }
    }
}

/// A line without its numbers and the room that they take.
fn without_figures(line: &str) -> String {
    let plain = |c: char| if c.is_ascii_digit() || "+−.,<[]".contains(c) { ' ' } else { c };
    line.chars().map(plain).collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A tutorial is done as it is read: its commands in their order, each from where the one before left.
#[test]
fn tutorials_can_be_followed() {
    for name in ["rewards", "harmful", "personal"] {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        std::fs::create_dir_all(at.join("runs")).unwrap();
        std::fs::create_dir(at.join("data")).unwrap();
        std::fs::copy(root().join("data/sample.parquet"), at.join("data/sample.parquet")).unwrap();
        // What was analysed before is there already: the tests' sample with the tutorials' seed.
        std::fs::rename(copy_of_sample_run(&at.join("runs")), at.join("runs/sample")).unwrap();
        let text = read(&root().join(format!("docs/tutorials/{name}.md")));
        let commands = commands(&text);
        assert!(commands.len() >= 4, "{name}: {commands:?}");
        let mut said = String::new();
        for command in commands {
            let words: Vec<String> = words(&command).into_iter().skip(1).filter(|w| w != "--open").collect();
            let output = wimhf(at).args(&words).env("COLUMNS", "100").output().unwrap();
            assert!(output.status.success(), "{name}: {command}: {}", stderr(&output));
            said += &stdout(&output);
        }
        // The lines that the tutorial quotes are what the program says; figures move with the method, words do not.
        let quoted: Vec<&str> = text
            .split("```text\n")
            .skip(1)
            .flat_map(|block| block.split("```").next().unwrap_or("").lines())
            .filter(|line| !line.trim().is_empty() && *line != "…")
            .collect();
        assert!(quoted.len() >= 3, "{name} shows little of what it is about");
        let is_said = |line: &&str| said.lines().any(|there| without_figures(there) == without_figures(line));
        let gone: Vec<&str> = quoted.into_iter().filter(|line| !is_said(line)).collect();
        // One line may have moved with the method; more, and the tutorial is of another program.
        assert!(gone.len() <= 1, "{name} quotes what nobody says: {gone:#?}\n{said}");
    }
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
            let kept = matches!(first, "analyze" | "cache" | "config" | "judge" | "runs");
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
    assert!(help.lines().count() <= 50, "{help}");
    let names: Vec<String> = help
        .lines()
        .skip_while(|line| !line.starts_with("Begin:"))
        .take_while(|line| !line.starts_with("General options:"))
        .filter_map(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
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
