//! Personal weights: the tables for other programs.

use std::path::Path;

use polars::prelude::*;
use serde_json::json;

use super::tables;
use crate::personalize::{FORMULA, Personalization};
use crate::store::{StoreError, write_json, write_parquet};

/// The files that `wimhf personalize` writes.
pub const FILES: [&str; 5] = [
    "annotator_weights.parquet",
    "annotator_weights.csv",
    "annotator_weights.json",
    "scorer.json",
    "personalize.json",
];

/// Writes the weights as a table (three ways), the scorer's definition, and everything that was found.
///
/// # Errors
/// Where a file cannot be written.
pub fn write(folder: &Path, found: &Personalization) -> Result<(), StoreError> {
    let [parquet, csv, weights, scorer, all] = FILES.map(|file| folder.join(file));
    write_json(&all, found)?;
    write_json(&scorer, &scorer_definition(found))?;
    write_json(&weights, &rows_as_json(found))?;
    write_csv(&csv, found)?;
    write_table(&parquet, found)
}

/// One row per annotator and personal feature.
struct Row<'a> {
    annotator: &'a str,
    feature_id: &'a str,
    description: &'a str,
    population_weight: f64,
    personal_weight: f64,
    sd: f64,
    n: u32,
    shrinkage: f64,
    fallback: bool,
    scale: f64,
}

fn rows(found: &Personalization) -> impl Iterator<Item = Row<'_>> {
    found.weights.iter().flat_map(|annotator| {
        found.features.iter().zip(&annotator.weights).map(|(feature, weight)| Row {
            annotator: &annotator.annotator,
            feature_id: &feature.feature_id,
            description: &feature.description,
            population_weight: feature.population_weight,
            personal_weight: weight.personal_weight,
            sd: weight.sd,
            n: annotator.n as u32,
            shrinkage: weight.shrinkage,
            fallback: annotator.fallback,
            scale: feature.scale,
        })
    })
}

fn write_table(path: &Path, found: &Personalization) -> Result<(), StoreError> {
    let text = |name: &str, get: &dyn for<'a> Fn(&Row<'a>) -> &'a str| {
        Column::new(name.into(), rows(found).map(|row| get(&row)).collect::<Vec<&str>>())
    };
    let figure = |name: &str, get: &dyn Fn(&Row<'_>) -> f64| {
        let values: Vec<Option<f64>> =
            rows(found).map(|row| Some(get(&row)).filter(|v| v.is_finite())).collect();
        Column::new(name.into(), values)
    };
    let columns = vec![
        text("annotator", &|row| row.annotator),
        text("feature_id", &|row| row.feature_id),
        text("description", &|row| row.description),
        figure("population_weight", &|row| row.population_weight),
        figure("personal_weight", &|row| row.personal_weight),
        figure("sd", &|row| row.sd),
        Column::new("n".into(), rows(found).map(|row| row.n).collect::<Vec<u32>>()),
        figure("shrinkage", &|row| row.shrinkage),
        Column::new("fallback".into(), rows(found).map(|row| row.fallback).collect::<Vec<bool>>()),
        figure("scale", &|row| row.scale),
    ];
    write_parquet(path, &mut crate::store::frame(path, columns)?)
}

fn write_csv(path: &Path, found: &Personalization) -> Result<(), StoreError> {
    let header = [
        "annotator",
        "feature_id",
        "description",
        "population_weight",
        "personal_weight",
        "sd",
        "n",
        "shrinkage",
        "fallback",
        "scale",
    ];
    let rows = rows(found).map(|row| {
        [
            row.annotator.to_owned(),
            row.feature_id.to_owned(),
            row.description.to_owned(),
            row.population_weight.to_string(),
            row.personal_weight.to_string(),
            row.sd.to_string(),
            row.n.to_string(),
            row.shrinkage.to_string(),
            row.fallback.to_string(),
            row.scale.to_string(),
        ]
    });
    tables::write_csv(path, &header, rows)
}

fn rows_as_json(found: &Personalization) -> serde_json::Value {
    let rows: Vec<serde_json::Value> = rows(found)
        .map(|row| {
            json!({
                "annotator": row.annotator, "feature_id": row.feature_id, "description": row.description,
                "population_weight": row.population_weight, "personal_weight": row.personal_weight,
                "sd": row.sd, "n": row.n, "shrinkage": row.shrinkage, "fallback": row.fallback, "scale": row.scale,
            })
        })
        .collect();
    json!({ "schema_version": found.schema_version, "formula": FORMULA, "weights": rows })
}

/// Everything that is needed to score a pair for an annotator, in one file.
pub fn scorer_definition(found: &Personalization) -> serde_json::Value {
    let annotators: serde_json::Map<String, serde_json::Value> = (found.weights.iter())
        .map(|annotator| {
            let weights: serde_json::Map<String, serde_json::Value> =
                (found.features.iter().zip(&annotator.weights))
                    .map(|(feature, weight)| (feature.feature_id.clone(), json!(weight.personal_weight)))
                    .collect();
            let value = json!({
                "n": annotator.n, "fallback": annotator.fallback, "weights": weights,
                "deviations": annotator.deviations, "precision": annotator.precision,
            });
            (annotator.annotator.clone(), value)
        })
        .collect();
    json!({
        "schema_version": found.schema_version,
        "formula": FORMULA,
        "intercept": found.intercept,
        "length_weight": found.length_weight,
        "features": found.population,
        "personal_features": found.features,
        "annotators": annotators,
    })
}
