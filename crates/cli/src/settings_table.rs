//! Every setting of the settings file, with its default and what it does: for `wimhf config init` and the reference.
//! A test holds the table against the library's own settings.

use std::collections::BTreeMap;

use serde_json::Value;

/// A setting as it stands in the file.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its table; empty for the top.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its default as TOML, or an example where it has none.
    pub value: &'static str,
    /// Whether `value` is the default.
    pub is_default: bool,
    /// What it does.
    pub what: &'static str,
}

const fn usual(
    section: &'static str,
    name: &'static str,
    value: &'static str,
    what: &'static str,
) -> Setting {
    Setting { section, name, value, is_default: true, what }
}

const fn unset(
    section: &'static str,
    name: &'static str,
    value: &'static str,
    what: &'static str,
) -> Setting {
    Setting { section, name, value, is_default: false, what }
}

const LANGUAGE: &str = "describe.language";

/// In the order of the file.
pub const SETTINGS: &[Setting] = &[
    usual("", "seed", "0", "The one seed that every random choice comes from."),
    unset(
        "data",
        "prompt_column",
        "\"question\"",
        "Column with the prompt; recognised where it is not named.",
    ),
    unset("data", "response_a_column", "\"left\"", "Column with response A."),
    unset("data", "response_b_column", "\"right\"", "Column with response B."),
    unset("data", "label_column", "\"winner\"", "Column with the label."),
    unset(
        "data",
        "label_map",
        "[[\"left\", \"A\"], [\"right\", \"B\"], [\"draw\", \"tie\"]]",
        "What the values of the label column mean: A, B, tie or skip.",
    ),
    unset(
        "data",
        "label_scale",
        "{ first = -3.0, second = 3.0 }",
        "The two ends of the label's scale, the one for A first.",
    ),
    unset("data", "annotator_column", "\"who\"", "Column with the annotator's id."),
    unset(
        "data",
        "embedding_columns",
        "[\"vec_a\", \"vec_b\"]",
        "Vectors of your own, instead of embedding the texts.",
    ),
    unset("data", "preference", "\"safe\"", "Which label, where the data have several."),
    usual(
        "data",
        "pairing",
        "\"best-vs-rest\"",
        "How several ranked responses become pairs: best-vs-rest or top-vs-bottom.",
    ),
    usual(
        "data",
        "max_pairs",
        "200000",
        "Pairs of each dataset that are taken at most, those whose texts have the lowest hashes; 0 takes all of them.",
    ),
    usual(
        "split",
        "shares",
        "[0.35, 0.2, 0.45]",
        "Shares of the pairs to learn on, to describe on, and held out.",
    ),
    usual("split", "columns", "[]", "Columns besides the prompt whose equal values stay on one side."),
    usual(
        "embed",
        "embedder",
        "\"boxed\"",
        "boxed, a model's folder, static:FOLDER, hf://OWNER/NAME[@REV] or openai:MODEL.",
    ),
    usual(
        "embed",
        "what",
        "\"response\"",
        "What of a pair is embedded: response, prompt-response or instructed.",
    ),
    unset("embed", "template", "\"{prompt}\\n{response}\"", "A template of your own instead."),
    unset(
        "embed",
        "max_tokens",
        "256",
        "Cut texts to so many tokens; what the model reads where it is not set.",
    ),
    usual(
        "embed",
        "precision",
        "\"f32\"",
        "How a transformer on this machine computes: f32, or int8 (on the CPU, about three times as fast with AVX-512).",
    ),
    unset(
        "embed",
        "base_url",
        "\"http://localhost:11434/v1\"",
        "Server for openai:MODEL; OPENAI_BASE_URL where it is not set.",
    ),
    unset("embed", "dimensions", "512", "Length of the vectors to ask the server for."),
    usual("embed", "batch_texts", "64", "Most texts in a request."),
    usual("embed", "batch_tokens", "16384", "Most tokens in a request, estimated."),
    usual("embed", "concurrency", "8", "Most requests at once."),
    usual("embed", "timeout_seconds", "600", "Seconds until a request is given up."),
    unset("embed", "price", "0.02", "Dollars per million tokens, to say what embedding costs."),
    usual(
        "sae",
        "mode",
        "\"sentences\"",
        "What the learned features read: sentences, or difference (the paper's method).",
    ),
    unset("sae", "features", "64", "Number of learned features, M; what suits the data where it is not set."),
    unset("sae", "active", "4", "Features active on average, K."),
    unset(
        "describe",
        "concepts",
        "\"concepts.toml\"",
        "Known concepts of your own, added to those in the program.",
    ),
    usual(
        "describe",
        "min_fidelity",
        "0.3",
        "Words are kept where they agree with the feature at least so well (correlation).",
    ),
    usual(
        "describe",
        "min_stability",
        "0.0",
        "A feature is kept where halves of the data bring it back so well; 0 asks for nothing.",
    ),
    usual("describe", "alpha", "0.05", "Chance of keeping any words that are not true of their feature."),
    usual(
        "describe",
        "describer",
        "\"offline\"",
        "offline, or model: language models at an OpenAI-compatible server.",
    ),
    unset(LANGUAGE, "writer", "\"gpt-5\"", "The model that writes descriptions."),
    unset(LANGUAGE, "judge", "\"gpt-5-mini\"", "The model that judges them; the writer where it is not set."),
    unset(
        LANGUAGE,
        "base_url",
        "\"http://localhost:8000/v1\"",
        "Their server; OPENAI_BASE_URL where it is not set.",
    ),
    unset(
        LANGUAGE,
        "writer_base_url",
        "\"http://localhost:8001/v1\"",
        "The writer's server, where it is another one.",
    ),
    unset(
        LANGUAGE,
        "judge_base_url",
        "\"http://localhost:8002/v1\"",
        "The judge's server, where it is another one.",
    ),
    usual(LANGUAGE, "params", "{}", "Sent along with every request, such as { temperature = 0.2 }."),
    usual(LANGUAGE, "writer_params", "{}", "The same for the writer only."),
    usual(LANGUAGE, "judge_params", "{}", "The same for the judge only."),
    unset(LANGUAGE, "prompts", "\"prompts\"", "A folder with prompts of your own."),
    usual(LANGUAGE, "pairs_per_call", "5", "Pairs in one call of the judge."),
    usual(LANGUAGE, "choose", "340", "Pairs per feature on which descriptions are compared."),
    usual(LANGUAGE, "measure", "300", "Pairs per feature on which the winner is measured."),
    usual(
        "principles",
        "alpha",
        "0.05",
        "Chance of printing any principle when nothing is associated with the label.",
    ),
    usual(
        "principles",
        "rare_below",
        "0.05",
        "A principle that applies to a smaller share of the pairs is flagged rare.",
    ),
    usual("principles", "redundant_above", "0.7", "Features that move together more than this say the same."),
    usual("principles", "evidence", "5", "Pairs named for and against each principle in principles.json."),
    usual("contexts", "columns", "[]", "Columns whose values are kinds of request, too, for where it holds."),
];

