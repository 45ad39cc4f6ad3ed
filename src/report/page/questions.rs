//! What was asked of the run beside its principles: two judges, the models, people's reasons. Each is on the page where its
//! record lies in the run.

use std::collections::HashMap;
use std::fmt::Write;

use serde::Deserialize;

use crate::audit::{Among, Audit};
use crate::describe::Feature;
use crate::ratings::{ModelRatings, Style};
use crate::reasons::{Reasons, Verdict, Wanted};
use crate::report::html::escape;
use crate::report::mask;
use crate::report::plots::{self, Interval, Scale};
use crate::report::text::{points, thousands};
use crate::store::Estimate;

/// Features of an audit that are listed where fewer differ.
const LISTED: usize = 12;
/// Features in which annotators agree least that are listed.
const LEAST: usize = 8;
/// Models that are listed.
const MODELS: usize = 40;
/// Features whose worth in rating points is said.
const WORTH: usize = 6;
/// What a model does more and less of, that is said.
const TRAITS: usize = 3;
/// Features that reasons name, that are listed.
const NAMED: usize = 20;
/// Themes that are listed.
const THEMES: usize = 8;

/// `audit/audit.json`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct AuditRecord {
    /// What the judge is called; nothing where there was none.
    pub judge: Option<String>,
    /// What it is held against.
    #[serde(default)]
    pub reference: String,
    /// What differs.
    #[serde(flatten)]
    pub found: Option<Audit>,
    /// The annotators among themselves.
    #[serde(default)]
    pub annotators: Option<Among>,
}

/// What lies in the run, each where it was asked for.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    /// Two judges.
    pub audit: Option<AuditRecord>,
    /// Models.
    pub models: Option<ModelRatings>,
    /// People's reasons.
    pub reasons: Option<Reasons>,
    /// Commands whose records are of an earlier analysis.
    pub outdated: Vec<&'static str>,
}

impl Questions {
    /// Leaves out what was asked of an earlier analysis in the same folder, whose features had other words.
    pub fn keep_current(&mut self, features: &[Feature]) {
        let words: HashMap<&str, &str> =
            features.iter().map(|own| (own.feature_id.as_str(), own.description.as_str())).collect();
        let same = |id: &str, description: &str| words.get(id).is_some_and(|words| *words == description);
        let audit = self.audit.as_ref().is_none_or(|audit| {
            let found = audit.found.iter().flat_map(|found| &found.features);
            let people = audit.annotators.iter().flat_map(|found| &found.features);
            found.map(|row| (&row.feature_id, &row.description)).all(|(id, text)| same(id, text))
                && people.map(|row| (&row.feature_id, &row.description)).all(|(id, text)| same(id, text))
        });
        let models = self.models.as_ref().is_none_or(|found| {
            let mut traits = found.models.iter().flat_map(|row| &row.traits);
            traits.all(|own| same(&own.feature_id, &own.description))
        });
        let reasons = self
            .reasons
            .as_ref()
            .is_none_or(|found| found.features.iter().all(|row| same(&row.feature_id, &row.description)));
        for (current, name) in [(audit, "audit"), (models, "models"), (reasons, "reasons")] {
            if !current {
                self.outdated.push(name);
            }
        }
        self.audit.take_if(|_| !audit);
        self.models.take_if(|_| !models);
        self.reasons.take_if(|_| !reasons);
    }

    /// Without what is personal: models by number, texts masked, no quotes of what people wrote.
    pub fn anonymise(&mut self) {
        let masked = |text: &mut String| *text = mask(text).into_owned();
        if let Some(audit) = &mut self.audit {
            // A judge may be called by a person's name or a file's.
            audit.judge = audit.judge.as_ref().map(|_| "the judge".to_owned());
            audit.reference = "the reference".to_owned();
            for row in audit.found.iter_mut().flat_map(|found| &mut found.features) {
                masked(&mut row.description);
            }
            audit.found.iter_mut().for_each(|found| found.notes.clear());
            for row in audit.annotators.iter_mut().flat_map(|found| &mut found.features) {
                masked(&mut row.description);
            }
        }
        if let Some(models) = &mut self.models {
            for (at, row) in models.models.iter_mut().enumerate() {
                row.model = format!("model {}", at + 1);
                row.note = None;
                row.traits.iter_mut().for_each(|own| masked(&mut own.description));
            }
            models.style.iter_mut().chain(&mut models.all).for_each(|style| masked(&mut style.description));
            models.notes.clear();
        }
        if let Some(reasons) = &mut self.reasons {
            reasons.features.iter_mut().for_each(|row| masked(&mut row.description));
            reasons.themes.iter_mut().for_each(|theme| theme.quotes.clear());
            reasons.themes.iter_mut().flat_map(|theme| &mut theme.words).for_each(masked);
            reasons.notes.clear();
        }
    }

