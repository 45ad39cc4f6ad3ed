//! One column of a source as texts, for grouping its rows.

use polars::prelude::*;
use sha2::{Digest, Sha256};

use super::columns::{shorten, type_name};
use super::error::PairsError;
use super::source;
use super::table::Table;

/// The first two columns of `wanted` that a source has both of, as it writes them.
///
/// # Errors
/// Where the source cannot be read.
pub fn find_columns(source: &str, wanted: &[(&str, &str)]) -> Result<Option<(String, String)>, PairsError> {
    let (files, _) = source::locate(source)?;
    let Some(file) = files.first() else { return Ok(None) };
    let columns = Table::open(file, &mut Sha256::new())?.columns;
    Ok(wanted.iter().find_map(|(first, second)| Some((columns.find(&[first])?, columns.find(&[second])?))))
}

/// The columns of a source's first file, in words.
///
/// # Errors
/// Where the source cannot be read.
pub fn describe_columns(source: &str) -> Result<String, PairsError> {
    let (files, _) = source::locate(source)?;
    let Some(file) = files.first() else { return Ok(String::new()) };
    Ok(Table::open(file, &mut Sha256::new())?.columns.describe())
}

/// Values of the column `name` of a source, `[rows]`, as texts; `None` where a row has none.
///
/// Rows count as in [`super::Labels::row`]. `flag` is what the user named the column with.
///
/// # Errors
/// Where the source cannot be read, has no such column, or the column is no plain value.
pub fn column(source: &str, name: &str, flag: &'static str) -> Result<Vec<Option<String>>, PairsError> {
    let (files, _) = source::locate(source)?;
    let mut values = Vec::new();
    for file in &files {
        let mut table = Table::open(file, &mut Sha256::new())?;
        let Some(found) = table.columns.dtype(name).cloned() else {
            let near = table.columns.nearest(name).map(|near| format!("did you mean `{near}`? "));
            return Err(PairsError::NoColumn {
                path: source.to_owned(),
                flag,
                name: shorten(name),
                hint: format!("{}columns seen: {}", near.unwrap_or_default(), table.columns.describe()),
            });
        };
        let wrong = || PairsError::ColumnType {
            path: source.to_owned(),
            name: name.to_owned(),
            found: type_name(&found),
            expected: "a plain value (text, number, date)",
            hint: "name a column with one value per row",
        };
        if found.is_nested() {
            return Err(wrong());
        }
        let wanted = [name.to_owned()];
        table.retain(&wanted)?;
        let frame = table.load(&wanted)?;
        let text =
            frame.column(name).and_then(|column| column.cast(&DataType::String)).map_err(|_| wrong())?;
        let text = text.str().map_err(|_| wrong())?;
        values.extend(
            text.iter()
                .map(|value| value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)),
        );
    }
    Ok(values)
}
