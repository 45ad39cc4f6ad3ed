//! OpenAssistant: message trees with `rank`, as rows (`message_id`, `parent_id`) or nested (`replies`).

use std::collections::HashMap;

use polars::prelude::*;
use serde::Deserialize;

use crate::pairs::ReadOptions;
use crate::pairs::columns::Columns;
use crate::pairs::error::PairsError;
use crate::pairs::format::{ColumnMap, ExtractOptions, ExtractedPairs, FormatAdapter, keys, numbers};
use crate::pairs::ranked::{Dialogue, Rankings};
use crate::pairs::texts;

pub(super) struct OpenAssistant;

/// Deeper threads than this are circles.
const DEPTH: usize = 1000;

impl FormatAdapter for OpenAssistant {
    fn name(&self) -> &'static str {
        "OpenAssistant trees"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["message_id", "parent_id", "text", "role", "rank", "message_tree_id"]
    }

    fn recognise(&self, columns: &Columns, _: &ReadOptions) -> Option<ColumnMap> {
        let mut plan = ColumnMap {
            more: vec![
                columns.find(&["message_id"])?,
                columns.find(&["parent_id"])?,
                columns.find(&["text"])?,
                columns.find(&["role"])?,
            ],
            label: Some(columns.find(&["rank"])?),
            ranked: true,
            ..ColumnMap::default()
        };
        plan.more.extend(columns.find(&["deleted"]));
        plan.groups.extend(columns.find(&["message_tree_id"]));
        Some(plan)
    }

    fn take(
        &self,
        frame: &DataFrame,
        plan: &ColumnMap,
        how: &ExtractOptions<'_>,
    ) -> Result<ExtractedPairs, PairsError> {
        let key = |at| keys(plan.column(frame, at, how.path)?, how.path);
        let (id, parent, role) = (key(0)?, key(1)?, key(3)?);
        let text = texts::text(plan.column(frame, 2, how.path)?, how.path)?;
        let rank = numbers(plan.label_column(frame, how.path)?, how.path)?;
        let deleted = match plan.more.get(4) {
            Some(_) => numbers(plan.column(frame, 4, how.path)?, how.path)?,
            None => Vec::new(),
        };
        let is_assistant = |row: usize| role.get(row) == Some("assistant");
        let row_of: HashMap<&str, usize> =
            (0..frame.height()).filter_map(|row| Some((id.get(row)?, row))).collect();
        // Replies to a message, messages in the order of the file.
        let mut order: Vec<(&str, Vec<u32>)> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut rankings = Rankings::new(text.clone());
        for row in 0..frame.height() {
            let Some(parent) = parent.get(row).filter(|_| is_assistant(row)) else { continue };
            if deleted.get(row) == Some(&1.0) {
                rankings.leave_out(row as u32, "deleted message");
                continue;
            }
            let at = *known.entry(parent).or_insert_with(|| {
                order.push((parent, Vec::new()));
                order.len() - 1
            });
            order[at].1.push(row as u32);
        }
        for (asked, replies) in &order {
            let Some(&row) = replies.first() else { continue };
            // From the reply up to the root.
            let mut thread: Vec<usize> = Vec::new();
            let mut next = Some(*asked);
            let whole = loop {
                let Some(name) = next else { break true };
                match row_of.get(name) {
                    Some(&above) if thread.len() < DEPTH => {
                        thread.push(above);
                        next = parent.get(above);
                    }
                    _ => break false,
                }
            };
            if !whole {
                rankings.leave_out(row, "message whose thread is not in the file");
                continue;
            }
            let members: Vec<(u32, f64)> = replies.iter().map(|&row| (row, -rank[row as usize])).collect();
            rankings.add(row, &prompt(&thread, &text, is_assistant), &members);
        }
        Ok(rankings.pairs(how.pairing))
    }

    fn document(&self, bytes: &[u8]) -> Option<Result<DataFrame, String>> {
        let first = bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
        let first = first.get(..first.len().min(1 << 20)).unwrap_or(first);
        if !first.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let says = |what: &[u8]| first.windows(what.len()).any(|window| window == what);
        if !(says(b"\"replies\"") && says(b"\"prompt\"") && says(b"\"message_tree_id\"")) {
            return None;
        }
        Some(messages_of_trees(bytes))
    }
}

/// The thread that a reply answers, given from its end: alone bare, else as a transcript.
fn prompt(thread: &[usize], text: &StringChunked, is_assistant: impl Fn(usize) -> bool) -> String {
    let mut dialogue = Dialogue::default();
    let (mut user, mut last) = (String::new(), String::new());
    for &row in thread.iter().rev() {
        let said = text.get(row).unwrap_or("");
        if is_assistant(row) {
            dialogue.push(&user, said);
            user.clear();
        } else {
            // Somebody may speak twice.
            if !user.is_empty() {
                user.push_str("\n\n");
            }
            user.push_str(said);
        }
        last.clone_from(&user);
    }
    dialogue.ask(&last)
}

#[derive(Deserialize)]
struct Tree {
    message_tree_id: String,
    prompt: Message,
}

#[derive(Deserialize)]
struct Message {
    message_id: String,
    text: Option<String>,
    role: String,
    #[serde(default)]
    rank: Option<f64>,
    #[serde(default)]
    deleted: Option<bool>,
    #[serde(default)]
    replies: Vec<Message>,
}

/// Nested trees, one a line, as the rows of the other layout.
fn messages_of_trees(bytes: &[u8]) -> Result<DataFrame, String> {
    let (mut ids, mut parents, mut texts, mut roles) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut ranks, mut trees, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    for (line, content) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if content.trim_ascii().is_empty() {
            continue;
        }
        let tree: Tree =
            serde_json::from_slice(content).map_err(|error| format!("line {}: {error}", line + 1))?;
        let mut open: Vec<(Option<String>, Message)> = vec![(None, tree.prompt)];
        while let Some((parent, message)) = open.pop() {
            for reply in message.replies.into_iter().rev() {
                open.push((Some(message.message_id.clone()), reply));
            }
            ids.push(message.message_id);
            parents.push(parent);
            texts.push(message.text);
            roles.push(message.role);
            ranks.push(message.rank);
            trees.push(tree.message_tree_id.clone());
            deleted.push(message.deleted.unwrap_or(false));
        }
    }
    df!(
        "message_id" => ids, "parent_id" => parents, "text" => texts, "role" => roles, "rank" => ranks,
        "message_tree_id" => trees, "deleted" => deleted,
    )
    .map_err(|error| error.to_string())
}
