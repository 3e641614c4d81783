//! What a machine has.

use serde::Serialize;

use crate::text::{Align, Table};

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is, and works.
    Good,
    /// It is not; nothing that is always needed.
    Missing,
    /// It has to be, and is not.
    Bad,
}

/// One thing that was looked for.
#[derive(Serialize)]
pub struct Check {
    name: String,
    state: State,
    found: String,
}

impl Check {
    /// A finding.
    pub fn new(name: &str, state: State, found: impl Into<String>) -> Self {
        Check { name: name.to_string(), state, found: found.into() }
    }
}

/// `ingot doctor`.
#[derive(Serialize)]
pub struct DoctorReport {
    /// What was looked for, in order.
    pub checks: Vec<Check>,
}

impl DoctorReport {
    /// For people.
    pub fn text(&self) -> String {
        let mut table = Table::new([("what", Align::Left), ("state", Align::Left), ("found", Align::Left)]);
        for check in &self.checks {
            let state = match check.state {
                State::Good => "ok",
                State::Missing => "-",
                State::Bad => "FAIL",
            };
            table.row([check.name.clone(), state.into(), check.found.clone()]);
        }
        table.render()
    }
}
