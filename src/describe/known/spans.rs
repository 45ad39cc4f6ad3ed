//! Where in a response a concept shows: the sentences or lines that its detector reacts to.

use super::measures::{Measure, Prompt};
use super::text::{Text, marker};
use super::{ConceptBank, Detector, How, Place};

/// Measures of the response as a whole: no sentence has them more than another.
const WHOLE: [&str; 9] = [
    "words",
    "sentence_length",
    "long_words",
    "paragraphs",
    "few_words",
    "verse",
    "off_topic",
    "repeats_itself",
    "other_language",
];

impl ConceptBank {
    /// The parts of a response in which a concept shows, as byte ranges in order that do not overlap; none
    /// where it does not, or where it is a property of the response as a whole.
    pub fn places(&self, concept: &str, prompt: &str, response: &str) -> Vec<(usize, usize)> {
        let found = self.concepts.iter().position(|other| other.id == concept);
        let Some(detector) = found.and_then(|at| self.detectors.get(at)) else { return Vec::new() };
        let prompt = Prompt::new(prompt);
        let (text, sentences) = Text::with_places(response);
        let mut places = detector.matched(&text, &sentences);
        if let (Some(name), Some(measure)) = (detector.measured, detector.measure)
            && !WHOLE.contains(&name)
        {
            places.extend(measured(name, measure, &text, &sentences, &prompt));
        }
        // What every sentence has is no property of any of them.
        if detector.matches.is_none() && sentences.len() > 2 && places.len() >= sentences.len() {
            return Vec::new();
        }
        join(places)
    }
}

impl Detector {
    /// Sentences with a match that counts.
    fn matched(&self, text: &Text<'_>, sentences: &[(usize, usize)]) -> Vec<(usize, usize)> {
        let Some(matches) = &self.matches else { return Vec::new() };
        let all = sentences.len();
        let read = match self.place {
            Place::Anywhere => 0..all,
            Place::Start => 0..all.min(2),
            Place::End => all.saturating_sub(2)..all,
        };
        let mut found = Vec::new();
        for (index, place) in sentences.iter().enumerate().take(read.end).skip(read.start) {
            let sentence = text.sentence(index);
            let excused = || self.unless.as_ref().is_some_and(|unless| unless.is_match(sentence));
            if matches.is_match(sentence) && !excused() {
                found.push(*place);
                // One is enough to be there; the others would only say it again.
                if self.how == How::Present && found.len() >= 3 {
                    break;
                }
            }
        }
        found
    }
}

/// What a measure counts: lines for layout, else the sentences that have it by themselves.
fn measured(
    name: &str,
    measure: Measure,
    text: &Text<'_>,
    sentences: &[(usize, usize)],
    prompt: &Prompt,
) -> Vec<(usize, usize)> {
    let alone = |part: &str| measure(&Text::new(part), prompt) > 0.0;
    let last = sentences.len().saturating_sub(1);
    match name {
        "list_items" => lines(text.raw, |line| marker(line.trim_start()).is_some()),
        "numbered_items" => {
            lines(text.raw, |line| marker(line.trim_start()).is_some_and(|(_, number)| number))
        }
        "table_rows" => lines(text.raw, |line| line.trim_start().starts_with('|')),
        "code_blocks" => fenced(text.raw),
        "headings" | "bold" | "italics" | "block_quotes" => lines(text.raw, alone),
        "closing_question" | "breaks_off" if measure(text, prompt) > 0.0 => {
            sentences.last().copied().into_iter().collect()
        }
        "closing_question" | "breaks_off" => Vec::new(),
        "inner_questions" => (sentences.iter().enumerate())
            .filter(|&(index, _)| index < last && text.sentence(index).ends_with('?'))
            .map(|(_, place)| *place)
            .collect(),
        _ => (sentences.iter().copied())
            .filter(|&(from, to)| text.raw.get(from..to).is_some_and(alone))
            .collect(),
    }
}

/// The lines that fit, without surrounding white space.
fn lines(raw: &str, mut fits: impl FnMut(&str) -> bool) -> Vec<(usize, usize)> {
    let mut fence = false;
    raw.lines()
        .filter(|line| {
            let mark = line.trim_start();
            let border = mark.starts_with("```") || mark.starts_with("~~~");
            fence ^= border;
            !border && !fence && !line.trim().is_empty() && fits(line)
        })
        .map(|line| place(raw, line.trim()))
        .collect()
}

/// Code blocks with their fences.
fn fenced(raw: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut open: Option<usize> = None;
    for line in raw.lines() {
        let mark = line.trim();
        if mark.starts_with("```") || mark.starts_with("~~~") {
            let (from, to) = place(raw, mark);
            match open.take() {
                None => open = Some(from),
                Some(start) => found.push((start, to)),
            }
        }
    }
    found.extend(open.map(|start| (start, raw.len())));
    found
}

/// Where a part of `raw` stands in it.
fn place(raw: &str, part: &str) -> (usize, usize) {
    let from = part.as_ptr() as usize - raw.as_ptr() as usize;
    (from, from + part.len())
}

/// In order, those that overlap or repeat made one.
fn join(mut places: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    places.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::with_capacity(places.len());
    for (from, to) in places {
        match joined.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(concept: &str, response: &'a str) -> Vec<&'a str> {
        let bank = ConceptBank::boxed().unwrap();
        bank.places(concept, "How do I bake?", response).into_iter().map(|(a, b)| &response[a..b]).collect()
    }

    #[test]
    fn a_concept_shows_where_it_is() {
        let text = "Hello there.\n\nI'm sorry, but I can't help with that. Take care of 3 eggs! 😀\n\n- one\n- two\n\nShall we?";
        assert_eq!(found("refuses", text), ["I'm sorry, but I can't help with that."]);
        assert_eq!(found("lists", text), ["- one", "- two"]);
        assert_eq!(found("emoji", text), ["😀"]);
        assert_eq!(found("closing_question", text), ["Shall we?"]);
        assert_eq!(found("exclamation", text), ["Take care of 3 eggs!"]);
        assert_eq!(found("code", "Run:\n```sh\nls\n```\ndone"), ["```sh\nls\n```"]);
        assert_eq!(found("longer", text), Vec::<&str>::new());
        assert_eq!(found("no such concept", text), Vec::<&str>::new());
    }

    /// Whatever the text, ranges are in order, on character boundaries, and only where the concept is.
    #[test]
    fn places_are_sound_on_the_banks_own_examples() {
        let bank = ConceptBank::boxed().unwrap();
        let path = std::path::Path::new("data/concepts.toml");
        let (mut shown, mut all) = (0, 0);
        for entry in super::super::parse(super::super::BOXED, path).unwrap() {
            for example in entry.yes.iter().chain(&entry.no) {
                let (prompt, response) = example.parts();
                let places = bank.places(&entry.id, prompt, response);
                let mut end = 0;
                for (from, to) in &places {
                    assert!(*from >= end && from < to && response.get(*from..*to).is_some(), "{response:?}");
                    end = *to;
                }
            }
            for example in &entry.yes {
                let (prompt, response) = example.parts();
                all += 1;
                shown += usize::from(!bank.places(&entry.id, prompt, response).is_empty());
            }
        }
        assert!(shown * 4 > all * 3, "{shown} of {all} examples show where");
    }
}
