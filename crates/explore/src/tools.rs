//! A run's figures as tools for a language model, or by hand: small answers in JSON, each with its uncertainty. They read and
//! change nothing.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use wimhf::effects::feature::feature_effects;
use wimhf::effects::table::{LabelledSample, control_of, found_by_labels};
use wimhf::matrix::Matrix;
use wimhf::pairs::Split;
use wimhf::report::text::excerpt;
use wimhf::store::Estimate;

use crate::error::ExploreError;
use crate::find::fitting;
use crate::opened::Opened;
use crate::pairs::{self, Query};
use crate::sql::{SCHEMA, Tables};

/// Features in one answer.
const FEATURES: usize = 12;
/// Pairs in one answer.
const PAIRS: usize = 10;
/// Characters of a text of one pair.
const TEXT: usize = 3_000;
/// Labels below which an effect is not worth a figure.
const FEWEST: usize = 20;

/// A tool.
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    parameters: fn() -> Value,
}

impl Tool {
    /// What it takes, as a JSON schema.
    pub fn schema(&self) -> Map<String, Value> {
        let properties = (self.parameters)();
        let required: Vec<String> = (properties.as_object().into_iter().flatten())
            .filter(|(_, one)| one["description"].as_str().is_some_and(|text| text.starts_with("Required")))
            .map(|(name, _)| name.clone())
            .collect();
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false
        });
        schema.as_object().cloned().unwrap_or_default()
    }
}

/// Every tool.
pub const TOOLS: [Tool; 8] = [
    Tool {
        name: "overview",
        description: "What the dataset is, how many pairs and labels it has, and how well what was found predicts held-out labels.",
        parameters: || json!({}),
    },
    Tool {
        name: "principles",
        description: "What the annotators were found to reward and to avoid, ranked: how much more often the side with it wins (win, as a share), with its 95 % interval and the number of labels.",
        parameters: || json!({}),
    },
    Tool {
        name: "find_features",
        description: "Features (what a response may do, such as 'refuses' or 'uses a list') whose words fit some words. Call it first to learn a feature's id.",
        parameters: || json!({"words": {"type": "string", "description": "Required. Words to look for, such as 'disclaimer warning'"}}),
    },
    Tool {
        name: "feature",
        description: "One feature: what it means, how common it is, how often its words were read to be true, how labels go with it, and in which kinds of request that differs.",
        parameters: || json!({"feature": {"type": "string", "description": "Required. Its id or name"}}),
    },
    Tool {
        name: "effect",
        description: "How much more often the side with a feature wins in a part of the pairs and in the rest, length held fixed, with 95 % intervals: in a kind of request (context), or where any of some words stands in the prompt.",
        parameters: || {
            json!({
                "feature": {"type": "string", "description": "Required. Its id or name"},
                "context": {"type": "string", "description": "Id of a kind of request, as `overview` lists them"},
                "prompt_words": {"type": "string", "description": "Words or phrases separated by commas, any of which must stand in the prompt, such as 'doctor, medicine, symptom*'"},
            })
        },
    },
    Tool {
        name: "pairs",
        description: "Pairs that fit a filter, with their ids and the beginnings of their texts.",
        parameters: || {
            json!({
                "q": {"type": "string", "description": "Words that must all stand in prompt or responses"},
                "feature": {"type": "string", "description": "Only pairs whose responses differ in this feature"},
                "side": {"type": "string", "enum": ["A", "B", "preferred", "other", "any", "none"], "description": "Which response has it"},
                "label": {"type": "string", "enum": ["A", "B", "tie", "none"], "description": "Which response was preferred"},
                "context": {"type": "string", "description": "Id of a kind of request"},
                "sort": {"type": "string", "enum": ["order", "activation", "surprise", "certainty", "length"], "description": "activation: how strongly the feature is there; surprise: how far the label is from what was expected"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 10, "description": "At most this many"},
            })
        },
    },
    Tool {
        name: "pair",
        description: "One pair: its texts, labels and what tells its responses apart.",
        parameters: || json!({"pair_id": {"type": "string", "description": "Required. Its id"}}),
    },
    Tool {
        name: "sql",
        description: "A read-only SQLite SELECT over the run's tables, for what the other tools do not answer.",
        parameters: || json!({"query": {"type": "string", "description": format!("Required. One SELECT. Tables: {SCHEMA}")}}),
    },
];

