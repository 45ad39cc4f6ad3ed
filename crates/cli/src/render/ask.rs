//! What a language model answered, with what it looked at.

use wimhf_explore::ask::Answer;

/// The answer, a warning where a figure is nobody's, and the calls that it rests on.
pub fn answer(found: &Answer) -> String {
    let mut text = format!("{}\n", found.marked());
    if !found.checked {
        text += "\nNot every figure of this answer is one of the run's: those that are not are marked.\n";
    }
    if !found.told.is_empty() {
        text += "\nThe model came to no answer with the tools, so it was told what the run says of the question's words. Go by these lines: \
                 such a model may misread them.\n";
        found.told.iter().for_each(|line| text += &format!("  {line}\n"));
    }
    if !found.calls.is_empty() {
        text += "\nLooked at:\n";
        for one in &found.calls {
            let failed = one.result.get("error").and_then(|error| error.as_str());
            let outcome = failed.map_or(String::new(), |error| format!("  → {error}"));
            text += &format!("  {} {}{outcome}\n", one.tool, one.arguments);
        }
    }
    if !found.pair_ids.is_empty() {
        let ids: Vec<&str> = found.pair_ids.iter().take(10).map(String::as_str).collect();
        text += &format!("Pairs: {}\n", ids.join(", "));
    }
    text
}
