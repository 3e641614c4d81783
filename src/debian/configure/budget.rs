//! What reading a script may cost: work that counts as commands, and how deep things stand within each other.

use std::collections::BTreeMap;

use super::reader::{Known, Reader};

/// How many bytes that are copied, kept or parsed count as a command of the script.
const STEP_BYTES: usize = 512;
/// How deep commands and words may stand within each other, those of called functions included.
const NESTING_LIMIT: usize = 150;

impl Reader<'_, '_> {
    /// Work that counts as commands, so that what a script can cost is limited.
    pub fn charge(&mut self, bytes: usize) {
        self.steps = self.steps.saturating_add(bytes / STEP_BYTES);
    }

    /// The variables, to come back to.
    pub(super) fn remember(&mut self) -> BTreeMap<String, Known> {
        let length = self.variables.iter().map(|(name, value)| name.len() + value.as_deref().map_or(0, str::len));
        self.charge(length.sum());
        self.variables.clone()
    }

    /// Goes one level deeper; `None`: it is too deep.
    pub(super) fn nested<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.nesting >= NESTING_LIMIT {
            self.leave("what is nested too deep");
            return None;
        }
        self.nesting += 1;
        let done = work(self);
        self.nesting -= 1;
        Some(done)
    }
}
