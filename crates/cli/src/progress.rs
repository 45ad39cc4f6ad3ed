//! Stages on stderr: bars on a terminal, silence elsewhere; notes always.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use wimhf::Observer;

/// Shows a run's progress to a person.
pub struct Progress {
    bar: Option<ProgressBar>,
    interactive: bool,
    quiet: bool,
}

impl Progress {
    /// `quiet` leaves only errors.
    pub fn new(quiet: bool) -> Self {
        Self { bar: None, interactive: std::io::stderr().is_terminal() && !quiet, quiet }
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
            "{spinner} {msg:<11} {wide_bar} {human_pos}/{human_len} {elapsed}"
        } else {
            "{spinner} {msg:<11} {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
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
        if self.interactive {
            if reused {
                self.say(&format!("✓ {name:<11} reused"));
            } else {
                self.say(&format!("✓ {name:<11} {seconds:.1} s"));
            }
        }
    }

    fn note(&mut self, text: &str) {
        if !self.quiet {
            match &self.bar {
                Some(bar) => bar.suspend(|| self.say(&format!("note: {text}"))),
                None => self.say(&format!("note: {text}")),
            }
        }
    }
}
