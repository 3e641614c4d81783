//! `stack check --fix`: findings answered by editing the files that they stand in.
//!
//! The stack is data first: what a service becomes is known ([`change`]) before a file is touched. Then text is put in
//! where the values stand ([`source`], [`edit`]), the new texts are read as the old ones were, and a fix is kept only if
//! the stack is exactly what it should have become: nothing else changed, and what was found is gone. A file is never
//! written anew: comments, order, quotes, anchors and line ends stay.

mod change;
mod edit;
mod needs;
mod plan;
mod source;
#[cfg(test)]
mod starts_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value as Json;

use self::change::{Fix, Op};
use self::plan::Plan;
use self::source::{Reason, Source};
use super::check::inspect;
use super::load::{Overlay, Request, Role, Stack, named};
use super::node::{Node, Value};
use super::render::json;
use crate::check::{Finding, Policy, Report};
use crate::error::Result;
use crate::fs;

/// What a run of `--fix` did, or would do.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The files that change.
    pub files: Vec<Rewritten>,
    /// The findings that are answered: service and rule.
    pub fixed: Vec<(String, String)>,
    /// What is found afterwards; the details of each say why it was left.
    pub report: Report,
    /// What to look at now.
    pub advice: Vec<String>,
}

/// A file and its new text.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// As findings name it.
    pub name: String,
    path: PathBuf,
    before: String,
    /// The new text.
    pub after: String,
}

impl Rewritten {
    /// What changes, as `diff -u` shows it.
    pub fn diff(&self) -> String {
        let diff = similar::TextDiff::from_lines(&self.before, &self.after);
        let names = (format!("a/{}", self.name), format!("b/{}", self.name));
        diff.unified_diff().context_radius(3).header(&names.0, &names.1).to_string()
    }
}

impl Fixed {
    /// Writes the files, each as a whole, with its mode. A file that is not any more what it was is an error, and then
    /// none is written.
    pub fn write(&self) -> Result<()> {
        finish(self.prepare()?)
    }

    /// The new files, complete but for their names, after all were looked at.
    fn prepare(&self) -> Result<Vec<(&str, fs::Replacement)>> {
        for file in &self.files {
            let now = fs::read_text(&file.path, super::yaml::FILE_LIMIT)?;
            if now != file.before {
                return Err(super::Error::Changed { file: file.name.clone() }.into());
            }
        }
        let mut prepared = Vec::new();
        for file in &self.files {
            prepared.push((file.name.as_str(), fs::Replacement::new(&file.path, file.after.as_bytes())?));
        }
        Ok(prepared)
    }
}

/// Gives the new files their names. There is no step that does it for all at once: if one cannot be renamed, those that are
/// written are named.
fn finish(files: Vec<(&str, fs::Replacement)>) -> Result<()> {
    let mut written: Vec<String> = Vec::new();
    for (name, file) in files {
        match file.rename() {
            Ok(()) => written.push(format!("`{name}`")),
            Err(source) if written.is_empty() => return Err(source.into()),
            Err(source) => {
                let (file, written_count) = (name.to_string(), written.len());
                return Err(super::Error::Partly { file, written: written.join(", "), written_count, source }.into());
            }
        }
    }
    Ok(())
}

/// Answers what can be answered of a stack's findings. Nothing is written. `guesses`: also what depends on images that are not
/// known.
pub fn fix(request: &Request, policy: &Policy, guesses: bool) -> Result<Fixed> {
    let mut fixer = Fixer::new(request, policy, guesses)?;
    let before = fixer.findings(&fixer.shown)?;
    // What one service gets, another may have from it: nobody is edited for nothing.
    let names = fixer.order();
    for name in &names {
        fixer.service(name)?;
    }
    for name in &names {
        fixer.service(name)?;
    }
    fixer.done(&before)
}

/// Rules by service.
type Fired = BTreeMap<String, BTreeSet<String>>;

