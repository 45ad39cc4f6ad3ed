//! Stages on stderr: bars on a terminal, silence elsewhere; notes always.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use wimhf::Observer;

/// Who hears what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// Errors alone, which are not said here.
    Nothing,
    /// Sentences that should be read.
    Notes,
    /// These, and bars on a terminal.
    Bars,
    /// These, and a line for every stage wherever stderr goes.
    Stages,
}

/// Shows a run's progress to a person.
pub struct Progress {
    bar: Option<ProgressBar>,
    interactive: bool,
    talk: Talk,
}

/// What a stage does, in words; the names are those of the files.
fn doing(stage: &str) -> &str {
    match stage {
        "read" => "read the data",
        "fetch" => "fetch",
        "pairs" => "write the pairs",
        "embed" => "embed the texts",
        "sentences" => "learn from sentences",
        "sae" => "learn from differences",
        "train" => "learn",
        "describe" => "put into words",
        "themes" => "look for themes",
        "effects" => "measure",
        "principles" => "choose principles",
        "contexts" => "look where it holds",
        "report" => "write the page",
        "forecast" => "count the calls",
        other => other,
    }
}

impl Progress {
    /// What is said to whom.
    pub fn new(talk: Talk) -> Self {
        let interactive = std::io::stderr().is_terminal() && matches!(talk, Talk::Bars | Talk::Stages);
        Self { bar: None, interactive, talk }
    }

    fn say(&self, line: &str) {
        // A closed stderr is no reason to stop the work.
        let _ = writeln!(std::io::stderr(), "{}", wimhf::error::printable(line));
    }
}

impl Observer for Progress {
    fn stage(&mut self, name: &str, total: usize) {
        if !self.interactive {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        let template = if total > 0 {
            "{spinner} {msg:<23} {wide_bar} {human_pos}/{human_len} {elapsed}"
        } else {
            "{spinner} {msg:<23} {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(doing(name).to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.bar = Some(bar);
    }

    fn advance(&mut self, done: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }

    fn finished(&mut self, name: &str, seconds: f64, reused: bool) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.interactive || self.talk == Talk::Stages {
            let what = doing(name);
            if reused {
                self.say(&format!("✓ {what:<23} reused"));
            } else {
                self.say(&format!("✓ {what:<23} {seconds:.1} s"));
            }
        }
    }

    fn note(&mut self, text: &str) {
        if self.talk != Talk::Nothing {
            match &self.bar {
                Some(bar) => bar.suspend(|| self.say(&format!("note: {text}"))),
                None => self.say(&format!("note: {text}")),
            }
        }
    }
}
