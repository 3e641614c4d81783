//! The packages that a request may lead to, found as they are asked for: which versions may be chosen, what each
//! needs and what it cannot stand.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use resolvo::utils::{Pool as Interned, VersionSet};
use resolvo::{NameId, SolvableId};

use super::super::installed::is_native;
use crate::debian::{
    Alternatives, ArchQualifier, Candidate, Error, Installed, InstalledPackage, MultiArch, Package, Relation, Request,
    Universe, Upgrade, Version,
};

/// apt's priority of what is installed.
const INSTALLED_PRIORITY: i32 = 100;
/// From this priority on a version is taken though it is older.
const DOWNGRADE_PRIORITY: i32 = 1000;

/// One version of a package that may be chosen.
pub(super) struct Item {
    pub candidate: Candidate,
    /// Whether it is what the base has.
    pub installed: bool,
}

impl Item {
    pub fn package(&self) -> &Package {
        &self.candidate.package
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.candidate.package.version)
    }
}

/// Versions of one package, the preferred first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Set(pub Rc<[SolvableId]>);

impl Choice {
    pub fn has(&self, id: SolvableId) -> bool {
        self.set.0.contains(&id)
    }
}

impl Group {
    /// All that satisfies it, as apt tries them.
    pub fn ids(&self) -> impl Iterator<Item = SolvableId> + '_ {
        self.choices.iter().flat_map(|choice| choice.set.0.iter().copied())
    }

    pub fn has(&self, id: SolvableId) -> bool {
        self.choices.iter().any(|choice| choice.has(id))
    }

    /// Whether nothing can satisfy it.
    pub fn is_hopeless(&self) -> bool {
        self.choices.is_empty() && self.omitted.is_none()
    }
}

impl VersionSet for Set {
    type V = Item;
}

/// Versions of one package that satisfy a relation.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub name: NameId,
    pub set: Set,
}

/// A relation of which one alternative has to hold, with all that satisfies it: as apt tries them.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub alternatives: Alternatives,
    pub choices: Vec<Choice>,
    /// The package that counts as installed and satisfies it.
    pub omitted: Option<String>,
}

/// Everything that is known so far.
pub(super) struct Pool<'a> {
    universe: &'a dyn Universe,
    installed: &'a Installed,
    native: &'a str,
    upgrade: Upgrade,
    /// Packages that are wanted in one version only.
    exact: BTreeMap<&'a str, &'a Version>,
    omit: BTreeSet<&'a str>,
    /// The same for what one package needs: the package, then the name.
    omit_of: BTreeSet<(&'a str, &'a str)>,
    /// Names that installed packages provide, and who does.
    provided: BTreeMap<&'a str, BTreeSet<&'a str>>,
    pub interned: Interned<Set>,
    candidates: RefCell<BTreeMap<NameId, Rc<[SolvableId]>>>,
    choices: RefCell<BTreeMap<String, Rc<[Choice]>>>,
    groups: RefCell<BTreeMap<SolvableId, Rc<[Group]>>>,
    recommended: RefCell<BTreeMap<SolvableId, Rc<[Group]>>>,
    conflicts: RefCell<BTreeMap<SolvableId, Rc<[Choice]>>>,
}

impl<'a> Pool<'a> {
    pub fn new(universe: &'a dyn Universe, installed: &'a Installed, request: &'a Request) -> Pool<'a> {
        let native = request.architecture.as_str();
        let wanted: BTreeSet<&str> = request.packages.iter().map(|wanted| wanted.name.as_str()).collect();
        let absent = |name: &&str| !wanted.contains(name) && installed.native(name, native).is_none();
        let omit = request.omit.iter().map(String::as_str).filter(absent).collect();
        let pairs = request.omit_of.iter().flat_map(|(of, names)| names.iter().map(move |name| (of.as_str(), &**name)));
        let omit_of = pairs.filter(|(_, name)| absent(name)).collect();
        let exact = request.packages.iter().filter_map(|wanted| Some((wanted.name.as_str(), wanted.version.as_ref()?)));
        let mut provided: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for one in installed.packages() {
            for name in &one.package.provides {
                provided.entry(&name.name).or_default().insert(&one.package.name);
            }
        }
        Pool {
            universe,
            installed,
            native,
            upgrade: request.upgrade,
            exact: exact.collect(),
            omit,
            omit_of,
            provided,
            interned: Interned::new(),
            candidates: RefCell::default(),
            choices: RefCell::default(),
            groups: RefCell::default(),
            recommended: RefCell::default(),
            conflicts: RefCell::default(),
        }
    }

    pub fn item(&self, id: SolvableId) -> &Item {
        &self.interned.resolve_solvable(id).record
    }

    pub fn name_of(&self, id: SolvableId) -> NameId {
        self.interned.resolve_solvable(id).name
    }

    pub fn name(&self, id: NameId) -> &str {
        self.interned.resolve_package_name(id)
    }

    pub fn universe(&self) -> &'a dyn Universe {
        self.universe
    }