struct Fixer<'a> {
    request: &'a Request,
    policy: &'a Policy,
    guesses: bool,
    /// The stack that was asked for, and the one with the services of every profile.
    shown: Stack,
    all: Stack,
    texts: Overlay,
    /// Files that must not be written, and why.
    closed: BTreeMap<PathBuf, &'static str>,
    /// Why fixes were given up, by service and rule.
    left: BTreeMap<(String, String), Reason>,
}

/// The texts with fixes, and the stacks that they make.
struct Tried {
    texts: Overlay,
    shown: Stack,
    all: Stack,
}

impl<'a> Fixer<'a> {
    fn new(request: &'a Request, policy: &'a Policy, guesses: bool) -> Result<Self> {
        let texts = Overlay::new();
        let shown = Stack::load(request)?;
        let all = everything(request, &texts).unwrap_or_else(|_| shown.clone());
        let closed = closed(request, &all);
        Ok(Fixer { request, policy, guesses, shown, all, texts, closed, left: BTreeMap::new() })
    }

    fn findings(&self, stack: &Stack) -> Result<Vec<(String, Finding)>> {
        Ok(inspect(stack, self.policy, self.request.production))
    }

    fn fired(&self, stack: &Stack) -> Result<Fired> {
        let mut fired = Fired::new();
        for (service, finding) in self.findings(stack)? {
            fired.entry(service).or_default().insert(finding.rule);
        }
        Ok(fired)
    }

