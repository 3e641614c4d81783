//! As whom the image runs.

use crate::validate::findings::{Draft, Findings, brief};
use crate::validate::subject::Subject;

/// The largest user or group id that engines take.
const ID_LIMIT: i64 = i32::MAX as i64;
/// The longest name of a user or a group.
const NAME_LIMIT: usize = 256;
const PLACE: &str = "config.User";

/// The rows of /etc/passwd or /etc/group: name, id.
pub(in crate::validate) type Rows<'a> = Vec<(&'a str, i64)>;

pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    if subject.platform.os != "linux" {
        return;
    }
    let field = match subject.config.get("User") {
        None => "",
        Some(value) => match value.as_str() {
            Some(text) => text,
            None => return findings.add(Draft::new("user-invalid", PLACE, "it is no text")),
        },
    };
    let (user, group) = field.split_once(':').map_or((field, None), |(user, group)| (user, Some(group)));
    let (users, groups) = (rows(subject, "etc/passwd"), rows(subject, "etc/group"));
    let odd = |name: &str| name.is_empty() || name.len() > NAME_LIMIT || !name.bytes().all(|b| b.is_ascii_graphic());
    match uid(user, &users) {
        Ok(0) => {
            let how = if field.is_empty() { "none is set".into() } else { format!("`{}` is user 0", brief(field)) };
            findings.add(Draft::new("user-root", PLACE, format!("the image runs as root: {how}")));
        }
        Ok(_) | Err(_) if odd(user) || group.is_some_and(|group| odd(group) || group.contains(':')) => {
            let message = format!("engines read `{}` in different ways", brief(field));
            findings.add(Draft::new("user-invalid", PLACE, message));
        }
        // Who is in /etc/passwd is not known.
        Err(_) if !subject.is_whole() => {}
        Err(reason) => findings.add(Draft::new("user-invalid", PLACE, format!("`{}`: {reason}", brief(field)))),
        Ok(uid) => {
            if !subject.is_whole() {
                return;
            }
            if let Some(Err(reason)) = group.map(|group| gid(group, &groups)) {
                return findings.add(Draft::new("user-invalid", PLACE, format!("`{}`: {reason}", brief(field))));
            }
            known(field, uid, (&users, &groups), findings);
        }
    }
}

/// A user that is one: is it a number, and is it known?
fn known(field: &str, uid: i64, (users, groups): (&Rows<'_>, &Rows<'_>), findings: &mut Findings<'_>) {
    let shown = brief(field);
    let (user, group) = field.split_once(':').map_or((field, None), |(user, group)| (user, Some(group)));
    let numeric = |text: &str| number(text).is_some();
    if !numeric(user) || group.is_some_and(|group| !numeric(group)) {
        let message = format!("`{shown}` is user {uid} only as long as /etc/passwd says so");
        findings.add(Draft::new("user-name", PLACE, message));
    }
    if !users.iter().any(|(_, id)| *id == uid) {
        findings.add(Draft::new("user-unknown", PLACE, format!("/etc/passwd has no user {uid}")));
    } else if let Some(gid) = group.and_then(number).filter(|gid| !groups.iter().any(|(_, id)| id == gid)) {
        findings.add(Draft::new("user-unknown", PLACE, format!("/etc/group has no group {gid}")));
    }
}

/// Who it is for an engine: first the name in /etc/passwd, then the number. No user is root.
pub(in crate::validate) fn uid(user: &str, users: &Rows<'_>) -> Result<i64, String> {
    if user.is_empty() {
        return Ok(0);
    }
    let named = users.iter().find(|(name, _)| *name == user).map(|(_, id)| *id);
    match (named, number(user)) {
        (Some(id), Some(number)) if id != number => Err(format!("/etc/passwd has a user of that name, who is {id}")),
        (Some(id), _) | (None, Some(id)) if (0..=ID_LIMIT).contains(&id) => Ok(id),
        (None, None) => Err("/etc/passwd has no such user".into()),
        _ => Err(format!("user ids are from 0 to {ID_LIMIT}")),
    }
}

pub(in crate::validate) fn gid(group: &str, groups: &Rows<'_>) -> Result<i64, String> {
    let named = groups.iter().find(|(name, _)| *name == group).map(|(_, id)| *id);
    match named.or_else(|| number(group)) {
        Some(id) if (0..=ID_LIMIT).contains(&id) => Ok(id),
        Some(_) => Err(format!("group ids are from 0 to {ID_LIMIT}")),
        None => Err("/etc/group has no such group".into()),
    }
}

/// As engines parse it: `+0` and `00` are 0. What does not fit is the largest number.
fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(i64::MAX))
}

/// User and group of the image's processes as engines read `User`: the group that it names, else the user's own in
/// /etc/passwd. Nothing where the user is nonsense.
pub(in crate::validate) fn ids(subject: &Subject) -> Option<(u32, Option<u32>)> {
    let field = subject.config.get("User").and_then(|user| user.as_str()).unwrap_or_default();
    let (user, group) = field.split_once(':').map_or((field, None), |(user, group)| (user, Some(group)));
    let id = |id: i64| u32::try_from(id).ok();
    let uid = id(uid(user, &rows(subject, "etc/passwd")).ok()?)?;
    let named = |group| gid(group, &rows(subject, "etc/group")).ok().and_then(id);
    Some((uid, group.map_or_else(|| primary_group(subject, uid), named)))
}

fn primary_group(subject: &Subject, uid: u32) -> Option<u32> {
    subject.text("etc/passwd")?.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| fields.get(3)?.parse().ok())?
    })
}

pub(in crate::validate) fn rows<'a>(subject: &'a Subject, file: &str) -> Rows<'a> {
    let row = |line: &'a str| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    };
    subject.text(file).unwrap_or_default().lines().filter_map(row).collect()
}
