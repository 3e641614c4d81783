//! How progress looks: bars on a terminal, plain lines elsewhere, nothing when quiet.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::progress::{Progress, Reporter};
use crate::text;

/// The reporter for this run.
pub fn progress(quiet: bool) -> Progress {
    if quiet {
        Progress::silent()
    } else if io::stderr().is_terminal() {
        Progress::new(Arc::new(Bars::default()))
    } else {
        Progress::new(Arc::new(Lines::default()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[derive(Default)]
struct Bars {
    all: MultiProgress,
    bars: Mutex<BTreeMap<u64, ProgressBar>>,
}

impl Reporter for Bars {
    fn started(&self, id: u64, name: &str, total: Option<u64>) {
        let template = match total {
            Some(_) => {
                "  {msg:<34!} {bar:24} {decimal_bytes:>10}/{decimal_total_bytes:<10} {decimal_bytes_per_sec:>12}"
            }
            None => "  {msg:<34!} {spinner} {decimal_bytes:>10}",
        };
        let bar = self.all.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(text::escape(name));
        lock(&self.bars).insert(id, bar);
    }

    fn advanced(&self, id: u64, delta: u64) {
        if let Some(bar) = lock(&self.bars).get(&id) {
            bar.inc(delta);
        }
    }

    fn finished(&self, id: u64, note: &str) {
        if let Some(bar) = lock(&self.bars).remove(&id) {
            let name = bar.message();
            bar.finish_and_clear();
            if !note.is_empty() {
                let _ = self.all.println(format!("  {name:<34} {}", text::escape(note)));
            }
        }
    }

    fn message(&self, text: &str) {
        let _ = self.all.println(text::escape(text));
    }
}

#[derive(Default)]
struct Lines {
    names: Mutex<BTreeMap<u64, String>>,
}

impl Reporter for Lines {
    fn started(&self, id: u64, name: &str, _: Option<u64>) {
        lock(&self.names).insert(id, text::escape(name));
    }

    fn advanced(&self, _: u64, _: u64) {}

    fn finished(&self, id: u64, note: &str) {
        if let Some(name) = lock(&self.names).remove(&id)
            && !note.is_empty()
        {
            let _ = writeln!(io::stderr(), "  {name}: {}", text::escape(note));
        }
    }

    fn message(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{}", text::escape(text));
    }
}