    /// Entries of the page's contents.
    pub(super) fn entries(&self) -> String {
        let mut out = String::new();
        for (there, id, name) in [
            (self.audit.is_some(), "judges", "Judges"),
            (self.models.is_some(), "models", "Models"),
            (self.reasons.is_some(), "reasons", "Reasons"),
        ] {
            if there {
                out.push_str(&format!("<li><a href=\"#{id}\">{name}</a></li>"));
            }
        }
        out
    }

    /// The sections; `opener` makes a feature's words a button where the page holds its evidence.
    pub(super) fn write(&self, out: &mut String, opener: &dyn Fn(&str, &str) -> String) -> std::fmt::Result {
        if let Some(audit) = &self.audit {
            out.push_str("<section aria-labelledby=\"judges\"><h2 id=\"judges\">Between whom</h2>\n");
            if let Some(found) = &audit.found {
                let judge = audit.judge.as_deref().unwrap_or("the judge");
                judges(out, found, judge, &audit.reference, opener)?;
            }
            if let Some(found) = &audit.annotators {
                annotators(out, found, opener)?;
            }
            out.push_str("</section>\n");
        }
        if let Some(found) = &self.models {
            models(out, found)?;
        }
        if let Some(found) = &self.reasons {
            reasons(out, found, opener)?;
        }
        for name in &self.outdated {
            writeln!(
                out,
                "<p class=\"soft\">What <code>wimhf {name}</code> found is of an earlier analysis and left out: call it again.</p>"
            )?;
        }
        Ok(())
    }
}

/// "70 [66, 74]", of 100.
fn of_100(share: &Estimate) -> String {
    format!("{:.0} [{:.0}, {:.0}]", share.value * 100.0, share.low * 100.0, share.high * 100.0)
}

fn in_points(of: &Estimate) -> String {
    format!("{} [{}, {}]", points(of.value), points(of.low), points(of.high))
}

fn alpha(of: &Estimate) -> String {
    format!("{:.2} [{:.2}, {:.2}]", of.value, of.low, of.high).replace('-', "−")
}

/// The head of a table whose columns have these names; the first one names the rows.
fn table(out: &mut String, caption: &str, columns: &[&str]) -> std::fmt::Result {
    write!(out, "<div class=\"wide\"><table class=\"stack\"><caption>{caption}</caption><thead><tr>")?;
    for (at, name) in columns.iter().enumerate() {
        let class = if at == 0 || name.is_empty() { "" } else { " class=\"n\"" };
        // A column of drawings says nothing to a screen reader.
        let name = if name.is_empty() { "<span aria-hidden=\"true\"></span>" } else { name };
        write!(out, "<th scope=\"col\"{class}>{name}</th>")?;
    }
    out.push_str("</tr></thead><tbody>\n");
    Ok(())
}

fn notes(out: &mut String, notes: &[String]) -> std::fmt::Result {
    for note in notes {
        writeln!(out, "<p class=\"soft\">Note: {}.</p>", escape(note))?;
    }
    Ok(())
}

