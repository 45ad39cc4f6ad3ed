//! The pages in a real browser; needs Node.js, Chromium and `npm ci --prefix tests/web`, as `.ci/run` has them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::util::{analyze, data, root, small, stderr, stdout, wimhf};

/// Walks through the pages by mouse and by keyboard; see `tests/web/walk.mjs`.
pub fn walk(pages: &[PathBuf]) {
    let script = root().join("tests/web/walk.mjs");
    assert!(
        root().join("tests/web/node_modules").is_dir(),
        "the page's test needs its browser driver: npm ci --prefix tests/web"
    );
    let mut command = Command::new("node");
    command.arg(script).args(pages);
    if let Some(folder) = std::env::var_os("WIMHF_SHOTS") {
        command.arg("--shots").arg(folder);
    }
    let output = command.output().expect("Node.js is installed");
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(stdout(&output).matches(": walked").count(), pages.len());
}

/// What a person decides on the page of a review is what the program then does.
#[test]
#[ignore = "needs Chromium and `npm ci --prefix tests/web`; `.ci/run` runs it"]
fn labels_are_decided_on_the_page_and_the_table_is_carried_out() {
    let dir = tempfile::tempdir().unwrap();
    let run = crate::util::copy_of_sample_run(dir.path());
    let call = |arguments: &[&str]| {
        let output = wimhf(dir.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    };
    call(&["relabel", "run", "--preset", "safety"]);
    let page = run.join("relabel/review.html");
    let mut command = Command::new("node");
    command.arg(root().join("tests/web/review.mjs")).arg(&page);
    let output = command.output().expect("Node.js is installed");
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains(": decided"));
    let done = call(&["relabel", "run", "--decisions", "run/relabel/saved.csv", "--out", "d.parquet"]);
    assert!(
        done.contains("1 rejected") && ["drop 1", "flip 1"].iter().all(|one| done.contains(one)),
        "{done}"
    );
}

/// A dataset whose every text tries something, with two planted preferences.
fn hostile(path: &Path) {
    let evil = [
        "</script><script>window.touched=1;alert(1)</script>",
        "<img src=x onerror=\"window.touched=1\">",
        "\u{202e}\u{0}<svg onload=window.touched=1>",
        "]]><!--<script>",
        "&lt;b&gt; \" ' ` ${window.touched=1} {{7*7}}",
        "عربي نص من اليمين إلى اليسار שלום",
        "\u{2028}\u{2029}<iframe src='https://example.com'>",
        "<style>*{display:none}</style>",
        "javascript:alert(1)",
        "😀😀😀😀",
    ];
    let text = |i: usize, side: usize| {
        let mut text = format!("{} answer {i} side {side}. ", evil[(i * 3 + side) % evil.len()]);
        if (i + side).is_multiple_of(3) {
            text += "I'm sorry, but I can't help with that. ";
        }
        if (i * 7 + side).is_multiple_of(4) {
            text += "\n- one\n- two </script>\n- three";
        }
        if (3..7).contains(&i) {
            text += &if side == 0 { "x" } else { "<" }.repeat(100_000);
        }
        text
    };
    let rows: String = (0..500)
        .map(|i| {
            let score = |side: usize| {
                2 * i32::from((i * 7 + side).is_multiple_of(4)) - i32::from((i + side).is_multiple_of(3))
            };
            let label = match score(0) - score(1) {
                0 => (i / 2) % 2,
                // One in eight goes against it, so that there is evidence of both kinds.
                d => usize::from((d > 0) != (i % 8 == 5)),
            };
            serde_json::json!({
                "prompt": format!("{} prompt {i}\r\n\u{7}", evil[i % evil.len()]),
                "response_A": text(i, 0),
                "response_B": text(i, 1),
                "label": label,
                "annotator_id": format!("{}{}", evil[(i * 7) % evil.len()], i % 9),
            })
            .to_string()
                + "\n"
        })
        .collect();
    std::fs::write(path, rows).unwrap();
}

#[test]
#[ignore = "needs Node.js, Chromium and `npm ci --prefix tests/web`; `.ci/run` runs it"]
fn every_control_of_the_report_works_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let run = |data: &str, name: &str| {
        let output = analyze(dir.path(), &[data, "--out", name, "--quiet"]);
        assert!(output.status.success(), "{}", stderr(&output));
        at(name).join("report.html")
    };
    let mut pages = vec![run(&data("sample.parquet"), "sample")];
    hostile(&at("<img src=x onerror=alert(1)>.jsonl"));
    pages.push(run("<img src=x onerror=alert(1)>.jsonl", "hostile"));
    // No labels: nothing is rewarded, and the pairs can be read all the same.
    small(&at("plain.parquet"), 200, |i| (i % 2) as f64);
    let unlabelled = crate::util::parquet(&at("plain.parquet")).drop("label").unwrap();
    crate::util::write(&at("unlabelled.parquet"), unlabelled);
    pages.push(run("unlabelled.parquet", "unlabelled"));
    let output =
        wimhf(dir.path()).args(["report", "sample", "--anonymise", "--out", "shared.html"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "shared.html\n");
    pages.push(at("shared.html"));
    let output =
        wimhf(dir.path()).args(["compare", "sample", "hostile", "--out", "compared"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    pages.push(at("compared/comparison.html"));
    // Real data, where it lies beside the checkout.
    let real = root().join("../shared/data/hh_harmless_base_test.parquet");
    if real.exists() {
        pages.push(run(&real.display().to_string(), "hh"));
    }
    walk(&pages);
}

#[test]
fn a_report_names_nobody_when_told_not_to_and_holds_hostile_text_as_text() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    hostile(&at("d.jsonl"));
    let output = analyze(dir.path(), &["d.jsonl", "--out", "run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let page = std::fs::read_to_string(at("run/report.html")).unwrap();
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    // Two scripts, data and ours, and none of the texts' markup.
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    for markup in ["<img", "<iframe", "<svg onload", "<style>*", "\u{202e}", "\u{2028}"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert!(page.contains("Annotator") || page.contains("\"w\":"), "annotators are named");
    let output = wimhf(dir.path()).args(["report", "run", "--anonymise"]).output().unwrap();
    assert_eq!(stdout(&output), "run/report.anonymised.html\n", "{}", stderr(&output));
    let page = std::fs::read_to_string(at("run/report.anonymised.html")).unwrap();
    assert!(!page.contains("\"w\":") && !page.contains("example.com"));
    // Reading the run again changes none of its files.
    let output = wimhf(dir.path()).args(["report", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("wimhf analyze DATA --out nowhere"), "{}", stderr(&output));
}
