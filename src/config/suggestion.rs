//! What was probably meant.

/// What was probably meant, or everything that is known.
pub(super) fn suggestion(name: &str, known: &[&str]) -> String {
    if let Some((section, key)) = name.split_once('.').filter(|(section, _)| known.contains(section)) {
        return format!("write `{section}:` and, below it and indented, `{key}:`");
    }
    match nearest(name, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// The nearest of what is known, if it is near: a few letters off, or one begins with the other.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let begins = |word: &str| {
        lower.len() > 3 && word.len() > 3 && (word.starts_with(&lower) || lower.starts_with(word))
    };
    let by_distance = known.iter().map(|word| (strsim::damerau_levenshtein(&lower, word), *word)).min();
    match by_distance {
        Some((distance, word)) if distance <= 1 + name.len() / 4 => Some(word),
        _ => known.iter().copied().find(|word| begins(word)),
    }
}
