//! `WIMHF_LOG=debug`: what happens inside, on stderr, for whoever looks for a fault.

use std::io::Write;
use std::time::Instant;

use log::{LevelFilter, Log, Metadata, Record};
use wimhf::error::printable;

/// What is logged by this program's own parts: libraries below may say more than anybody should see.
const OWN: &str = "wimhf";

struct ToStderr {
    began: Instant,
}

impl Log for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OWN)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            let seconds = self.began.elapsed().as_secs_f64();
            // A closed stderr is no reason to stop.
            let _ = writeln!(
                std::io::stderr(),
                "{seconds:9.3} {:<5} {}: {}",
                record.level().as_str().to_lowercase(),
                record.target(),
                printable(&text)
            );
        }
    }

    fn flush(&self) {}
}

/// Listens from the level on that a variable names; not at all where it names none.
pub fn listen(level: Option<&str>) {
    let Some(level) = level.and_then(|text| text.trim().parse::<LevelFilter>().ok()) else { return };
    // Another one is there where a program calls this twice.
    if log::set_boxed_logger(Box::new(ToStderr { began: Instant::now() })).is_ok() {
        log::set_max_level(level);
    }
}
