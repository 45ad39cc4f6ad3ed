//! Names of columns: finding them, and the nearest one when they are not there.

use polars::prelude::{DataType, TimeUnit};

use crate::suggest::nearest;

/// The columns of a table, in order, with their types.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns(pub Vec<(String, DataType)>);

impl Columns {
    /// The first of these that is of a type which is not read.
    pub fn unread<'a>(&self, names: &'a [String]) -> Option<&'a String> {
        names.iter().find(|name| matches!(self.dtype(name), Some(DataType::Unknown(_))))
    }

    /// The type of the column with exactly this name.
    pub fn dtype(&self, name: &str) -> Option<&DataType> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, dtype)| dtype)
    }

    /// The column with one of these names, earlier names first; another case (`response_a` for
    /// `response_A`) counts when no column has the very name.
    pub fn find(&self, names: &[&str]) -> Option<String> {
        let same = |name: &str, other: &str| name == other;
        let folded = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
        let search = |matches: &dyn Fn(&str, &str) -> bool| {
            names.iter().find_map(|name| {
                self.0.iter().map(|(other, _)| other).find(|other| matches(name, other)).cloned()
            })
        };
        search(&same).or_else(|| search(&folded))
    }

    /// Whether a column holds lists of records.
    pub fn has_records(&self, name: &str) -> bool {
        matches!(self.dtype(name), Some(DataType::List(inner)) if matches!(**inner, DataType::Struct(_)))
    }

    /// "`prompt` (text), `label` (number)": for messages; the first 40.
    pub fn describe(&self) -> String {
        let mut shown: Vec<String> = (self.0.iter().take(40))
            .map(|(name, dtype)| format!("`{}` ({})", shorten(name), type_name(dtype)))
            .collect();
        if self.0.len() > 40 {
            shown.push(format!("and {} more", self.0.len() - 40));
        }
        if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
    }

    /// The name most like `wanted`, if any is near.
    pub fn nearest(&self, wanted: &str) -> Option<&str> {
        nearest(wanted, self.0.iter().map(|(name, _)| name.as_str()))
    }
}

/// A type in plain words.
pub(super) fn type_name(dtype: &DataType) -> String {
    match dtype {
        DataType::String | DataType::Categorical(..) | DataType::Enum(..) => "text".into(),
        DataType::Boolean => "true/false".into(),
        DataType::Null => "nothing but nulls".into(),
        DataType::Binary => "bytes".into(),
        DataType::Date | DataType::Time | DataType::Duration(TimeUnit::Nanoseconds) => "dates".into(),
        DataType::Datetime(..) | DataType::Duration(_) => "dates".into(),
        DataType::List(inner) | DataType::Array(inner, _) => format!("list of {}", type_name(inner)),
        DataType::Struct(_) => "records".into(),
        DataType::Unknown(_) => "a type that is not read".into(),
        other if other.is_numeric() || other.is_decimal() => "number".into(),
        other => other.to_string(),
    }
}

/// A name that is safe to show: huge ones are cut.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_very_name_goes_before_another_case() {
        let columns = Columns(vec![("Label".into(), DataType::Null), ("label".into(), DataType::Null)]);
        assert_eq!(columns.find(&["label"]).as_deref(), Some("label"));
        assert_eq!(columns.find(&["LABEL"]).as_deref(), Some("Label"));
        assert_eq!(columns.find(&["other"]), None);
    }
}
