//! Ctrl-C, SIGTERM and SIGHUP at any moment: children die with their trees, containers and temporary files go, the exit code
//! says which signal it was. Nothing stands half-written under a final name, because every write is atomic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

/// What is to be done first.
static FIRST: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Whether the program is about to end because of a signal.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether a signal ends the program: who draws stops, because what is said then is the last word.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Waits for the end if a signal has brought it: whatever failed since then failed because of it.
pub fn wait_if_ending() {
    while is_ending() {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Has something done first when the program is to end: a service says goodbye. Once.
pub fn at_end(what: impl Fn() + Send + Sync + 'static) {
    let _ = FIRST.set(Box::new(what));
}

/// Starts the thread that waits for signals.
pub fn install() {
    // A file that grows beyond what the user may write is an error that has a path, not the end of the program.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            ENDING.store(true, Ordering::SeqCst);
            if let Some(first) = FIRST.get() {
                first();
            }
            crate::process::kill_all();
            crate::engine::remove_all();
            crate::fs::remove_temporaries();
            #[allow(clippy::exit, reason = "a signal ends the program wherever it is")]
            std::process::exit(128 + signal);
        }
    });
}
