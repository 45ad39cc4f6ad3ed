//! A comparison in the terminal: its table.

use std::fmt::Write;

use comfy_table::{Cell as TableCell, CellAlignment, ContentArrangement, Table, presets};
use wimhf::Comparison;
use wimhf::compare::BLANK_BELOW;
use wimhf::report::comparison::{clause, p_value, shown, tested};
use wimhf::report::text::thousands;

/// Rows of the terminal's table.
const LISTED: usize = 15;

/// The text for a terminal or a pipe, ending with a newline.
pub fn terminal(found: &Comparison) -> String {
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = terminal_into(&mut out, found);
    out
}

fn terminal_into(out: &mut String, found: &Comparison) -> std::fmt::Result {
    for (index, (name, labels)) in found.parts.iter().enumerate() {
        writeln!(out, "{}: {name}, {} labels", letter(index), thousands(*labels))?;
    }
    let differing = found.known.iter().filter(|row| row.differs).count();
    writeln!(out)?;
    if differing == 0 {
        writeln!(
            out,
            "No difference is beyond chance: {} concepts were compared (Wald tests, corrected by Holm at 1 %).",
            tested(&found.known)
        )?;
    } else {
        writeln!(
            out,
            "{differing} of {} concepts differ beyond chance (Wald tests, corrected by Holm at 1 %). Δ is the difference in win rate, in \
             points, with a 95 % interval; response length is held fixed. Blank: fewer than {:.0} % of the pairs differ in it.",
            tested(&found.known),
            BLANK_BELOW * 100.0
        )?;
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.force_no_tty();
    if table.width().is_none() {
        table.set_width(120);
    }
    let mut head = vec!["The response that …".to_owned()];
    head.extend((0..found.parts.len()).map(letter));
    head.extend(["p (Holm)".to_owned(), String::new()]);
    table.set_header(head);
    for row in found.known.iter().filter(|row| row.p.is_some()).take(LISTED) {
        let right = |text: String| TableCell::new(text).set_alignment(CellAlignment::Right);
        let mut cells = vec![TableCell::new(clause(row))];
        cells.extend(row.cells.iter().map(|cell| right(shown(cell))));
        cells.push(right(row.p_holm.map_or("–".into(), p_value)));
        cells.push(TableCell::new(match (row.reverses, row.differs) {
            (true, _) => "reverses",
            (_, true) => "differs",
            _ => "",
        }));
        table.add_row(cells);
    }
    writeln!(out, "{table}")?;
    for note in &found.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// A, B, … for the columns of the terminal's table.
fn letter(index: usize) -> String {
    char::from_u32('A' as u32 + index as u32).map_or_else(|| index.to_string(), String::from)
}