    pub fn native(&self) -> &'a str {
        self.native
    }

    pub fn installed(&self) -> &'a Installed {
        self.installed
    }

    /// All that is installed, as versions that may be chosen: each name with its candidates.
    pub fn base(&self) -> Result<Vec<Choice>, Error> {
        let names = self.installed.packages().iter().map(|one| self.key(&one.package));
        names.map(|name| self.all(self.interned.intern_package_name(name))).collect()
    }

    /// Every version of a package that may be chosen.
    pub fn all(&self, name: NameId) -> Result<Choice, Error> {
        Ok(Choice { name, set: Set(self.candidates(name)?) })
    }

    /// The versions of a package that may be chosen, the preferred first.
    pub fn candidates(&self, name: NameId) -> Result<Rc<[SolvableId]>, Error> {
        if let Some(known) = self.candidates.borrow().get(&name) {
            return Ok(known.clone());
        }
        let found: Vec<Item> = match self.name(name).split_once(':') {
            Some((package, architecture)) => {
                let all = self.installed.named(package).iter();
                all.filter(|one| one.package.architecture == architecture).map(as_installed).collect()
            }
            None => self.eligible(self.name(name))?,
        };
        let found: Rc<[SolvableId]> = found.into_iter().map(|item| self.interned.intern_solvable(name, item)).collect();
        self.candidates.borrow_mut().insert(name, found.clone());
        Ok(found)
    }

    /// The version that is wanted, if one is; then what apt's policy allows.
    fn eligible(&self, name: &str) -> Result<Vec<Item>, Error> {
        let mut items = self.allowed(name)?;
        let Some(exact) = self.exact.get(name) else { return Ok(items) };
        let at = items.iter().position(|item| item.package().version == **exact);
        let wanted = match at {
            Some(at) => Some(items.remove(at)),
            None => {
                let mut offered = self.universe.versions(name)?.into_iter();
                offered.find(|one| one.package.version == **exact).map(|candidate| Item { candidate, installed: false })
            }
        };
        items.splice(0..0, wanted);
        Ok(items)
    }

    /// What apt's policy allows: the versions of the highest priority, and what is installed.
    fn allowed(&self, name: &str) -> Result<Vec<Item>, Error> {
        let installed = self.installed.native(name, self.native);
        let offered = self.universe.versions(name)?.into_iter().map(|candidate| Item { candidate, installed: false });
        let offered: Vec<Item> = offered.collect();
        let top = offered.iter().map(|item| item.candidate.priority).max().unwrap_or_default();
        let Some(present) = installed else {
            return Ok(offered.into_iter().filter(|item| item.candidate.priority == top && top > 0).collect());
        };
        let newer = |item: &Item| {
            let version = &item.package().version;
            item.candidate.priority == top
                && top >= INSTALLED_PRIORITY
                && !present.held
                && (*version > present.package.version
                    || top >= DOWNGRADE_PRIORITY && *version != present.package.version)
        };
        let mut items: Vec<Item> = offered.into_iter().filter(newer).collect();
        let target = match self.upgrade {
            Upgrade::None => None,
            Upgrade::Security => items.iter().position(|item| item.candidate.security),
            Upgrade::All => Some(0).filter(|_| !items.is_empty()),
        };
        match target {
            Some(at) => {
                let best = items.remove(at);
                items.insert(0, as_installed(present));
                items.insert(0, best);
            }
            None => items.insert(0, as_installed(present)),
        }
        Ok(items)
    }

    /// All that satisfies a relation: the package of this name, then those that provide it, as apt ranks them.
    pub fn choices(&self, relation: &Relation) -> Result<Rc<[Choice]>, Error> {
        let key = relation.to_string();
        if let Some(known) = self.choices.borrow().get(&key) {
            return Ok(known.clone());
        }
        let mut found = Vec::new();
        // A package may provide its own name in another version.
        let fits = |item: &Item| relation.fits(Some(&item.package().version)) || provides(item, relation);
        self.choice(&relation.name, relation, fits, &mut found)?;
        let mut providers = Vec::new();
        for name in self.providers(&relation.name)? {
            self.choice(&name, relation, |item| provides(item, relation), &mut providers)?;
        }
        providers.sort_by_cached_key(|choice| self.rank(choice));
        found.append(&mut providers);
        let found: Rc<[Choice]> = found.into();
        self.choices.borrow_mut().insert(key, found.clone());
        Ok(found)
    }

    /// The fitting versions of a package, and of the same one for another architecture.
    fn choice(
        &self,
        name: &str,
        relation: &Relation,
        fits: impl Fn(&Item) -> bool,
        found: &mut Vec<Choice>,
    ) -> Result<(), Error> {
        let foreign = self.installed.named(name).iter().map(|one| self.key(&one.package)).filter(|key| key != name);
        for key in std::iter::once(name.to_string()).chain(foreign) {
            let id = self.interned.intern_package_name(key);
            let candidates = self.candidates(id)?;
            let fitting = candidates.iter().copied().filter(|id| {
                let item = self.item(*id);
                fits(item) && self.right_architecture(relation, item.package())
            });
            let set: Rc<[SolvableId]> = fitting.collect();
            if !set.is_empty() {
                found.push(Choice { name: id, set: Set(set) });
            }
        }
        Ok(())
    }

    /// As dpkg's `archsatisfied`.
    fn right_architecture(&self, relation: &Relation, package: &Package) -> bool {
        let native = is_native(package, self.native);
        match &relation.architecture {
            None => native || package.multi_arch == MultiArch::Foreign,
            Some(ArchQualifier::Any) => package.multi_arch == MultiArch::Allowed,
            Some(ArchQualifier::Architecture(name)) if name == "native" || name == "all" || name == self.native => {
                native
            }
            Some(ArchQualifier::Architecture(name)) => package.architecture == *name,
        }
    }

    /// Names of packages that provide a name, without the package of that name.
    fn providers(&self, name: &str) -> Result<BTreeSet<String>, Error> {
        let offered = self.universe.providers(name)?;
        let mut names: BTreeSet<String> = offered.iter().map(|candidate| candidate.package.name.clone()).collect();
        names.extend(self.provided.get(name).into_iter().flatten().map(ToString::to_string));
        names.remove(name);
        Ok(names)
    }

    /// apt's order of providers: what is installed, what every system has, the priority of the package, its name.
    fn rank(&self, choice: &Choice) -> (bool, bool, usize, String) {
        let Some(item) = choice.set.0.first().map(|id| self.item(*id)) else { return Default::default() };
        let priorities = ["required", "important", "standard", "optional"];
        let priority = priorities.iter().position(|name| *name == item.package().priority).unwrap_or(priorities.len());
        let installed = choice.set.0.iter().any(|id| self.item(*id).installed);
        (!installed, !item.package().essential, priority, self.name(choice.name).to_string())
    }

    /// What a version needs. Of what is installed only what it has already: a base may be broken as it comes.
    pub fn groups(&self, id: SolvableId) -> Result<Rc<[Group]>, Error> {
        if let Some(known) = self.groups.borrow().get(&id) {
            return Ok(known.clone());
        }
        let item = self.item(id);
        let mut groups = Vec::new();
        for alternatives in &item.package().depends {
            let group = self.group(&item.package().name, alternatives)?;
            let satisfied = || group.ids().any(|id| self.item(id).installed);
            if !group.has(id) && (!item.installed || satisfied()) {
                groups.push(group);
            }
        }
        let groups: Rc<[Group]> = groups.into();
        self.groups.borrow_mut().insert(id, groups.clone());
        Ok(groups)
    }

    /// What a version recommends and can be had.
    pub fn recommended(&self, id: SolvableId) -> Result<Rc<[Group]>, Error> {
        if let Some(known) = self.recommended.borrow().get(&id) {
            return Ok(known.clone());
        }
        let mut groups = Vec::new();
        for alternatives in &self.item(id).package().recommends {
            let group = self.group(&self.item(id).package().name, alternatives)?;
            if !group.choices.is_empty() && group.omitted.is_none() {
                groups.push(group);
            }
        }
        let groups: Rc<[Group]> = groups.into();
        self.recommended.borrow_mut().insert(id, groups.clone());
        Ok(groups)
    }

    /// What satisfies one of these alternatives, which `owner` needs.
    pub fn group(&self, owner: &str, alternatives: &Alternatives) -> Result<Group, Error> {
        let omits = |name: &str| self.omit.contains(name) || self.omit_of.contains(&(owner, name));
        let mut group = Group { alternatives: alternatives.clone(), choices: Vec::new(), omitted: None };
        for relation in alternatives {
            for choice in self.choices(relation)?.iter() {
                if omits(self.name(choice.name)) {
                    group.omitted.get_or_insert_with(|| self.name(choice.name).to_string());
                } else {
                    group.choices.push(choice.clone());
                }
            }
            if omits(relation.name.as_str()) {
                group.omitted.get_or_insert_with(|| relation.name.clone());
            }
        }
        Ok(group)
    }

    /// What a version cannot stand: of each package the versions that must not be there.
    pub fn conflicts(&self, id: SolvableId) -> Result<Rc<[Choice]>, Error> {
        if let Some(known) = self.conflicts.borrow().get(&id) {
            return Ok(known.clone());
        }
        let item = self.item(id);
        let mut found: BTreeMap<NameId, Vec<SolvableId>> = BTreeMap::new();
        for relation in item.package().conflicts.iter().chain(&item.package().breaks).flatten() {
            let mut choices = Vec::new();
            let any = Relation { architecture: None, ..relation.clone() };
            let own = |other: &Item| other.package().name == item.package().name;
            let both = |other: &Item| item.installed && other.installed;
            let fits = |other: &Item| {
                let real = other.package().name == any.name && any.fits(Some(&other.package().version));
                (real || provides(other, &any)) && !own(other) && !both(other)
            };
            for name in self.providers(&any.name)?.into_iter().chain([any.name.clone()]) {
                self.forbidden(&name, relation, fits, &mut choices)?;
            }
            for choice in choices {
                found.entry(choice.name).or_default().extend(choice.set.0.iter());
            }
        }
        let found: Rc<[Choice]> = found.into_iter().map(|(name, ids)| Choice { name, set: Set(ids.into()) }).collect();
        self.conflicts.borrow_mut().insert(id, found.clone());
        Ok(found)
    }

    /// Without a qualifier a conflict is with the packages of every architecture.
    fn forbidden(
        &self,
        name: &str,
        relation: &Relation,
        fits: impl Fn(&Item) -> bool,
        found: &mut Vec<Choice>,
    ) -> Result<(), Error> {
        let foreign = self.installed.named(name).iter().map(|one| self.key(&one.package)).filter(|key| key != name);
        for key in std::iter::once(name.to_string()).chain(foreign) {
            let id = self.interned.intern_package_name(key);
            let candidates = self.candidates(id)?;
            let right = |package: &Package| match &relation.architecture {
                Some(ArchQualifier::Architecture(_)) => self.right_architecture(relation, package),
                _ => true,
            };
            let fitting =
                candidates.iter().copied().filter(|id| fits(self.item(*id)) && right(self.item(*id).package()));
            let set: Rc<[SolvableId]> = fitting.collect();
            if !set.is_empty() {
                found.push(Choice { name: id, set: Set(set) });
            }
        }
        Ok(())
    }

    /// Whether a version may replace a later one.
    pub fn may_downgrade(&self, id: SolvableId) -> bool {
        let item = self.item(id);
        item.installed || item.candidate.priority >= DOWNGRADE_PRIORITY
    }

    /// The name by which a package is known here: with its architecture if that is another one.
    fn key(&self, package: &Package) -> String {
        package.qualified(self.native)
    }
}

fn as_installed(one: &InstalledPackage) -> Item {
    let package = Arc::new(one.package.clone());
    Item { candidate: Candidate { package, priority: INSTALLED_PRIORITY, security: false }, installed: true }
}

/// Whether a version provides a name as a relation wants it.
fn provides(item: &Item, relation: &Relation) -> bool {
    let names = item.package().provides.iter();
    names.filter(|one| one.name == relation.name).any(|one| relation.fits(one.version.as_ref()))
}