/// Two judges on the same pairs.
fn judges(
    out: &mut String,
    found: &Audit,
    judge: &str,
    reference: &str,
    opener: &dyn Fn(&str, &str) -> String,
) -> std::fmt::Result {
    let (judge, reference) = (escape(judge), escape(reference));
    let kappa = found
        .kappa
        .map_or(String::new(), |kappa| format!("; beyond chance {kappa:.2} of 1").replace('-', "−"));
    write!(
        out,
        "<p><strong>{judge}</strong> beside {reference}, on the same {} pairs: both prefer the same response in {} of 100{kappa}. ",
        thousands(found.pairs),
        of_100(&found.agreement)
    )?;
    let differing = found.features.iter().filter(|row| row.differs).count();
    match differing {
        0 => write!(out, "Of {} features none is rewarded differently beyond chance.", found.features.len())?,
        1 => write!(out, "One of {} features is rewarded differently beyond chance.", found.features.len())?,
        n => write!(out, "{n} of {} features are rewarded differently beyond chance.", found.features.len())?,
    }
    if let Some(auc) = &found.disagreement_auc {
        write!(
            out,
            " Where the two disagree, length and features tell whom {judge} prefers {} times in 100 (guessing: 50).",
            of_100(auc)
        )?;
    }
    out.push_str("</p>\n");
    let most = differing.max(LISTED.min(found.features.len()));
    if most > 0 {
        let shown = &found.features[..most];
        let ends = shown.iter().flat_map(|row| [row.difference.low, row.difference.high]);
        let scale = Scale::around(0.0, 0.2, ends);
        let axis = plots::axis(&scale, |x| plots::label(format!("{:.0}", x * 100.0)));
        let caption = format!(
            "How many points more often a response wins with {judge} than with {reference}; length held fixed, except where it is the feature"
        );
        let plot = format!("<span>difference in points</span>{axis}");
        let (with, without) = (format!("with {judge}"), format!("with {reference}"));
        table(
            out,
            &caption,
            &["The response …", &plot, "95 % interval", &with, &without, "pairs", "beyond chance"],
        )?;
        for row in shown {
            let colour = match row.differs {
                true if row.difference.value > 0.0 => plots::GOOD,
                true => plots::BAD,
                false => plots::SOFT,
            };
            let Estimate { value, low, high, n } = row.difference;
            writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td class=\"forest\">{}</td><td class=\"n\" data-name=\"Difference\">{}</td>\
                 <td class=\"n\" data-name=\"{with}\">{}</td><td class=\"n\" data-name=\"{without}\">{}</td>\
                 <td class=\"n\" data-name=\"Pairs\">{}</td><td class=\"n\" data-name=\"Beyond chance\">{}</td></tr>",
                opener(&row.feature_id, &row.description),
                plots::row(Some(Interval { value, low, high }), &scale, colour),
                in_points(&row.difference),
                points(row.judge.value),
                points(row.reference.value),
                thousands(n),
                if row.differs { "yes" } else { "no" }
            )?;
        }
        out.push_str("</tbody></table></div>\n");
    }
    if most < found.features.len() {
        writeln!(
            out,
            "<p class=\"soft\">{} more stand in <code>audit/audit.csv</code>.</p>",
            found.features.len() - most
        )?;
    }
    notes(out, &found.notes)
}

/// The annotators among themselves.
fn annotators(out: &mut String, found: &Among, opener: &dyn Fn(&str, &str) -> String) -> std::fmt::Result {
    writeln!(
        out,
        "<p>{} annotators among themselves, on {} pairs that several judged: agreement {} (Krippendorff’s α; 1: all agree, 0: as often as by chance).</p>",
        thousands(found.people),
        thousands(found.alpha.n),
        alpha(&found.alpha)
    )?;
    if found.features.is_empty() {
        return Ok(());
    }
    table(out, "Where they agree least", &["One response …", "agreement (α)", "pairs"])?;
    for row in found.features.iter().take(LEAST) {
        writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"n\" data-name=\"Agreement\">{}</td><td class=\"n\" data-name=\"Pairs\">{}</td></tr>",
            opener(&row.feature_id, &row.description),
            alpha(&row.alpha),
            thousands(row.alpha.n)
        )?;
    }
    out.push_str("</tbody></table></div>\n");
    Ok(())
}

fn rating(of: Option<&Estimate>) -> String {
    of.map_or_else(|| "–".to_owned(), |of| format!("{:.0} [{:.0}, {:.0}]", of.value, of.low, of.high))
}

