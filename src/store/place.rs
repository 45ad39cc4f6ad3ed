//! What stands at a path, seen before anything is written there.

use std::path::Path;

use crate::limits;

/// What a path is that nothing may be written over: a link, a folder, a device; `None` for a plain file or nothing.
pub(super) fn odd(path: &Path) -> Option<String> {
    let kind = std::fs::symlink_metadata(path).ok()?.file_type();
    if kind.is_symlink() {
        let target = std::fs::read_link(path).map(|target| target.display().to_string()).unwrap_or_default();
        return Some(format!("a link to `{target}`"));
    }
    if kind.is_dir() {
        return Some("a folder".into());
    }
    limits::odd_kind(path).map(str::to_owned)
}

/// Whether a path is written as that of a folder: with a separator at the end.
pub(crate) fn names_a_folder(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

/// The folder of a path.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