    /// The files of the stack that can be edited, in their order.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = Vec::new();
        for source in self.all.sources.iter().filter(|source| source.role == Role::Part) {
            if !files.contains(&source.path) {
                files.push(source.path.clone());
            }
        }
        files
    }

    /// The services, those first that others extend: what they get, the others have.
    fn order(&self) -> Vec<String> {
        let sources: Vec<Source> =
            self.files().iter().filter_map(|path| Source::parse(self.text(&self.texts, path)).ok()).collect();
        let parent = |name: &str| {
            let of = |source: &Source| {
                let (_, extends) = source.entry(&source.service(name)?.1, "extends")?;
                let named = source.entry(extends, "service").map_or(extends, |(_, named)| named);
                Some(source.key(named).to_string())
            };
            sources.iter().find_map(of).filter(|parent| parent != name)
        };
        let depth = |name: &str| {
            let mut at = name.to_string();
            // No service extends more than sixteen in a row.
            (0..16).take_while(|_| parent(&at).map(|next| at = next).is_some()).count()
        };
        let mut names: Vec<String> = self.shown.services().map(|(name, _)| name.to_string()).collect();
        names.sort_by_cached_key(|name| (depth(name), name.clone()));
        names
    }

    fn text<'b>(&'b self, texts: &'b Overlay, path: &PathBuf) -> &'b str {
        let read = || self.all.sources.iter().find(|source| source.path == *path).map(|source| source.text.as_str());
        texts.get(path).map(String::as_str).or_else(read).unwrap_or_default()
    }

    /// Makes the fixes of one service: all at once, or, if that is not right, those that are right one by one.
    fn service(&mut self, name: &str) -> Result<()> {
        let planned = self.plan(name, &BTreeSet::new())?;
        let key = |rule: &str| (name.to_string(), rule.to_string());
        for (rule, why) in &planned.left {
            self.left.insert(key(rule), why.clone());
        }
        if planned.fixes.is_empty() {
            return Ok(());
        }
        if let Ok(tried) = self.attempt(name, &planned.fixes, 0) {
            self.keep(tried);
            let whole = planned.fixes.iter().filter(|fix| !fix.is_partial);
            whole.for_each(|fix| drop(self.left.remove(&key(fix.rule))));
            return Ok(());
        }
        let mut given_up = BTreeSet::new();
        for rule in planned.fixes.iter().map(|fix| fix.rule) {
            // What one rule needs may depend on what another could do.
            let planned = self.plan(name, &given_up)?;
            let Some(fix) = planned.fixes.into_iter().find(|fix| fix.rule == rule) else { continue };
            match self.one(name, &fix) {
                Ok(()) if fix.is_partial => {}
                Ok(()) => drop(self.left.remove(&key(rule))),
                Err(why) => {
                    given_up.insert(rule);
                    self.left.insert(key(rule), why);
                }
            }
        }
        Ok(())
    }

    /// Makes one fix, in the first way that is right.
    fn one(&mut self, name: &str, fix: &Fix) -> Result<(), Reason> {
        let mut reason = None;
        for way in 0..WAYS {
            match self.attempt(name, std::slice::from_ref(fix), way) {
                Ok(tried) => {
                    self.keep(tried);
                    return Ok(());
                }
                Err(why) => drop(reason.get_or_insert(why)),
            }
        }
        reason.map_or(Ok(()), Err)
    }

    /// What is to be done about a service's findings, but for those of some rules.
    fn plan(&self, name: &str, without: &BTreeSet<&str>) -> Result<Plan> {
        let fired = self.fired(&self.all)?;
        let rules = fired.get(name).into_iter().flatten().map(String::as_str);
        let rules: BTreeSet<&str> = rules.filter(|rule| !without.contains(rule)).collect();
        let service = self.all.root.get("services").and_then(|services| services.get(name));
        Ok(service.map(|service| plan::plan(&self.all, service, &rules, self.guesses)).unwrap_or_default())
    }

    fn keep(&mut self, tried: Tried) {
        (self.texts, self.shown, self.all) = (tried.texts, tried.shown, tried.all);
    }

    /// The texts with these fixes in them, if they make the stack that they should.
    fn attempt(&self, name: &str, fixes: &[Fix], way: usize) -> Result<Tried, Reason> {
        let mut texts = self.texts.clone();
        for change in fixes.iter().flat_map(|fix| &fix.changes) {
            self.write(&mut texts, name, change, way)?;
        }
        let unreadable = |_| "the edited file could not be read".to_string();
        let shown = Stack::load_over(self.request, &texts).map_err(unreadable)?;
        let all = everything(self.request, &texts).unwrap_or_else(|_| shown.clone());
        let tried = Tried { texts, shown, all };
        self.verify(name, fixes, &tried)?;
        Ok(tried)
    }

    /// One change in one of the files where it can stand. `way` counts the possibilities.
    fn write(&self, texts: &mut Overlay, name: &str, change: &change::Change, way: usize) -> Result<(), Reason> {
        let mut there: Vec<(PathBuf, Source)> = Vec::new();
        let mut reason = "it does not stand in a file of the stack".to_string();
        for path in self.files() {
            match (Source::parse(self.text(texts, &path)), self.closed.get(&path)) {
                (Ok(source), None) if source.service(name).is_some() => there.push((path, source)),
                (Ok(source), Some(why)) if source.service(name).is_some() => reason = why.to_string(),
                (Ok(_), _) => {}
                (Err(why), _) => reason = why,
            }
        }
        if there.is_empty() {
            return Err(reason);
        }
        if change.op == Op::Loopback {
            let own: Vec<_> = there.iter().filter(|(_, source)| edit::has(source, name, &change.path)).collect();
            if own.is_empty() {
                return Err("its ports stand in a service or an anchor that it shares".into());
            }
            for (path, source) in own {
                texts.insert(path.clone(), edit::edit(source, name, change)?);
            }
            return Ok(());
        }
        // Where the value stands already, the last file first: it is the one that counts. Else the first file.
        let mut ways: Vec<&(PathBuf, Source)> =
            there.iter().rev().filter(|(_, source)| edit::has(source, name, &change.path)).collect();
        if ways.is_empty() {
            if self.is_chosen(name, change) {
                return Err("its value comes from a variable, by an anchor or another service".into());
            }
            ways = there.iter().collect();
        }
        let Some((path, source)) = ways.get(way % ways.len().max(1)) else { return Err(reason) };
        // A list that another one hides is written as a whole.
        let whole = way >= ways.len();
        let whole = whole.then(|| self.whole(name, change)).flatten();
        let text = edit::edit(source, name, whole.as_ref().unwrap_or(change))?;
        texts.insert(path.clone(), text);
        Ok(())
    }

    /// Whether a value that would be replaced comes out of a variable, wherever it stands.
    fn is_chosen(&self, name: &str, change: &change::Change) -> bool {
        let mut at = self.all.root.get("services").and_then(|services| services.get(name));
        for key in &change.path {
            at = at.and_then(|node| node.get(key));
        }
        let Some((node, key)) = at.zip(change.path.last()) else { return false };
        let line = self.all.line(node.place);
        let written = line.find(&format!("{key}:")).and_then(|at| line.get(at..)).unwrap_or(line);
        matches!(change.op, Op::Set(_)) && written.split(',').next().is_some_and(|value| value.contains('$'))
    }

    /// A change of a list as the whole list.
    fn whole(&self, name: &str, change: &change::Change) -> Option<change::Change> {
        let (Op::Add(more), [key]) = (&change.op, &change.path[..]) else { return None };
        let old = self.all.root.get("services")?.get(name)?.get(key)?.list()?;
        let old: Vec<change::Val> = old.iter().filter_map(|node| node.scalar().map(change::Val::text)).collect();
        let op = Op::Add(old.into_iter().chain(more.iter().cloned()).collect());
        Some(change::Change { path: change.path.clone(), op })
    }

    /// Holds the new stack against the one that the fixes should have made.
    fn verify(&self, name: &str, fixes: &[Fix], tried: &Tried) -> Result<(), Reason> {
        let mut expected = self.all.root.clone();
        apply(&mut expected, name, fixes);
        let (mut expected, mut found) = (json(&expected), json(&tried.all.root));
        let (want, got) = (services(&mut expected), services(&mut found));
        if expected != found {
            return Err("something else of the file would have changed".into());
        }
        for (other, got) in got {
            let want = want.get(&other).cloned().unwrap_or_default();
            if got == want {
                continue;
            }
            if other == name {
                return Err(
                    "the file would not have become what it should: the value is put together from several places"
                        .into(),
                );
            }
            self.shared(&other, &want, &got)
                .map_err(|key| format!("`{other}` shares it, and `{key}` is not what that service needs"))?;
        }
        let (before, after) = (self.fired(&self.all), self.fired(&tried.all));
        let (Ok(before), Ok(after)) = (before, after) else { return Err("it could not be checked".into()) };
        let still = fixes
            .iter()
            .filter(|fix| !fix.is_partial)
            .find(|fix| after.get(name).is_some_and(|rules| rules.contains(fix.rule)));
        if let Some(fix) = still {
            return Err(format!("`{}` would still be found", fix.rule));
        }
        let is_new = |(service, rules): (&String, &BTreeSet<String>)| {
            rules.iter().find(|rule| !before.get(service).is_some_and(|old| old.contains(*rule))).cloned()
        };
        after.iter().find_map(is_new).map_or(Ok(()), |rule| Err(format!("`{rule}` would be found then")))
    }

    /// Whether what another service got with this one is what its own fixes would have been.
    fn shared(&self, other: &str, before: &Json, after: &Json) -> Result<(), String> {
        let mut own = self.all.root.clone();
        apply(&mut own, other, &self.plan(other, &BTreeSet::new()).unwrap_or_default().fixes);
        let own = own.get("services").and_then(|services| services.get(other)).map(json).unwrap_or_default();
        let keys = after.as_object().into_iter().chain(before.as_object()).flat_map(|map| map.keys());
        for key in keys {
            if after.get(key) != before.get(key) && after.get(key) != own.get(key) {
                return Err(key.clone());
            }
        }
        Ok(())
    }

    /// A line for each service of which too little is known: what is left to be done, or what to try.
    fn by_hand(&self, fixed: &BTreeSet<(String, String)>, still: &BTreeSet<(String, String)>) -> Vec<String> {
        let keys = |name: &str, found: &BTreeSet<(String, String)>| {
            let own = found.iter().filter(|(service, _)| service == name);
            own.filter_map(|(_, rule)| plan::by_hand(rule)).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
        };
        let mut lines = Vec::new();
        for (name, why) in self.shown.services().filter_map(|(name, service)| Some((name, plan::is_strange(service)?)))
        {
            match (keys(name, fixed), keys(name, still)) {
                (written, _) if self.guesses && !written.is_empty() => {
                    lines.push(format!("`{name}`: {why}, and {written} may keep it from starting: try it"));
                }
                (_, left) if !left.is_empty() => {
                    lines.push(format!("`{name}`: {why}, so {left} is left to you: try one after the other"));
                }
                _ => {}
            }
        }
        lines
    }

    fn done(self, before: &[(String, Finding)]) -> Result<Fixed> {
        let after = self.findings(&self.shown)?;
        let key = |(service, finding): &(String, Finding)| (service.clone(), finding.rule.clone());
        let still: BTreeSet<_> = after.iter().map(key).collect();
        let fixed: BTreeSet<_> = before.iter().map(key).filter(|key| !still.contains(key)).collect();
        let mut rules: Vec<&str> = fixed.iter().map(|(_, rule)| rule.as_str()).collect();
        rules.sort_unstable();
        let mut advice: Vec<String> = Vec::new();
        for line in rules.into_iter().filter_map(plan::advice) {
            if !advice.iter().any(|old| old == line) {
                advice.push(line.to_string());
            }
        }
        advice.extend(self.by_hand(&fixed, &still));
        let mut report = Report { files: self.shown.files.len(), ..Report::default() };
        for (service, mut finding) in after {
            let why = self.left.get(&(service, finding.rule.clone()));
            let why = why.map_or_else(|| plan::decision(&finding.rule).to_string(), Clone::clone);
            finding.details.push(format!("left: {why}"));
            report.findings.push(finding);
        }
        report.sort();
        let mut files = Vec::new();
        for (path, after) in &self.texts {
            let at = self.all.sources.iter().position(|source| source.path == *path);
            let name = at.and_then(|at| self.all.files.get(at)).cloned().unwrap_or_default();
            let before = fs::read_text(path, super::yaml::FILE_LIMIT)?;
            if before != *after {
                files.push(Rewritten { name, path: path.clone(), before, after: after.clone() });
            }
        }
        Ok(Fixed { files, fixed: fixed.into_iter().collect(), report, advice })
    }
}

