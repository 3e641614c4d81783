//! A terminal: a program that believes to be in front of somebody, and what is on the screen then.

use std::io::{Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ingot::process::Running;

use super::tool;

/// How long anything on a screen is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program in a terminal, by `script`.
pub struct Terminal {
    running: Running,
    keyboard: ChildStdin,
    said: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    columns: usize,
    rows: usize,
}

impl Terminal {
    /// Starts a command in a terminal of this size.
    pub fn start(command: &Command, columns: usize, rows: usize) -> Terminal {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let quoted: Vec<String> =
            words.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"))).collect();
        let line = format!("stty cols {columns} rows {rows} && exec {}", quoted.join(" "));
        let mut script = Command::new(tool("script", "bsdutils"));
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        script.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.env("TERM", "xterm").env("SHELL", "/bin/sh").current_dir(command.get_current_dir().unwrap());
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = Running::start(script).unwrap();
        let (keyboard, mut pipe) = (running.child().stdin.take().unwrap(), running.child().stdout.take().unwrap());
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                kept.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Terminal { running, keyboard, said, reader: Some(reader), columns, rows }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// Waits until the screen is as wanted.
    #[track_caller]
    pub fn wait_for(&self, wanted: impl Fn(&Screen) -> bool) -> Screen {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (screen, _) = self.played();
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "it never looks so:\n{}", screen.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end; the exit code, the last screen, and all that were to be seen before.
    pub fn end(mut self) -> (i32, Screen, Vec<String>) {
        let status = self.running.wait(PATIENCE).unwrap();
        self.reader.take().unwrap().join().unwrap();
        let (screen, before) = self.played();
        (status.code().unwrap_or(-1), screen, before)
    }

    fn played(&self) -> (Screen, Vec<String>) {
        let mut screen = Screen::new(self.columns, self.rows);
        let mut before: Vec<String> = Vec::new();
        let said = self.said.lock().unwrap().clone();
        screen.play(&String::from_utf8_lossy(&said), &mut |now| {
            let text = now.text();
            if before.last() != Some(&text) {
                before.push(text);
            }
        });
        (screen, before)
    }
}

/// What a terminal shows: as much of one as progress bars use.
pub struct Screen {
    lines: Vec<Vec<char>>,
    columns: usize,
    row: usize,
    column: usize,
    wraps: bool,
    cursor: bool,
    /// What is not understood.
    pub strange: Vec<String>,
}

impl Screen {
    fn new(columns: usize, rows: usize) -> Screen {
        let lines = vec![vec![' '; columns]; rows];
        Screen { lines, columns, row: 0, column: 0, wraps: true, cursor: true, strange: Vec::new() }
    }

    /// Its lines, without what is empty at their ends and at the end.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_string()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// The same as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Whether the cursor is to be seen where the next line begins, and lines are broken as they were before.
    pub fn is_in_order(&self) -> bool {
        self.column == 0 && self.cursor && self.wraps
    }

    fn play(&mut self, text: &str, drawn: &mut impl FnMut(&Screen)) {
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\r' => self.column = 0,
                '\n' => self.down(),
                '\u{8}' => self.column = self.column.saturating_sub(1),
                '\u{1b}' if characters.next_if_eq(&'[').is_some() => {
                    let mut words = String::new();
                    let last = loop {
                        match characters.next() {
                            Some(end @ '\u{40}'..='\u{7e}') => break Some(end),
                            Some(other) => words.push(other),
                            None => break None,
                        }
                    };
                    let Some(last) = last else { return };
                    if last == 'A' {
                        drawn(self);
                    }
                    self.act(&words, last);
                }
                control if control.is_control() => self.strange.push(format!("{control:?}")),
                printed => self.print(printed),
            }
        }
        drawn(self);
    }

    fn print(&mut self, character: char) {
        if self.column == self.columns && self.wraps {
            self.column = 0;
            self.down();
        }
        self.column = self.column.min(self.columns - 1);
        self.lines[self.row][self.column] = character;
        self.column += 1;
    }

    fn down(&mut self) {
        if self.row + 1 == self.lines.len() {
            self.lines.remove(0);
            self.lines.push(vec![' '; self.columns]);
        } else {
            self.row += 1;
        }
    }

    fn act(&mut self, words: &str, last: char) {
        let number = words.parse().unwrap_or(1).max(1);
        let (row, column) = (self.row, self.column.min(self.columns - 1));
        match (last, words) {
            ('A', _) => self.row = row.saturating_sub(number),
            ('B', _) => self.row = (row + number).min(self.lines.len() - 1),
            ('C', _) => self.column = (column + number).min(self.columns - 1),
            ('D', _) => self.column = column.saturating_sub(number),
            ('G', _) => self.column = (number - 1).min(self.columns - 1),
            ('K', "" | "0") => self.lines[row][column..].fill(' '),
            ('K', "2") => self.lines[row].fill(' '),
            ('J', "" | "0") => {
                self.lines[row][column..].fill(' ');
                self.lines[row + 1..].iter_mut().for_each(|line| line.fill(' '));
            }
            ('m', _) => {}
            ('l', "?7") => self.wraps = false,
            ('h', "?7") => self.wraps = true,
            ('l', "?25") => self.cursor = false,
            ('h', "?25") => self.cursor = true,
            _ => self.strange.push(format!("{words}{last}")),
        }
    }
}