/// Which models win, and why.
fn models(out: &mut String, found: &ModelRatings) -> std::fmt::Result {
    writeln!(
        out,
        "<section aria-labelledby=\"models\"><h2 id=\"models\">Why this model wins</h2>\n<p>{} models in {} comparisons on {} prompts. \
         A rating of 1000 is the mean; 400 more wins ten times as often (Bradley–Terry, 95 % intervals). The second rating is what is \
         left with length and format held fixed, the third with everything that this page can measure.</p>",
        thousands(found.models.len()),
        thousands(found.battles),
        thousands(found.prompts)
    )?;
    table(
        out,
        "Models, the best rating first",
        &["Model", "wins of 100", "comparisons", "rating", "same length and format", "all held fixed"],
    )?;
    for row in found.models.iter().take(MODELS) {
        let [place, best, worst] = row.rank;
        let places = if best == worst { place.to_string() } else { format!("{place} ({best}–{worst})") };
        writeln!(
            out,
            "<tr><th scope=\"row\">{}{} <span class=\"soft\">place {places}</span></th><td class=\"n\" data-name=\"Wins of 100\">{}</td>\
             <td class=\"n\" data-name=\"Comparisons\">{}</td><td class=\"n\" data-name=\"Rating\">{}</td>\
             <td class=\"n\" data-name=\"Same length and format\">{}</td><td class=\"n\" data-name=\"All held fixed\">{}</td></tr>",
            escape(&row.model),
            if row.note.is_some() { " *" } else { "" },
            of_100(&row.win_rate),
            thousands(row.battles),
            rating(row.rating.as_ref()),
            rating(row.rating_style.as_ref()),
            rating(row.rating_all.as_ref())
        )?;
    }
    out.push_str("</tbody></table></div>\n");
    if found.models.len() > MODELS {
        writeln!(
            out,
            "<p class=\"soft\">{} more stand in <code>models/models.csv</code>.</p>",
            found.models.len() - MODELS
        )?;
    }
    worth(out, found)?;
    traits(out, found)?;
    for row in &found.models {
        if let Some(note) = &row.note {
            writeln!(out, "<p class=\"soft\">* {}: {}.</p>", escape(&row.model), escape(note))?;
        }
    }
    notes(out, &found.notes)?;
    out.push_str("</section>\n");
    Ok(())
}

/// What features are worth in rating points, the largest first.
fn worth(out: &mut String, found: &ModelRatings) -> std::fmt::Result {
    for (name, held) in [("Length and format", &found.style), ("Everything", &found.all)] {
        let sure = |style: &&Style| style.points.low > 0.0 || style.points.high < 0.0;
        let mut sure: Vec<&Style> = held.iter().filter(sure).collect();
        sure.sort_by(|x, y| y.points.value.abs().total_cmp(&x.points.value.abs()));
        let said: Vec<String> = (sure.iter().take(WORTH))
            .map(|style| {
                format!("{} {:+.0}", escape(&style.description), style.points.value).replace('-', "−")
            })
            .collect();
        if !said.is_empty() {
            writeln!(
                out,
                "<p>{name}, in rating points for one standard deviation more: {}.</p>",
                said.join("; ")
            )?;
        }
    }
    Ok(())
}

/// What each model does more or less often than those it meets.
fn traits(out: &mut String, found: &ModelRatings) -> std::fmt::Result {
    let mut listed = false;
    for row in found.models.iter().take(MODELS).filter(|row| !row.traits.is_empty()) {
        if !listed {
            out.push_str("<p>What a model does more (+) or less (−) often than those it meets, in points of 100:</p><ul>");
            listed = true;
        }
        let said: Vec<String> = (row.traits.iter().take(TRAITS))
            .map(|own| {
                let more = (own.more.value * 100.0).round();
                let worth =
                    own.points.map_or(String::new(), |points| format!(", {points:+.0} of its rating"));
                format!("{} {more:+.0}{worth}", escape(&own.description)).replace('-', "−")
            })
            .collect();
        write!(out, "<li><strong>{}</strong>: {}</li>", escape(&row.model), said.join("; "))?;
    }
    if listed {
        out.push_str("</ul>\n");
    }
    Ok(())
}

/// Whether they do what they say.
fn reasons(out: &mut String, found: &Reasons, opener: &dyn Fn(&str, &str) -> String) -> std::fmt::Result {
    write!(
        out,
        "<section aria-labelledby=\"reasons\"><h2 id=\"reasons\">Do they do what they say</h2>\n<p>{} written reasons on {} pairs. ",
        thousands(found.reasons),
        thousands(found.pairs)
    )?;
    if let Some(followed) = &found.followed {
        write!(
            out,
            "Where they call something good or bad and the two responses differ in it, the label goes the same way in {} of 100 \
             ({} statements). ",
            of_100(followed),
            thousands(followed.n)
        )?;
    }
    if let Some(seen) = &found.is_true {
        write!(
            out,
            "Where they say which response has more of it, that is so in {} of 100 ({} statements).",
            of_100(seen),
            thousands(seen.n)
        )?;
    }
    out.push_str("</p>\n");
    named(out, found, opener)?;
    silent(out, found, opener)?;
    themes(out, found)?;
    notes(out, &found.notes)?;
    out.push_str("</section>\n");
    Ok(())
}