/// The settings file: every setting as a comment, so that it changes nothing until a line is made one.
pub fn document() -> String {
    let mut text = String::from(
        "# Settings of wimhf. Every line below is a comment and changes nothing: take the # away from those that you want.\n\
         # What has no default shows an example, marked (not set). Options on the command line go before this file.\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            text += &format!("\n[{section}]\n");
        }
        let mark = if setting.is_default { "" } else { " (not set)" };
        text += &format!("# {}{mark}\n#{} = {}\n", setting.what, setting.name, setting.value);
    }
    text
}

/// Values by their path, `sae.mode`; what a user may name freely stays whole.
pub fn flat(value: &Value) -> BTreeMap<String, Value> {
    fn into(path: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) if !path.ends_with("params") && !path.ends_with("label_map") => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    into(&path, value, out);
                }
            }
            value => {
                out.insert(path.to_owned(), value.clone());
            }
        }
    }
    let mut out = BTreeMap::new();
    into("", value, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use wimhf::Config;

    fn path(setting: &Setting) -> String {
        if setting.section.is_empty() {
            setting.name.into()
        } else {
            format!("{}.{}", setting.section, setting.name)
        }
    }

    /// The file as it would be with the lines of some settings made real.
    fn with(which: impl Fn(&Setting) -> bool) -> Config {
        let mut text = String::new();
        let mut section = "";
        for setting in SETTINGS {
            if setting.section != section {
                section = setting.section;
                text += &format!("[{section}]\n");
            }
            if which(setting) {
                text += &format!("{} = {}\n", setting.name, setting.value);
            }
        }
        toml::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn the_table_is_the_librarys_settings_and_their_defaults() {
        let usual = flat(&serde_json::to_value(Config::default()).unwrap());
        let named: Vec<String> = SETTINGS.iter().map(path).collect();
        let there: Vec<String> = usual.keys().cloned().collect();
        let mut sorted = named.clone();
        sorted.sort();
        assert_eq!(sorted, there, "every setting once, and no other");
        assert_eq!(with(|setting| setting.is_default), Config::default());
        for setting in SETTINGS {
            let is_set = !usual[&path(setting)].is_null();
            assert_eq!(setting.is_default, is_set, "{}", path(setting));
        }
    }

    #[test]
    fn examples_can_be_used_and_the_file_changes_nothing_as_it_is() {
        let all = flat(&serde_json::to_value(with(|_| true)).unwrap());
        for setting in SETTINGS.iter().filter(|setting| !setting.is_default) {
            let value = all.iter().find(|(name, _)| name.starts_with(&path(setting)));
            assert!(value.is_some_and(|(_, value)| !value.is_null()), "{}", path(setting));
        }
        let read: Config = toml::from_str(&document()).unwrap();
        assert_eq!(read, Config::default());
        // Lines made real one by one are real: no comment of another form hides in the file.
        let real = document().lines().filter(|line| line.starts_with('#') && !line.starts_with("# ")).count();
        assert_eq!(real, SETTINGS.len());
    }
}