/// Calls a tool by its name.
///
/// # Errors
/// Where there is none of that name, its arguments do not fit, or what it needs is still being made.
pub fn call(opened: &Opened, tables: &Tables, name: &str, arguments: &Value) -> Result<Value, ExploreError> {
    match name {
        "overview" => {
            let Nothing {} = read(name, arguments)?;
            overview(opened)
        }
        "principles" => {
            let Nothing {} = read(name, arguments)?;
            Ok(principles(opened))
        }
        "find_features" => find_features(opened, &read::<Words>(name, arguments)?.words),
        "feature" => feature(opened, &read::<Named>(name, arguments)?.feature),
        "effect" => effect(opened, &read(name, arguments)?),
        "pairs" => some_pairs(opened, &read(name, arguments)?),
        "pair" => one_pair(opened, &read::<Id>(name, arguments)?.pair_id),
        "sql" => tables.ask(opened, &read::<Sql>(name, arguments)?.query),
        _ => {
            let near = wimhf::suggest::nearest(name, TOOLS.iter().map(|tool| tool.name));
            let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
            Err(ExploreError::missing(
                format!("there is no tool `{}`", crate::opened::shorten(name)),
                near.map_or(format!("one of {}", names.join(", ")), |near| format!("did you mean `{near}`?")),
            ))
        }
    }
}