/// What the reasons name, feature by feature.
fn named(out: &mut String, found: &Reasons, opener: &dyn Fn(&str, &str) -> String) -> std::fmt::Result {
    let named: Vec<_> = found.features.iter().filter(|row| row.reasons > 0).collect();
    if !named.is_empty() {
        table(
            out,
            "What the reasons name, the most named first; intervals at 95 %",
            &[
                "That a response …",
                "reasons",
                "called good",
                "called bad",
                "label goes with it",
                "true of the pair",
                "followed?",
            ],
        )?;
        for row in named.iter().take(NAMED) {
            let share = |of: Option<&Estimate>| of.map_or_else(|| "–".to_owned(), of_100);
            let verdict = match row.verdict {
                Some(Verdict::Followed) => "yes",
                Some(Verdict::NotFollowed) => "the other way",
                Some(Verdict::Unclear) => "unclear",
                None => "too few",
            };
            writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td class=\"n\" data-name=\"Reasons\">{}</td><td class=\"n\" data-name=\"Called good\">{}</td>\
                 <td class=\"n\" data-name=\"Called bad\">{}</td><td class=\"n\" data-name=\"Label goes with it, of 100\">{}</td>\
                 <td class=\"n\" data-name=\"True of the pair, of 100\">{}</td><td class=\"n\" data-name=\"Followed\">{verdict}</td></tr>",
                opener(&row.feature_id, &row.description),
                thousands(row.reasons),
                thousands(row.merit),
                thousands(row.fault),
                share(row.followed.as_ref()),
                share(row.is_true.as_ref()),
            )?;
        }
        out.push_str("</tbody></table></div>\n");
        if named.len() > NAMED {
            writeln!(
                out,
                "<p class=\"soft\">{} more stand in <code>reasons/reasons.csv</code>.</p>",
                named.len() - NAMED
            )?;
        }
    }
    Ok(())
}

/// Principles that the labels follow and hardly any reason names, and how far the principles cover the reasons.
fn silent(out: &mut String, found: &Reasons, opener: &dyn Fn(&str, &str) -> String) -> std::fmt::Result {
    let silent: Vec<String> = (found.features.iter().filter(|row| row.never_stated))
        .map(|row| {
            let verb = if row.principle == Some(Wanted::Avoid) { "avoid" } else { "prefer" };
            let share = row
                .named_where_it_differs
                .as_ref()
                .map_or(String::new(), |share| format!(" ({} of 100)", of_100(share)));
            format!("{verb} the response that {}{share}", opener(&row.feature_id, &row.description))
        })
        .collect();
    if !silent.is_empty() {
        writeln!(
            out,
            "<p>Followed and hardly ever stated, where the two differ in it: {}.</p>",
            silent.join("; ")
        )?;
    }
    if let Some(share) = found.coverage.coverage.as_ref().filter(|_| found.coverage.principles > 0) {
        writeln!(
            out,
            "<p>Of {} things praised or complained about, the principles explain {} of 100; with the reasons handed round at random, {}.</p>",
            thousands(found.coverage.aspects),
            of_100(share),
            found.coverage.coverage_floor.as_ref().map_or_else(|| "–".to_owned(), of_100)
        )?;
    }
    Ok(())
}

/// What reasons say that no feature covers.
fn themes(out: &mut String, found: &Reasons) -> std::fmt::Result {
    if !found.themes.is_empty() {
        out.push_str("<p>What reasons say and nothing here measures:</p><ul>");
        for theme in found.themes.iter().take(THEMES) {
            let quote = theme.quotes.first().map_or(String::new(), |quote| {
                format!(
                    ": <span class=\"soft\">“{}”</span>",
                    escape(&super::super::text::excerpt(quote, 160))
                )
            });
            let words = escape(&theme.words.join(", "));
            write!(out, "<li>{words} ({} of 100 reasons){quote}</li>", of_100(&theme.reasons))?;
        }
        out.push_str("</ul>\n");
    }
    Ok(())
}
