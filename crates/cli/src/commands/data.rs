//! The data that a command reads, and how: the same arguments wherever data are named.

use clap::{Args, ValueEnum};

use wimhf::config::{Config, Pairing};
use wimhf::pairs::{LabelMap, LabelScale};

/// The heading of these options.
pub const HEADING: &str = "The columns, where they are not recognised";

/// What was typed; `None` leaves the settings file's value.
#[derive(Debug, Args)]
pub struct DataArguments {
    /// Files, folders, globs or hf://datasets/OWNER/NAME; several are one set.
    ///
    /// Parquet, CSV, TSV, JSON lines, JSON or Arrow: a file, a folder (`save_to_disk`, a Hub clone), a glob, or
    /// `hf://datasets/OWNER/NAME[@REV][/PATH]`; several are read as one set.
    #[arg(required = true, value_name = "DATA")]
    data: Vec<String>,
    /// Column with the prompt.
    #[arg(long, value_name = "COLUMN", help_heading = HEADING)]
    prompt_column: Option<String>,
    /// Column with response A.
    #[arg(long, value_name = "COLUMN", help_heading = HEADING)]
    response_a_column: Option<String>,
    /// Column with response B.
    #[arg(long, value_name = "COLUMN", help_heading = HEADING)]
    response_b_column: Option<String>,
    /// Column with the label: 1 or A, 0 or B, .5 or tie.
    ///
    /// Other codes are recognised or asked about.
    #[arg(long, value_name = "COLUMN", help_heading = HEADING)]
    label_column: Option<String>,
    /// What its values mean, such as `model_1=A,model_2=B,draw=tie`.
    ///
    /// Each A, B, tie or skip.
    #[arg(long, value_name = "VALUE=A,…", conflicts_with = "label_scale", help_heading = HEADING)]
    label_map: Option<LabelMap>,
    /// The two ends of the label's scale, the one for A first: `-3..3` where -3 is for A, `7..1` where 7 is.
    #[arg(long, value_name = "A..B", allow_hyphen_values = true, hide_short_help = true, help_heading = HEADING)]
    label_scale: Option<LabelScale>,
    /// Column with the annotator's id.
    #[arg(long, value_name = "COLUMN", help_heading = HEADING)]
    annotator_column: Option<String>,
    /// Which label, where the data have several: `helpful` or `safe` (PKU-SafeRLHF), `overall`, `helpfulness`,
    /// `honesty`, … (UltraFeedback).
    #[arg(long, value_name = "NAME", hide_short_help = true, help_heading = HEADING)]
    preference: Option<String>,
    /// How several ranked or scored responses to one prompt become pairs [default: best-vs-rest].
    #[arg(long, value_enum, value_name = "HOW", hide_short_help = true, help_heading = HEADING)]
    pairing: Option<PairingArgument>,
    /// Two columns with vectors of your own, instead of embedding the texts.
    #[arg(
        long,
        value_name = "A,B",
        value_parser = two_names,
        hide_short_help = true,
        help_heading = HEADING
    )]
    embedding_columns: Option<(String, String)>,
    /// Pairs of each dataset that are taken at most, those whose texts have the lowest hashes; 0 takes all of them
    /// [default: 200000].
    #[arg(long, value_name = "N", hide_short_help = true, help_heading = HEADING)]
    max_pairs: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PairingArgument {
    /// The best against each of the others.
    BestVsRest,
    /// The best against the worst.
    TopVsBottom,
}

impl DataArguments {
    /// What was named.
    pub fn inputs(&self) -> &[String] {
        &self.data
    }

    /// Puts what was typed over the settings; returns what is to be read.
    pub fn over(self, config: &mut Config) -> Vec<String> {
        let data = &mut config.data;
        fn set<T>(target: &mut T, typed: Option<T>) {
            if let Some(value) = typed {
                *target = value;
            }
        }
        set(&mut data.prompt_column, self.prompt_column.map(Some));
        set(&mut data.response_a_column, self.response_a_column.map(Some));
        set(&mut data.response_b_column, self.response_b_column.map(Some));
        set(&mut data.label_column, self.label_column.map(Some));
        set(&mut data.label_map, self.label_map.map(Some));
        set(&mut data.label_scale, self.label_scale.map(Some));
        set(&mut data.annotator_column, self.annotator_column.map(Some));
        set(&mut data.preference, self.preference.map(Some));
        set(&mut data.embedding_columns, self.embedding_columns.map(Some));
        let pairing = self.pairing.map(|pairing| match pairing {
            PairingArgument::BestVsRest => Pairing::BestVsRest,
            PairingArgument::TopVsBottom => Pairing::TopVsBottom,
        });
        set(&mut data.pairing, pairing);
        set(&mut data.max_pairs, self.max_pairs);
        self.data
    }
}

/// Two names with a comma between them.
pub(super) fn two_names(text: &str) -> Result<(String, String), String> {
    match text.split(',').map(str::trim).collect::<Vec<_>>()[..] {
        [a, b] if !a.is_empty() && !b.is_empty() => Ok((a.to_owned(), b.to_owned())),
        _ => Err("two column names with a comma between them are needed, such as first_column,second_column"
            .into()),
    }
}