/// Arguments as the tool wants them.
fn read<T: DeserializeOwned>(name: &str, arguments: &Value) -> Result<T, ExploreError> {
    let arguments = if arguments.is_null() { json!({}) } else { arguments.clone() };
    serde_json::from_value(arguments).map_err(|error| {
        let tool = TOOLS.iter().find(|tool| tool.name == name);
        let schema = tool.map_or(String::new(), |tool| Value::Object(tool.schema()).to_string());
        ExploreError::asked(
            format!("the arguments of `{name}` do not fit: {error}"),
            format!("its schema is {schema}"),
        )
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    words: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    feature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Id {
    pair_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sql {
    query: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    feature: String,
    #[serde(default)]
    context: String,
    #[serde(default)]
    prompt_words: String,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Filter {
    q: String,
    feature: String,
    side: String,
    label: String,
    context: String,
    sort: String,
    limit: usize,
}

impl Default for Filter {
    fn default() -> Self {
        let none = String::new;
        Self {
            q: none(),
            feature: none(),
            side: none(),
            label: none(),
            context: none(),
            sort: none(),
            limit: PAIRS,
        }
    }
}

/// A figure short enough to be read: three digits.
pub fn figure(value: Option<Estimate>) -> Value {
    let round = |x: f64| (x * 1e3).round() / 1e3;
    value.map_or(
        Value::Null,
        |one| json!({"value": round(one.value), "low": round(one.low), "high": round(one.high), "n": one.n}),
    )
}

fn overview(opened: &Opened) -> Result<Value, ExploreError> {
    let run = &opened.run;
    let kinds: Vec<Value> = (opened.kinds()?.iter())
        .map(|kind| {
            let pairs = kind.inside.iter().filter(|inside| **inside).count();
            json!({"context": kind.context_id, "text": kind.text, "pairs": pairs})
        })
        .collect();
    let auc = |rung: &str| figure(run.effects.auc.get(rung).copied().flatten());
    Ok(json!({
        "dataset": run.manifest.dataset.path, "pairs": opened.labels.len(),
        "labels": run.effects.labels, "ties": run.effects.ties, "prompts": run.effects.prompts,
        "annotators": if opened.anonymise { 0 } else { opened.source.pairs.annotators.len() },
        "principles": run.findings.principles.len(),
        "auc_on_held_out_labels": {"length": auc("length"), "all_features": auc("all_features")},
        "contexts": kinds,
        "note": "Everything is an association in these labels, not a cause. Ranked statements: call `principles`.",
    }))
}

fn principles(opened: &Opened) -> Value {
    let all: Vec<Value> = (opened.run.findings.principles.iter())
        .map(|one| {
            let round = |x: f64| (x * 1e3).round() / 1e3;
            json!({
                "rank": one.rank, "statement": one.statement, "feature": one.feature_ids.first(),
                "win": {"value": round(one.win_delta), "low": round(one.win_low), "high": round(one.win_high), "n": one.n},
                "confirmed": one.significant, "flags": one.flags,
            })
        })
        .collect();
    json!({"principles": all, "meaning": "win: how much more often the side with it wins, as a share, length held fixed"})
}

fn find_features(opened: &Opened, words: &str) -> Result<Value, ExploreError> {
    let found = fitting(opened, words)?;
    let all: Vec<Value> = found.iter().take(FEATURES).map(|(_, at)| brief(opened, *at)).collect();
    Ok(json!({"features": all, "found": found.len()}))
}

/// A feature in a list.
pub fn brief(opened: &Opened, at: usize) -> Value {
    let own = &opened.run.features[at];
    json!({
        "feature": own.feature_id, "text": own.words(), "may_make_a_statement": own.speaks(),
        "win": figure(opened.win(at)), "principle": opened.principle(at).map(|principle| principle.rank),
    })
}

fn feature(opened: &Opened, name: &str) -> Result<Value, ExploreError> {
    let at = opened.feature(name)?;
    let own = &opened.run.features[at];
    let bytes = wimhf::limits::read(opened.run.path.join("contexts.json")).unwrap_or_default();
    let contexts: wimhf::contexts::Contexts = serde_json::from_slice(&bytes).unwrap_or_default();
    let rows: Vec<Value> = (contexts.rows.iter())
        .filter(|row| row.feature_id == own.feature_id)
        .map(|row| {
            json!({
                "context": row.context_id, "text": row.context, "inside": figure(Some(row.inside)),
                "outside": figure(Some(row.outside)), "claimed": row.kind.is_some(), "statement": row.statement,
            })
        })
        .collect();
    let p = opened.run.effects.corrected(at);
    Ok(json!({
        "feature": own.feature_id, "text": own.words(), "short": own.short, "source": own.source.name(),
        "may_make_a_statement": own.speaks(), "flags": own.flags,
        "prevalence": opened.effect(at).map(|row| (row.prevalence * 1e3).round() / 1e3),
        "words_true": figure(crate::server::fidelity(own)),
        "win": figure(opened.win(at)), "p_corrected": p,
        "principle": opened.principle(at).map(|one| json!({"rank": one.rank, "statement": one.statement})),
        "by_context": rows,
    }))
}

/// A feature's effect in a part of the pairs and in the rest.
fn effect(opened: &Opened, part: &Part) -> Result<Value, ExploreError> {
    let at = opened.feature(&part.feature)?;
    let own = &opened.run.features[at];
    let mut inside = vec![true; opened.labels.len()];
    let mut of = Vec::new();
    if !part.context.is_empty() {
        let kinds = opened.kinds()?;
        let kind = kinds.iter().find(|kind| kind.context_id == part.context).ok_or_else(|| {
            let ids: Vec<&str> = kinds.iter().map(|kind| kind.context_id.as_str()).collect();
            ExploreError::missing(
                format!("there is no kind of request `{}`", crate::opened::shorten(&part.context)),
                format!("one of {}", ids.join(", ")),
            )
        })?;
        of.push(kind.text.clone());
        inside.iter_mut().zip(&kind.inside).for_each(|(own, other)| *own &= *other);
    }
    let words: Vec<&str> =
        part.prompt_words.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if !words.is_empty() {
        let hits = opened.search()?.in_prompts(&words)?;
        let mut found = vec![false; inside.len()];
        hits.pairs.iter().for_each(|pair| found[*pair as usize] = true);
        inside.iter_mut().zip(found).for_each(|(own, other)| *own &= other);
        of.push(format!("the prompt has one of {}", words.join(", ")));
    }
    // What labels found is measured on labels that did not find it.
    let held_out = [Split::Test];
    let all = [Split::Train, Split::Validation, Split::Test];
    let which = if found_by_labels(own) { &held_out[..] } else { &all[..] };
    let sample = LabelledSample::on(&opened.source.pairs, &opened.source.sides, which).sample;
    let strength = opened.strength(at)?;
    let mut column = Matrix::zeros(strength.len(), 1);
    strength.iter().enumerate().for_each(|(row, value)| column.row_mut(row)[0] = *value);
    let measure = |wanted: &dyn Fn(usize) -> bool| {
        let rows: Vec<usize> =
            (0..sample.len()).filter(|&label| wanted(sample.row()[label] as usize)).collect();
        let found = feature_effects(&column, &sample.subset(&rows), control_of(own));
        let win = found.first().map(|effect| effect.win);
        let win = win.filter(|win| win.n >= FEWEST && win.low.is_finite() && win.value.is_finite());
        figure(win.map(|win| Estimate { value: win.value, low: win.low, high: win.high, n: win.n }))
    };
    let mut answer = json!({
        "feature": own.feature_id, "text": own.words(), "all_labels": measure(&|_| true),
        "meaning": format!("how much more often the side with it wins, as a share, length held fixed; n labels in which the responses differ in it; null below {FEWEST}. One look among many: not corrected for the number of looks."),
    });
    if !of.is_empty() {
        answer["where"] = of.join(" and ").into();
        answer["pairs_there"] = inside.iter().filter(|inside| **inside).count().into();
        answer["there"] = measure(&|pair| inside[pair]);
        answer["elsewhere"] = measure(&|pair| !inside[pair]);
    }
    Ok(answer)
}

fn some_pairs(opened: &Opened, wanted: &Filter) -> Result<Value, ExploreError> {
    let query = Query {
        q: wanted.q.clone(),
        feature: wanted.feature.clone(),
        side: wanted.side.clone(),
        label: wanted.label.clone(),
        context: wanted.context.clone(),
        sort: wanted.sort.clone(),
        limit: Some(wanted.limit.clamp(1, PAIRS)),
        ..Query::default()
    };
    let found = pairs::find(opened, &query)?;
    let rows: Vec<Value> = (found.rows.iter())
        .map(|row| {
            json!({
                "pair_id": row.pair_id, "prompt": row.prompt, "a": row.a, "b": row.b,
                "preferred": row.label.map(|label| if label > 0.5 { "A" } else if label < 0.5 { "B" } else { "tie" }),
                "side": row.side,
            })
        })
        .collect();
    Ok(json!({"total": found.total, "at_least": found.at_least, "pairs": rows}))
}

fn one_pair(opened: &Opened, id: &str) -> Result<Value, ExploreError> {
    let whole = pairs::one(opened, id)?;
    let text = |name: &str| excerpt(whole[name].as_str().unwrap_or_default(), TEXT);
    let features: Vec<Value> = (whole["features"].as_array().into_iter().flatten().take(FEATURES))
        .filter_map(|one| {
            let own = opened.feature(one["id"].as_str()?).ok()?;
            Some(json!({"feature": one["id"], "text": opened.run.features[own].words(), "side": one["side"]}))
        })
        .collect();
    Ok(json!({
        "pair_id": id, "prompt": text("prompt"), "a": text("a"), "b": text("b"), "label_for_a": whole["label"],
        "contexts": whole["contexts"], "features": features,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_name_what_is_required() {
        for tool in &TOOLS {
            let schema = tool.schema();
            assert_eq!(schema["type"], "object", "{}", tool.name);
            assert!(schema["properties"].is_object());
        }
        let effect = TOOLS.iter().find(|tool| tool.name == "effect").unwrap().schema();
        assert_eq!(effect["required"], json!(["feature"]));
        assert!(read::<Filter>("pairs", &json!({"limit": 3})).is_ok());
        let wrong = read::<Filter>("pairs", &json!({"limits": 3})).err().unwrap();
        assert!(wrong.to_string().contains("limits") && wrong.hint().contains("\"limit\""));
    }
}
