//! Random archives: an answer holds all relations, as a checker finds that knows nothing of the resolver, and where
//! there is no answer, trying every possibility finds none either.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{Archive, base, text};
use super::*;
use crate::debian::{Alternatives, InstalledPackage, Package, Upgrade};

/// What is there in the end.
type World<'a> = BTreeMap<&'a str, &'a Package>;

fn holds(alternatives: &Alternatives, world: &World) -> bool {
    alternatives.iter().any(|relation| {
        world.values().any(|package| {
            let real = package.name == relation.name && relation.fits(Some(&package.version));
            real || package.provides.iter().any(|one| one.name == relation.name && relation.fits(one.version.as_ref()))
        })
    })
}

fn excludes(package: &Package, other: &Package) -> bool {
    let relations = package.conflicts.iter().chain(&package.breaks).flatten();
    package.name != other.name
        && relations.into_iter().any(|relation| {
            let real = other.name == relation.name && relation.fits(Some(&other.version));
            real || other.provides.iter().any(|one| one.name == relation.name && relation.fits(one.version.as_ref()))
        })
}

/// What is wrong with a world that came of `installed`.
fn fault(world: &World, archive: &Archive, installed: &Installed, request: &Request) -> Option<String> {
    let before: World = installed.packages().iter().map(|one| (one.package.name.as_str(), &one.package)).collect();
    for wanted in &request.packages {
        let relation = Relation { name: wanted.name.clone(), architecture: None, version: None };
        let known =
            archive.all().iter().any(|one| one.package.name == wanted.name) || before.contains_key(&*wanted.name);
        let there = match world.get(wanted.name.as_str()) {
            Some(package) => wanted.version.as_ref().is_none_or(|version| package.version == *version),
            None => !known && holds(&vec![relation], world),
        };
        if !there {
            return Some(format!("{wanted:?} is not there"));
        }
    }
    for (name, old) in &before {
        if world.get(name).is_none_or(|new| new.version < old.version) {
            return Some(format!("{name} is gone or older"));
        }
    }
    let changed =
        |package: &Package| before.get(package.name.as_str()).is_none_or(|old| old.version != package.version);
    for package in world.values() {
        for group in &package.depends {
            if !holds(group, world) && (changed(package) || holds(group, &before)) {
                return Some(format!("{} {} lacks {group:?}", package.name, package.version));
            }
        }
        for other in world.values() {
            if excludes(package, other) && (changed(package) || changed(other)) {
                return Some(format!("{} excludes {}", package.name, other.name));
            }
        }
    }
    None
}

/// Whether any world at all is without fault.
fn possible(archive: &Archive, installed: &Installed, request: &Request) -> bool {
    let mut names: BTreeMap<&str, Vec<Option<&Package>>> = BTreeMap::new();
    for candidate in archive.all() {
        names.entry(&candidate.package.name).or_insert_with(|| vec![None]).push(Some(&candidate.package));
    }
    for InstalledPackage { package, .. } in installed.packages() {
        let options = names.entry(&package.name).or_default();
        options.retain(|option| option.is_some_and(|one| one.version > package.version));
        options.push(Some(package));
    }
    let names: Vec<(&str, Vec<Option<&Package>>)> = names.into_iter().collect();
    let all: usize = names.iter().map(|(_, options)| options.len()).product();
    (0..all).any(|number| {
        let mut rest = number;
        let mut world = World::new();
        for (name, options) in &names {
            if let Some(package) = options[rest % options.len()] {
                world.insert(name, package);
            }
            rest /= options.len();
        }
        fault(&world, archive, installed, request).is_none()
    })
}

fn relation() -> impl Strategy<Value = String> {
    let operator = prop::sample::select(vec!["", "", "", "(= 1)", "(>= 2)", "(<< 2)", "(>= 3)", "(>> 1)"]);
    (0..8usize, operator).prop_map(|(name, operator)| {
        let name = ["p0", "p1", "p2", "p3", "p4", "p5", "v0", "v1"][name];
        format!("{name} {operator}")
    })
}

