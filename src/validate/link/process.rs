//! One file with all that it needs, loaded as one process would.

use std::collections::BTreeMap;

use super::loader::{Found, Loader};
use super::world::World;
use crate::validate::elf::Elf;

/// The most files of one process. Seen: 120.
const MEMBERS_LIMIT: usize = 4_000;
/// The longest chain from a library to the program.
const DEPTH_LIMIT: usize = 64;

/// A file that is loaded.
struct Member {
    found: Found,
    /// What asked for it first.
    asked_by: Option<usize>,
}

/// What was loaded, in its order.
#[derive(Default)]
pub(super) struct Process<'a> {
    members: Vec<Member>,
    /// By soname and by the name that was asked for: its object.
    names: BTreeMap<&'a str, usize>,
}

/// What a file asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask<'a> {
    /// Who asks.
    pub object: usize,
    pub library: &'a str,
    /// What it got.
    pub got: Option<usize>,
}

impl<'a> Process<'a> {
    /// Loads a program with all that it needs.
    pub fn start(world: &World<'a>, loader: &Loader<'_>, program: usize) -> (Process<'a>, Vec<Ask<'a>>) {
        let mut process = Process::default();
        let asks = process.load(world, loader, program);
        (process, asks)
    }

    /// The same process, in which nothing is remembered of who loaded what later.
    pub fn copy(&self) -> Process<'a> {
        let members = self.members.iter().map(|one| Member { found: one.found.clone(), asked_by: one.asked_by });
        Process { members: members.collect(), names: self.names.clone() }
    }

    /// Loads one more file, as a program does by dlopen.
    pub fn load(&mut self, world: &World<'a>, loader: &Loader<'_>, object: usize) -> Vec<Ask<'a>> {
        let Some(root) = world.get(object) else { return Vec::new() };
        let origin = root.path.parent().map(|folder| folder.to_string()).unwrap_or_default();
        let mut next = self.members.len();
        self.add(world, Member { found: Found { object, origin }, asked_by: None }, root.path.name());
        let mut asks = Vec::new();
        while let Some(member) = self.members.get(next) {
            let number = member.found.object;
            let Some(elf) = world.get(number).map(|object| object.elf) else { break };
            for library in &elf.needed {
                if !loader.spend() {
                    return asks;
                }
                let known = self.names.get(library.as_str()).copied().or_else(|| world.loader(library));
                let got = known.or_else(|| {
                    let found = loader.find(library, &self.chain(world, next))?;
                    let object = found.object;
                    self.add(world, Member { found, asked_by: Some(next) }, library);
                    Some(object)
                });
                asks.push(Ask { object: number, library, got });
            }
            next += 1;
        }
        asks
    }

    /// Which object stands for a name.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    fn add(&mut self, world: &World<'a>, member: Member, name: &'a str) {
        let object = member.found.object;
        let soname = world.get(object).and_then(|object| object.elf.soname.as_deref());
        for name in soname.into_iter().chain([name]) {
            self.names.entry(name).or_insert(object);
        }
        // The same file under another name is loaded once.
        if self.members.len() < MEMBERS_LIMIT && self.members.iter().all(|known| known.found.object != object) {
            self.members.push(member);
        }
    }

    /// A member, what asked for it, and so on; at last the program.
    fn chain<'b>(&'b self, world: &'b World<'_>, member: usize) -> Vec<(&'b Elf, &'b str)> {
        let mut chain = Vec::new();
        let mut next = Some(member);
        while let Some(member) = next.and_then(|next| self.members.get(next)).filter(|_| chain.len() < DEPTH_LIMIT) {
            let Some(object) = world.get(member.found.object) else { break };
            chain.push((object.elf, member.found.origin.as_str()));
            next = member.asked_by;
        }
        if let Some(program) = self.members.first()
            && let Some(object) = world.get(program.found.object)
        {
            chain.push((object.elf, program.found.origin.as_str()));
        }
        chain
    }
}
