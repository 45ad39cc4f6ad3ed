//! The nearest valid name, for messages about one that is not there.

/// The candidate with the smallest edit distance to `wanted`, when that is small or one contains the other.
pub fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.chars().take(80).collect::<String>().to_lowercase();
    let target = plain(wanted);
    candidates
        .filter_map(|name| {
            let other = plain(name);
            let distance = edit_distance(&target, &other);
            let limit = (target.chars().count() / 3).max(1);
            let contains =
                other.len() >= 4 && target.len() >= 4 && (other.contains(&target) || target.contains(&other));
            (distance <= limit || contains).then_some((distance, name))
        })
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let best = (diagonal + usize::from(x != *y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["promt", "response_A", "winner", "text_a"];
        let near = |wanted| nearest(wanted, names.iter().copied());
        assert_eq!(near("prompt"), Some("promt"));
        assert_eq!(near("Response_a"), Some("response_A"));
        assert_eq!(near("zzz"), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "ab"), 2);
    }
}
