//! Values of the project file that end in the image's configuration.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::memory::Search;
use super::policy::Policy;
use crate::error::Result;
use crate::project::{Project, Variant};

/// Parts of names of variables that hold a secret.
const SECRET_NAMES: [&str; 9] =
    ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "CREDENTIALS"];
/// Ends of names of variables that say where one is, or how.
const ELSEWHERE: [&str; 12] =
    ["_FILE", "_PATH", "_DIR", "_URL", "_URI", "_NAME", "_ID", "_TTL", "_TYPE", "_ALGORITHM", "_HEADER", "_LENGTH"];

/// Secrets in the text of the project file, then in the values that the variants make of it.
pub(super) fn look(
    project: &Project,
    variants: &[Variant],
    policy: &Policy,
    search: &Search<'_>,
) -> Result<Vec<Finding>> {
    let file = project.file.strip_prefix(&project.root).unwrap_or(&project.file).display().to_string();
    let mut found = Vec::new();
    let written = search.text(project.text().as_bytes())?;
    for seen in written.iter().filter(|seen| !seen.allowed) {
        found.extend(policy.finding(&seen.rule, (&file, seen.line), title(&seen.rule), seen.evidence.clone()));
    }
    for variant in variants {
        let values = values(variant);
        // One value a line, however many lines it has.
        let line = |(path, value): &(Vec<&str>, &str)| {
            let name = path.last().copied().unwrap_or_default();
            format!("{name} = \"{}\"\n", value.replace('\r', "").replace('\n', "\\n"))
        };
        let seen = search.text(values.iter().map(line).collect::<String>().as_bytes())?;
        for (index, (path, value)) in values.iter().enumerate() {
            let line = || project.written(&variant.name, path).map(|place| place.line_column().0);
            let what = path.join(".");
            let mut secret = false;
            for one in seen.iter().filter(|one| one.line == Some(index + 1)) {
                secret = true;
                // What stands in the file was told with its line.
                if !written.iter().any(|told| told.rule == one.rule && told.evidence == one.evidence) {
                    let message = format!("{} in `{what}`", title(&one.rule));
                    found.extend(policy.finding(&one.rule, (&file, line()), message, one.evidence.clone()));
                }
            }
            let name = path.last().copied().unwrap_or_default();
            if !secret && path.first() != Some(&"image") && is_secret_name(name) && is_value(value) {
                let message = format!("`{what}` is called like a secret, and has a value");
                found.extend(policy.finding("config-secret", (&file, line()), message, None));
            }
        }
    }
    Ok(found)
}

/// What a rule fires at.
pub(super) fn title(id: &str) -> String {
    super::rule::rule(id).map(|rule| rule.title.clone()).unwrap_or_default()
}

/// Every string of a variant that the image keeps, with its place in the project file.
fn values(variant: &Variant) -> Vec<(Vec<&str>, &str)> {
    fn table<'a>(path: &[&'a str], map: &'a BTreeMap<String, String>) -> Vec<(Vec<&'a str>, &'a str)> {
        map.iter().map(|(key, value)| ([path, &[key.as_str()]].concat(), value.as_str())).collect()
    }
    let mut values = table(&["env"], &variant.env);
    values.extend(table(&["image", "labels"], &variant.image.labels));
    if let Some(app) = &variant.app {
        values.extend(table(&["app", "require-env"], &app.require_env));
        values.extend(app.command.iter().map(|word| (vec!["app", "command"], word.as_str())));
    }
    if let Some(check) = &variant.healthcheck {
        values.extend(check.command.iter().map(|word| (vec!["healthcheck", "command"], word.as_str())));
    }
    values
}

pub(super) fn is_secret_name(name: &str) -> bool {
    let name = format!("_{}_", name.to_ascii_uppercase());
    let plain = name.trim_matches('_');
    SECRET_NAMES.iter().any(|secret| name.contains(&format!("_{secret}_")))
        && !ELSEWHERE.iter().any(|end| plain.ends_with(end))
        && !plain.contains("PUBLIC")
}

/// Something that could be a secret: not a path, a number, a switch or nothing.
pub(super) fn is_value(value: &str) -> bool {
    let switch = ["true", "false", "yes", "no", "on", "off", "none", "null", "disabled", "required"];
    value.len() >= 4
        && !value.starts_with(['/', '.'])
        && !value.bytes().all(|byte| byte.is_ascii_digit())
        && !switch.contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        for name in ["DB_PASSWORD", "SECRET_KEY", "SECRET", "GITHUB_TOKEN", "AWS_ACCESS_KEY", "api_key"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["PASSWORD_FILE", "TOKENIZERS_PARALLELISM", "KEY", "PUBLIC_API_KEY", "SECRET_NAME", "KEYBOARD"] {
            assert!(!is_secret_name(name), "{name}");
        }
        assert!(is_value("hunter2") && !is_value("") && !is_value("/run/secrets/db") && !is_value("3600"));
    }
}
