//! How a stack comes up: a live table on a terminal, plain lines elsewhere, nothing when quiet.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

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

/// What a terminal is taken for that does not say its size.
const USUAL: (usize, usize) = (80, 24);
/// The most and the least characters of a service's name, and of what it does ("waits for ..."): the other columns need
/// room, too.
const NAME: (usize, usize) = (24, 10);
/// In wide terminals a column of those two may have such a part of the width.
const PART: usize = 5;

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

/// A table that is drawn over itself. The cursor rests below it, where the next line is to begin.
#[derive(Default)]
struct Live {
    /// How many characters the lines have that are drawn.
    drawn: Vec<usize>,
    /// How wide the first two columns were: they do not become narrower.
    widths: [usize; 2],
}

impl Viewer for Live {
    fn show(&mut self, rows: &[Row]) {
        // What is said at the end is not drawn over.
        if signals::is_ending() {
            return;
        }
        let frame = self.frame(rows, size());
        let mut to = io::stderr().lock();
        let _ = to.write_all(frame.as_bytes()).and_then(|()| to.flush());
    }

    fn wants_lines(&self) -> bool {
        true
    }
}

impl Live {
    /// What draws the table over the one before, in one piece.
    fn frame(&mut self, rows: &[Row], (columns, height): (usize, usize)) -> String {
        let mut lines = table(rows, &mut self.widths, columns);
        // What has left the screen above cannot be drawn over.
        let room = height.saturating_sub(1).max(1);
        if lines.len() > room {
            let more = lines.len() - room + 1;
            lines.truncate(room - 1);
            lines.push(format!("  and {more} more"));
        }
        // A terminal that has become narrower has broken the lines.
        let up: usize = self.drawn.iter().map(|length| length.div_ceil(columns).max(1)).sum();
        let mut out = String::from("\r");
        if up > 0 {
            out += &format!("\u{1b}[{up}A");
        }
        // Without breaks at its edge: characters may be wider than they count.
        out += "\u{1b}[?7l";
        lines.iter().for_each(|line| out += &format!("\u{1b}[2K{line}\n"));
        out += "\u{1b}[J\u{1b}[?7h";
        self.drawn = lines.iter().map(|line| line.chars().count()).collect();
        out
    }
}

/// The lines of the table, its columns one below the other.
fn table(rows: &[Row], widths: &mut [usize; 2], columns: usize) -> Vec<String> {
    let most = (columns / PART).clamp(NAME.1, NAME.0);
    let names: Vec<String> = rows.iter().map(|row| cut(&text::escape(&row.service), most)).collect();
    let states: Vec<String> = rows.iter().map(|row| cut(&row.state, most)).collect();
    let all = [(&names, "SERVICE"), (&states, "STATE")];
    for ((texts, head), width) in all.into_iter().zip(widths.iter_mut()) {
        let needed = texts.iter().map(|one| one.chars().count()).max().unwrap_or(0).max(head.len());
        *width = needed.max(*width).min(most);
    }
    let [name_width, state_width] = *widths;
    let line = |name: &str, state: &str, health: &str, since: &str, said: &str| {
        let line = format!("  {name:<name_width$}  {state:<state_width$}  {health:<9}  {since:>7}  {said}");
        line.chars().take(columns).collect::<String>().trim_end().to_string()
    };
    let mut lines = vec![line("SERVICE", "STATE", "HEALTH", "SINCE", "LAST LINE")];
    for ((row, name), state) in rows.iter().zip(&names).zip(&states) {
        let since = row.age.map(seconds).unwrap_or_default();
        let said: String = row.line.trim().chars().take(columns).collect();
        lines.push(line(name, state, &row.health, &since, &text::escape(&said)));
    }
    lines
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_string(),
    }
}

/// The columns and lines of the terminal.
fn size() -> (usize, usize) {
    let mut found = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes into a structure of the type that it is for, which is there until it returns.
    let told = unsafe { libc::ioctl(io::stderr().as_raw_fd(), libc::TIOCGWINSZ, &mut found) } == 0;
    match (usize::from(found.ws_col), usize::from(found.ws_row)) {
        (1.., 1..) if told => (usize::from(found.ws_col), usize::from(found.ws_row)),
        _ => USUAL,
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

    fn row(service: &str, state: &str, health: &str, age: Option<u64>, line: &str) -> Row {
        Row {
            service: service.into(),
            state: state.into(),
            health: health.into(),
            age: age.map(Duration::from_secs),
            line: line.into(),
        }
    }

    #[test]
    fn the_table_has_its_columns_below_one_another() {
        let rows = [
            row("db", "running", "healthy", Some(130), " ready\x1b[2J\r"),
            row("a-very-long-name-of-a-service", "waits for db, cache, queue, mail", "", None, ""),
            row("web", "running", "starting", Some(0), &"x".repeat(1000)),
        ];
        let both = [100, 60].map(|columns| table(&rows, &mut [0; 2], columns).join("\n"));
        insta::assert_snapshot!(both.join("\n\n"), @r"
          SERVICE               STATE                 HEALTH       SINCE  LAST LINE
          db                    running               healthy      2 min  ready\u{1b}[2J
          a-very-long-name-of…  waits for db, cache…
          web                   running               starting       0 s  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx

          SERVICE       STATE         HEALTH       SINCE  LAST LINE
          db            running       healthy      2 min  ready\u{1b
          a-very-long…  waits for d…
          web           running       starting       0 s  xxxxxxxxxx
        ");
        let mut widths = [0; 2];
        let first = table(&rows, &mut widths, 100);
        let second = table(&rows[..1], &mut widths, 100);
        assert_eq!(first[..2], second[..], "columns stay where they are");
    }

    #[test]
    fn a_table_is_drawn_over_itself_in_any_terminal() {
        let rows: Vec<Row> = (0..9).map(|number| row(&format!("s{number}"), "running", "", Some(1), "x")).collect();
        let mut live = Live::default();
        let first = live.frame(&rows[..2], (80, 24));
        assert!(
            first.starts_with("\r\u{1b}[?7l\u{1b}[2K  SERVICE") && first.ends_with("\n\u{1b}[J\u{1b}[?7h"),
            "{first:?}"
        );
        assert!(live.frame(&rows[..2], (80, 24)).starts_with("\r\u{1b}[3A"));
        // Each line has 44 characters or a few more: in 40 columns they are two.
        assert!(live.frame(&rows[..2], (40, 24)).starts_with("\r\u{1b}[6A"));
        let low = Live::default().frame(&rows, (80, 5));
        assert!(low.matches('\n').count() == 4 && low.contains("  s1 ") && low.contains("  and 7 more\n"), "{low:?}");
        assert_eq!(Live::default().frame(&rows, (80, 1)).matches('\n').count(), 1);
    }
}