/// The files of a stack that must not be written: what nobody named, and a link leads to, is somebody else's.
fn closed(request: &Request, stack: &Stack) -> BTreeMap<PathBuf, &'static str> {
    let named: Vec<PathBuf> = named(request).iter().map(|path| fs::canonical(path)).collect();
    let why = |path: &PathBuf| match () {
        () if !path.starts_with(&stack.folder) && !named.contains(path) => {
            Some("it stands in a file that a link leads to, out of the project: name it with `-f`")
        }
        () if fs::is_closed(path) => Some("it stands in a file that its owner closed to writing"),
        () => None,
    };
    let paths = stack.sources.iter().map(|source| source.path.clone());
    paths.filter_map(|path| Some((path.clone(), why(&path)?))).collect()
}

/// How many files a change may be tried in, twice: as a part of a list and as the whole.
const WAYS: usize = 8;

/// The stack with the services of every profile.
fn everything(request: &Request, texts: &Overlay) -> Result<Stack> {
    let request = Request { profiles: vec!["*".into()], ..request.clone() };
    Stack::load_over(&request, texts)
}

fn apply(root: &mut Node, name: &str, fixes: &[Fix]) {
    let Value::Map(map) = &mut root.value else { return };
    let Some((_, Node { value: Value::Map(services), .. })) = map.get_mut("services") else { return };
    let Some((_, service)) = services.get_mut(name) else { return };
    fixes.iter().flat_map(|fix| &fix.changes).for_each(|change| change.apply(service));
}

/// Takes the services out of a stack.
fn services(root: &mut Json) -> BTreeMap<String, Json> {
    match root.get_mut("services").map(Json::take) {
        Some(Json::Object(map)) => map.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}
