//! Formats whose rows are pairs: a table of the columns' published names.

use crate::pairs::ReadOptions;
use crate::pairs::codes::Codes;
use crate::pairs::columns::Columns;
use crate::pairs::format::{Choice, ColumnMap, FormatAdapter, LABEL, LabelPair, one_hot, prompt};

/// A format that is told by its columns' names and needs nothing else.
pub(super) struct Named {
    name: &'static str,
    needs: &'static [&'static str],
    prompt: &'static [&'static str],
    first: &'static str,
    second: &'static str,
    label: Label,
    annotator: &'static [&'static str],
}

/// Where the label stands, and what its codes mean.
enum Label {
    /// A column by any of these names; without it, pairs have no label.
    Free(&'static [&'static str]),
    /// A column that must be there, with its published codes.
    Known(&'static str, fn() -> Codes),
    /// One of several, by its name for the user: numbers of the preferred response.
    Choice(&'static [(&'static str, &'static str)]),
    /// One column per outcome.
    OneHot(&'static str),
    /// A score for each.
    Scores(&'static str, &'static str),
}

/// As many of the names of a label are sure enough beside this project's own columns.
const SURE: usize = 26;

/// This project's own.
pub(super) static OWN: Named = Named {
    name: "prompt, response_A, response_B",
    needs: &["prompt", "response_A", "response_B", "label"],
    prompt: &["prompt"],
    first: "response_A",
    second: "response_B",
    label: Label::Free(&["label"]),
    annotator: &[],
};

/// LMSYS Arena as on Kaggle: turns as JSON lists, one column per outcome.
pub(super) static ONE_HOT: Named = Named {
    name: "Arena with a column per outcome",
    needs: &["prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"],
    prompt: &["prompt"],
    first: "response_a",
    second: "response_b",
    label: Label::OneHot("winner_model_a"),
    annotator: &[],
};

/// PKU-SafeRLHF: the numbers of the more helpful and of the safer response.
pub(super) static PKU: Named = Named {
    name: "PKU-SafeRLHF",
    needs: &["prompt", "response_0", "response_1", "better_response_id", "safer_response_id"],
    prompt: &["prompt"],
    first: "response_0",
    second: "response_1",
    label: Label::Choice(&[("helpful", "better_response_id"), ("safe", "safer_response_id")]),
    annotator: &[],
};

/// Stanford Human Preferences: 1 = A preferred.
pub(super) static SHP: Named = Named {
    name: "SHP",
    needs: &["history", "human_ref_A", "human_ref_B", "labels"],
    prompt: &["history"],
    first: "human_ref_A",
    second: "human_ref_B",
    label: Label::Free(&["labels", "label"]),
    annotator: &[],
};

/// HelpSteer 2, preferences: −3 is for the first response.
pub(super) static HELPSTEER_2: Named = Named {
    name: "HelpSteer2 preferences",
    needs: &["prompt", "response_1", "response_2", "preference_strength"],
    prompt: &["prompt"],
    first: "response_1",
    second: "response_2",
    label: Label::Known("preference_strength", negative_first),
    annotator: &[],
};

/// HelpSteer 3: −3 is for the first response.
pub(super) static HELPSTEER_3: Named = Named {
    name: "HelpSteer3",
    needs: &["context", "response1", "response2", "overall_preference"],
    prompt: &["context", "prompt"],
    first: "response1",
    second: "response2",
    label: Label::Known("overall_preference", negative_first),
    annotator: &[],
};

/// AlpacaEval and AlpacaFarm: 1 is for the first output, 2 for the second, shares between.
pub(super) static ALPACA_EVAL: Named = Named {
    name: "AlpacaEval annotations",
    needs: &["instruction", "output_1", "output_2", "preference"],
    prompt: &["instruction"],
    first: "output_1",
    second: "output_2",
    label: Label::Known("preference", || Codes::Numbered),
    annotator: &["annotator"],
};

/// WebGPT comparisons: a score for each answer, the higher one is preferred.
pub(super) static WEB_GPT: Named = Named {
    name: "WebGPT comparisons",
    needs: &["question", "answer_0", "answer_1", "score_0", "score_1"],
    prompt: &["question"],
    first: "answer_0",
    second: "answer_1",
    label: Label::Scores("score_0", "score_1"),
    annotator: &[],
};

/// Inverse Constitutional AI.
pub(super) static ICAI: Named = Named {
    name: "ICAI",
    needs: &["text_a", "text_b", "preferred_text"],
    prompt: &["input", "prompt"],
    first: "text_a",
    second: "text_b",
    label: Label::Free(&["preferred_text"]),
    annotator: &[],
};

fn negative_first() -> Codes {
    Codes::Scale { first: -3.0, second: 3.0, soft: false }
}

impl FormatAdapter for Named {
    fn name(&self) -> &'static str {
        self.name
    }

    fn needs(&self) -> &'static [&'static str] {
        self.needs
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let (first, second) = (columns.find(&[self.first])?, columns.find(&[self.second])?);
        let mut plan = ColumnMap {
            prompt: columns.find(self.prompt).or_else(|| prompt(columns, &[&first, &second])),
            first,
            second,
            annotator: columns.find(self.annotator),
            ..ColumnMap::default()
        };
        match self.label {
            Label::Free(names) => {
                plan.label = columns.find(names);
                if std::ptr::eq(self, &raw const OWN) {
                    plan.certain = plan.label.is_some() && columns.find(self.prompt).is_some();
                    let free = |name: &String| *name != plan.first && *name != plan.second;
                    plan.label = plan.label.or_else(|| columns.find(&LABEL[..SURE]).filter(free));
                    if plan.label.is_none() {
                        plan.label_pair = super::paired::label_pair_of(columns, &plan.first, &plan.second);
                    }
                }
            }
            Label::Known(name, codes) => {
                plan.label = Some(columns.find(&[name])?);
                plan.codes = Some(codes());
            }
            Label::Choice(choices) => {
                let choice = |(name, column): &(&'static str, &str)| {
                    Some(Choice { name, column: Some(columns.find(&[column])?), usual: false })
                };
                plan.choices = choices.iter().filter_map(choice).collect();
                plan.codes = Some(Codes::Index);
                (!plan.choices.is_empty()).then_some(())?;
            }
            Label::OneHot(name) => {
                plan.label_pair = Some(one_hot(columns, &columns.find(&[name])?)?);
                plan.certain = true;
            }
            Label::Scores(one, other) => {
                let (first, second) = (columns.find(&[one])?, columns.find(&[other])?);
                plan.label_pair = Some(LabelPair { first, second, tie: None, scores: true });
            }
        }
        Some(plan)
    }
}
