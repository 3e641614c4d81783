//! How a stack comes up: a live table on a terminal, plain lines elsewhere, nothing when quiet.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::settings::Session;
use super::signals;
use crate::engine::Engine;
use crate::process;
use crate::stack::background;
use crate::stack::state::Place;
use crate::stack::up::{self, Row, Viewer};
use crate::text;

/// What an engine's daemon has begun, it ends without its client.
const SETTLING: Duration = Duration::from_millis(300);

/// The longest line of a log in the table, in characters.
const LINE: usize = 60;

/// On Ctrl-C, says what there is of the stack: nothing half-started is left without being told.
pub fn interrupted(engine: &Engine, stack: &str, place: &Place) {
    let (engine, stack, place) = (engine.clone(), stack.to_string(), place.clone());
    signals::at_end(move || {
        // The provider first: what it has not started by now, it does not start any more.
        process::kill_all();
        thread::sleep(SETTLING);
        let mut there: Vec<String> = match engine.project(&stack) {
            Ok(containers) => containers.iter().map(up::told).collect(),
            Err(error) => vec![format!("what {} cannot say: {error}", engine.kind())],
        };
        let served = background::look(&place).ok().flatten().is_some_and(|sandbox| sandbox.pid.is_some());
        there.extend(served.then(|| "the sandbox service".to_string()));
        let told = match there.is_empty() {
            true => format!("interrupted: nothing of the stack `{stack}` was started"),
            false => format!(
                "interrupted: of the stack `{stack}` there is {}\nhint: `ingot stack up` goes on from here, `ingot stack down` \
                 takes everything down",
                there.join(", ")
            ),
        };
        let _ = writeln!(io::stderr(), "\n{}", text::escape_lines(&told));
    });
}

/// The viewer for this run.
pub fn viewer(session: &Session) -> Box<dyn Viewer> {
    if session.printer.quiet() {
        Box::new(Silent)
    } else if io::stderr().is_terminal() {
        Box::new(Live::default())
    } else {
        Box::new(Lines::default())
    }
}

struct Silent;

impl Viewer for Silent {
    fn show(&mut self, _: &[Row]) {}
}

/// A line whenever a service's state or health changes.
#[derive(Default)]
struct Lines {
    told: BTreeMap<String, (String, String)>,
}

impl Viewer for Lines {
    fn show(&mut self, rows: &[Row]) {
        for row in rows {
            let now = (row.state.clone(), row.health.clone());
            if self.told.get(&row.service) == Some(&now) {
                continue;
            }
            let health = if row.health.is_empty() { String::new() } else { format!(", {}", row.health) };
            let age = row.age.map(|age| format!(" ({})", seconds(age))).unwrap_or_default();
            let line = format!("  {}: {}{health}{age}", row.service, row.state);
            let _ = writeln!(io::stderr(), "{}", text::escape(&line));
            self.told.insert(row.service.clone(), now);
        }
    }
}

/// A table that is drawn over itself.
#[derive(Default)]
struct Live {
    all: MultiProgress,
    rows: BTreeMap<String, ProgressBar>,
}

impl Viewer for Live {
    fn show(&mut self, rows: &[Row]) {
        let service = rows.iter().map(|row| row.service.chars().count()).max().unwrap_or_default();
        let state = rows.iter().map(|row| row.state.chars().count()).max().unwrap_or_default().max(8);
        for row in rows {
            let bar = self.rows.entry(row.service.clone()).or_insert_with(|| {
                let bar = self.all.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("  {wide_msg}") {
                    bar.set_style(style);
                }
                bar
            });
            let age = row.age.map(seconds).unwrap_or_default();
            let said: String = text::escape(&row.line).chars().take(LINE).collect();
            let (name, now) = (text::escape(&row.service), &row.state);
            bar.set_message(format!("{name:<service$}  {now:<state$}  {:<9}  {age:>6}  {said}", row.health));
            bar.tick();
        }
    }

    fn wants_lines(&self) -> bool {
        true
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // What was shown last stays: it is what the stack looked like.
        self.rows.values().for_each(ProgressBar::abandon);
    }
}

fn seconds(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        more => format!("{} min", more / 60),
    }
}
