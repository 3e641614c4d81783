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

/// The longest line of a log that is drawn, in characters: the terminal's width cuts it.
const LINE: usize = 400;
/// The longest name of a service, and of what it does ("waits for ..."), in characters: the other columns need room.
const NAME: usize = 24;

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
    /// The first is that of the names of the columns.
    bars: Vec<ProgressBar>,
}

impl Viewer for Live {
    fn show(&mut self, rows: &[Row]) {
        // What is said at the end is not drawn over.
        if signals::is_ending() {
            return;
        }
        for (number, line) in table(rows).into_iter().enumerate() {
            if self.bars.len() <= number {
                let bar = self.all.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("  {wide_msg}") {
                    bar.set_style(style);
                }
                self.bars.push(bar);
            }
            if let Some(bar) = self.bars.get(number) {
                bar.set_message(line);
                bar.tick();
            }
        }
    }

    fn wants_lines(&self) -> bool {
        true
    }
}

/// The lines of the table, its columns one below the other.
fn table(rows: &[Row]) -> Vec<String> {
    let names: Vec<String> = rows.iter().map(|row| cut(&text::escape(&row.service))).collect();
    let states: Vec<String> = rows.iter().map(|row| cut(&row.state)).collect();
    let width = |head: &str, all: &[String]| all.iter().map(|one| one.chars().count()).max().unwrap_or(0).max(head.len());
    let (name_width, state_width) = (width("SERVICE", &names), width("STATE", &states));
    let line = |name: &str, state: &str, health: &str, since: &str, said: &str| {
        format!("{name:<name_width$}  {state:<state_width$}  {health:<9}  {since:>7}  {said}").trim_end().to_string()
    };
    let mut lines = vec![line("SERVICE", "STATE", "HEALTH", "SINCE", "LAST LINE")];
    for ((row, name), state) in rows.iter().zip(&names).zip(&states) {
        let since = row.age.map(seconds).unwrap_or_default();
        let said: String = text::escape(row.line.trim()).chars().take(LINE).collect();
        lines.push(line(name, state, &row.health, &since, &said));
    }
    lines
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(NAME) {
        Some(_) => text.chars().take(NAME - 1).chain(['…']).collect(),
        None => text.to_string(),
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // What was shown last stays: it is what the stack looked like.
        self.bars.iter().for_each(ProgressBar::abandon);
    }
}

fn seconds(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        more => format!("{} min", more / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_its_columns_below_one_another() {
        let row = |service: &str, state: &str, health: &str, age: Option<u64>, line: &str| Row {
            service: service.into(),
            state: state.into(),
            health: health.into(),
            age: age.map(Duration::from_secs),
            line: line.into(),
        };
        let rows = [
            row("db", "running", "healthy", Some(130), " ready\x1b[2J\r"),
            row("a-very-long-name-of-a-service", "waits for db, cache, queue, mail", "", None, ""),
            row("web", "running", "starting", Some(0), &"x".repeat(1000)),
        ];
        let lines: Vec<String> = table(&rows).iter().map(|line| line.chars().take(90).collect()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        SERVICE                   STATE                     HEALTH       SINCE  LAST LINE
        db                        running                   healthy      2 min  ready\u{1b}[2J
        a-very-long-name-of-a-s…  waits for db, cache, qu…
        web                       running                   starting       0 s  xxxxxxxxxxxxxxxxxx
        ");
        assert!(table(&rows).iter().all(|line| line.chars().count() < LINE + 90));
    }
}
