//! What can be wrong with a source, said so that the user can act on it.

use std::path::PathBuf;

/// A source that cannot be read as pairs. Every message says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PairsError {
    /// Nothing is at the path, or the glob matches nothing.
    #[error("there is no data at `{path}`\nhint: {hint}")]
    NotFound {
        /// As given.
        path: String,
        /// The nearest name, or where the path stops existing.
        hint: String,
    },
    /// A file is not there that belongs to the set.
    #[error(
        "`{path}` is missing, which `{list}` names as a part of the data\nhint: fetch or save the dataset again; to read a part of it, name that file or folder itself"
    )]
    Incomplete {
        /// The file that is not there.
        path: PathBuf,
        /// What names it.
        list: PathBuf,
    },
    /// The folder holds no file of a known kind.
    #[error(
        "no data file in the folder `{path}`: {seen}\nhint: Parquet, CSV, TSV, JSON lines, JSON and Arrow files are read, told by their extension; name the file itself if it has another one"
    )]
    NoData {
        /// The folder.
        path: PathBuf,
        /// What is in it instead.
        seen: String,
    },
    /// The system refuses.
    #[error("cannot read `{path}`: {}\nhint: {hint}", crate::limits::said(.source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The bytes are not what the file pretends to be.
    #[error("`{path}` cannot be read as {format}: {detail}\nhint: {hint}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// "Parquet", "CSV", …
        format: &'static str,
        /// Where and why.
        detail: String,
        /// What to do.
        hint: String,
    },
    /// Text that is not UTF-8.
    #[error(
        "`{path}` is not UTF-8 text: {detail}\nhint: convert it, for example with `iconv -f {from} -t UTF-8`"
    )]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Line, byte offset, byte.
        detail: String,
        /// The likely encoding, by iconv's name.
        from: &'static str,
    },
    /// More than a limit allows.
    #[error("`{path}` has {too_much}{at}\nhint: {hint}", hint = .too_much.hint())]
    TooMuch {
        /// The file.
        path: PathBuf,
        /// How much of what.
        too_much: crate::limits::TooMuch,
        /// Where, as ", on line 3"; empty where it is the whole file.
        at: String,
    },
    /// The system does not let us read on; the file is not to blame.
    #[error("`{path}` cannot be read: {detail}\nhint: {}", crate::panics::THREADS_HINT)]
    NoThreads {
        /// The file.
        path: PathBuf,
        /// What the library said.
        detail: String,
    },
    /// A table without rows.
    #[error("`{path}` holds no rows\nhint: check how it was written; at least one pair is needed")]
    Empty {
        /// Source as given.
        path: String,
    },
    /// More rows than the row numbers can count.
    #[error("`{path}` has {rows} rows, more than the {} that are supported\nhint: take a sample", u32::MAX - 1)]
    TooManyRows {
        /// Source as given.
        path: String,
        /// How many.
        rows: usize,
    },
    /// Shards that do not fit together.
    #[error(
        "`{path}` does not fit `{first}`: {detail}\nhint: files that are read together need the same columns; read them one by one, or name fewer of them"
    )]
    Schema {
        /// The file that differs.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
        /// Column and types.
        detail: String,
    },
    /// No known shape.
    #[error("`{path}` does not look like preference pairs: {detail}\nhint: {hint}")]
    NotPairs {
        /// Source as given.
        path: String,
        /// Columns seen.
        detail: String,
        /// How to name the columns.
        hint: String,
    },
    /// More than one shape fits.
    #[error(
        "`{path}` can be read in more than one way ({ways})\nhint: say which columns hold the responses with `--response-a-column` and `--response-b-column`; columns seen: {columns}"
    )]
    Ambiguous {
        /// Source as given.
        path: String,
        /// Names of the shapes.
        ways: String,
        /// Columns seen.
        columns: String,
    },
    /// A column that was named is not there.
    #[error("there is no column `{name}` (given by `{flag}`) in `{path}`\nhint: {hint}")]
    NoColumn {
        /// Source as given.
        path: String,
        /// The flag that named it.
        flag: &'static str,
        /// The name.
        name: String,
        /// The nearest name and the columns seen.
        hint: String,
    },
    /// Two columns with one name.
    #[error("`{path}` has more than one column called `{name}`\nhint: rename or remove one of them")]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A column of the wrong type.
    #[error("column `{name}` of `{path}` holds {found}, but {expected} are needed\nhint: {hint}")]
    ColumnType {
        /// Source as given.
        path: String,
        /// The column.
        name: String,
        /// Its type.
        found: String,
        /// What is needed.
        expected: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Records without a field.
    #[error(
        "the records in column `{name}` of `{path}` have no `{field}`\nhint: read the file as it was published; `--preference` chooses another score where there are several"
    )]
    NoField {
        /// Source as given.
        path: String,
        /// The column.
        name: String,
        /// The field.
        field: String,
    },
    /// Several labels, none of which is the usual one.
    #[error(
        "`{path}` is {shape} data, which says more than one thing about a pair: {choices}\nhint: choose one with `--preference {first}`; columns seen: {columns}"
    )]
    Choose {
        /// Source as given.
        path: String,
        /// Name of the shape.
        shape: &'static str,
        /// Names to choose from, with their columns.
        choices: String,
        /// The first name.
        first: &'static str,
        /// Columns seen.
        columns: String,
    },
    /// A choice that is not there.
    #[error("`{path}` has no preference `{name}`: {reason}\nhint: {hint}")]
    NoChoice {
        /// Source as given.
        path: String,
        /// What was asked for.
        name: String,
        /// What is there.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// An option that means nothing for this shape.
    #[error("`{flag}` cannot be used on `{path}`, read as {shape}: {reason}\nhint: {hint}")]
    Inapplicable {
        /// Source as given.
        path: String,
        /// The option.
        flag: &'static str,
        /// Name of the shape.
        shape: &'static str,
        /// Why.
        reason: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// Labels that cannot be understood.
    #[error(
        "the labels in column `{name}` of `{path}` cannot be read without a word from you: {detail}\nhint: {hint}"
    )]
    Labels {
        /// Source as given.
        path: String,
        /// The column.
        name: String,
        /// Values seen, with counts, and what is open.
        detail: String,
        /// The options that answer it.
        hint: String,
    },
    /// Every row was left out.
    #[error("none of the {rows} rows of `{path}` can be used: {reasons}\nhint: {hint}")]
    NothingLeft {
        /// Source as given.
        path: String,
        /// How many rows there are.
        rows: usize,
        /// Reasons with counts.
        reasons: String,
        /// What to do.
        hint: &'static str,
    },
    /// A side of the split that is needed has no pair.
    #[error(
        "{pairs} pair(s) are too few: none is left for {side}\nhint: at least a few dozen pairs are needed to find anything, some hundreds to confirm it"
    )]
    TooFew {
        /// How many there are.
        pairs: usize,
        /// What the missing side is for.
        side: &'static str,
    },
    /// Vectors of different lengths.
    #[error(
        "the vector in row {row} of column `{column}` has {found} dimensions, the first has {expected} (rows counted from 0)\nhint: both embedding columns must come from the same model"
    )]
    VectorDimension {
        /// The column.
        column: String,
        /// Row in the source, from 0.
        row: usize,
        /// Dimensions of the first vector.
        expected: usize,
        /// Dimensions here.
        found: usize,
    },
    /// The preferred response always stands on the same side.
    #[error(
        "all {labels} labels of `{path}` prefer response {side}, so place and preference cannot be told apart\nhint: the preferred response seems to be written {place} in every row; name the two columns `chosen` and `rejected` and leave the label out, and A and B are shuffled"
    )]
    OneSided {
        /// Source as given.
        path: String,
        /// How many labels there are, ties left out.
        labels: usize,
        /// `A` or `B`.
        side: &'static str,
        /// "first" or "second".
        place: &'static str,
    },
    /// Shares that cannot be split by.
    #[error(
        "the split shares {shares:?} cannot be used\nhint: three numbers, none negative, that add up to 1 (train, describe, held_out)"
    )]
    Shares {
        /// As given.
        shares: [f64; 3],
    },
}
