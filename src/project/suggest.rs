//! "Did you mean": the nearest of a few known names.

/// The most edits between a name and what may be meant by it.
const EDITS_LIMIT: usize = 2;

/// The known name that is nearest to `name`, if it is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = folded(name);
    let limit = (wanted.chars().count() / 3).clamp(1, EDITS_LIMIT);
    known
        .into_iter()
        .map(|candidate| (distance(&wanted, &folded(candidate)), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", or the whole list after `introduction`.
pub fn hint(name: &str, known: &[String], introduction: &str) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("{introduction} {}", list(known.iter().map(String::as_str))),
    }
}

/// "`a`, `b`, `c`".
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Case and the kind of dash are no difference worth an edit.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let width = b.len() + 1;
    let mut cost = vec![0usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            cost[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = cost[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let edit = (cost[(i - 1) * width + j] + 1).min(cost[i * width + j - 1] + 1).min(replace);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    edit.min(cost[(i - 2) * width + j - 2] + 1)
                } else {
                    edit
                }
            };
        }
    }
    cost[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["name", "default-variant", "labels", "command"];
        for (typed, meant) in [
            ("nmae", Some("name")),
            ("default_variant", Some("default-variant")),
            ("label", Some("labels")),
            ("Command", Some("command")),
            ("cmd", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }
}