fn line() -> impl Strategy<Value = String> {
    let group = prop::collection::vec(relation(), 1..3).prop_map(|all| all.join(" | "));
    let depends = prop::collection::vec(group, 0..3);
    let conflicts = prop::option::weighted(0.3, relation());
    let breaks = prop::option::weighted(0.2, relation());
    let provides = prop::sample::select(vec!["", "", "", "v0", "v1", "v0 (= 2)", "v0, v1 (= 1)", "p5 (= 2)"]);
    (0..6u8, 1..4u8, depends, conflicts, breaks, provides, any::<bool>()).prop_map(
        |(name, version, depends, conflicts, breaks, provides, security)| {
            let mut line = format!("p{name} {version}; Depends: {}; Provides: {provides}", depends.join(", "));
            line.push_str(if security { "; Security: yes" } else { "" });
            conflicts.iter().for_each(|one| line.push_str(&format!("; Conflicts: {one}")));
            breaks.iter().for_each(|one| line.push_str(&format!("; Breaks: {one}")));
            line
        },
    )
}

fn lines(all: &[String]) -> String {
    let mut seen = std::collections::BTreeSet::new();
    let fresh = |line: &&String| seen.insert(line.split(';').next().unwrap().to_string());
    all.iter().filter(fresh).cloned().collect::<Vec<_>>().join("\n")
}

fn wanted() -> impl Strategy<Value = Vec<String>> {
    let one = prop::sample::select(vec!["p0", "p1", "p2", "p3", "p4", "p5", "p0=1", "p1=2", "p2=3", "v0", "v1"]);
    prop::collection::vec(one.prop_map(String::from), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_hold_and_refusals_are_right(
        offered in prop::collection::vec(line(), 1..12),
        present in prop::collection::vec(line(), 0..4),
        wanted in wanted(),
        mode in 0..3usize,
        recommends in any::<bool>(),
        turned in any::<prop::sample::Index>(),
    ) {
        let archive = Archive::new(&text(&lines(&offered)));
        let mut names = std::collections::BTreeSet::new();
        let present: Vec<String> = present.into_iter().filter(|line| names.insert(line[..2].to_string())).collect();
        let installed = base(&present.join("\n"));
        let packages = wanted.iter().enumerate().map(|(index, text)| Wanted::parse(text, index).unwrap()).collect();
        let upgrade = [Upgrade::None, Upgrade::Security, Upgrade::All][mode];
        let request = Request { packages, upgrade, recommends, architecture: "amd64".into(), ..Request::default() };
        let shown = match solve(&archive, &installed, &request) {
            Ok(solution) => {
                let mut world: World =
                    installed.packages().iter().map(|one| (one.package.name.as_str(), &one.package)).collect();
                for change in &solution.changes {
                    world.insert(&change.candidate.package.name, &change.candidate.package);
                }
                let fault = fault(&world, &archive, &installed, &request);
                prop_assert!(fault.is_none(), "{} for {solution:?}", fault.unwrap());
                super::tests::shown(&solution)
            }
            Err(error) => {
                let proved = matches!(error, SolveError::Unsatisfiable { .. } | SolveError::Together { .. });
                prop_assert!(!proved || !possible(&archive, &installed, &request), "{error}");
                let told = crate::error::Explain::details(&error).unwrap_or_default();
                prop_assert!(!proved || (1..=5).contains(&told.lines().count()), "{error}: {told}");
                format!("{error} {told}")
            }
        };
        let mut offered = lines(&offered).lines().map(String::from).collect::<Vec<_>>();
        let at = turned.index(offered.len());
        offered.rotate_left(at);
        let again = match solve(&Archive::new(&text(&offered.join("\n"))), &installed, &request) {
            Ok(solution) => super::tests::shown(&solution),
            Err(error) => format!("{error} {}", crate::error::Explain::details(&error).unwrap_or_default()),
        };
        prop_assert_eq!(shown, again);
    }
}
