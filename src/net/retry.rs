//! When a request is sent again, and after which pause. Nothing is left to chance: pauses double from a fixed one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

use super::{Error, Response};

/// The times and counts that the room goes by. Tests use shorter ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How often a request is sent at most.
    pub attempts: u32,
    /// The pause before the second attempt; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest Retry-After that is honoured. Whoever asks for more gets no second attempt.
    pub wait_limit: Duration,
    /// For DNS, TCP and TLS together.
    pub connect: Duration,
    /// How long nothing may come.
    pub idle: Duration,
    /// How long the server may think after an upload: it hashes and moves what it got.
    pub commit: Duration,
    /// The span over which the rate is measured.
    pub window: Duration,
    /// How many bytes must come in a window.
    pub window_minimum: u64,
}

impl Pace {
    /// What people get.
    pub(crate) const DEFAULT: Pace = Pace {
        attempts: 5,
        first_pause: Duration::from_millis(500),
        wait_limit: Duration::from_secs(120),
        connect: Duration::from_secs(10),
        idle: Duration::from_secs(30),
        commit: Duration::from_secs(300),
        window: Duration::from_secs(60),
        window_minimum: 60 << 10,
    };

    /// The pause after the `attempt`th attempt, the first being 1.
    pub(crate) fn pause(&self, attempt: u32) -> Duration {
        self.first_pause.saturating_mul(1 << attempt.saturating_sub(1).min(16))
    }
}

/// Whether a status says "not now" instead of "no".
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 499 | 500 | 502 | 503 | 504 | 522)
}

/// The pause before the next attempt, or `None` if there is none.
pub(super) fn decide(pace: &Pace, attempt: u32, outcome: &Result<Response, Error>) -> Option<Duration> {
    if attempt >= pace.attempts {
        return None;
    }
    match outcome {
        Ok(response) if is_transient(response.status) => match retry_after(response) {
            Some(wait) if wait > pace.wait_limit => None,
            Some(wait) => Some(wait.max(pace.first_pause)),
            None => Some(pace.pause(attempt)),
        },
        Err(error) if error.is_transient() => Some(pace.pause(attempt)),
        _ => None,
    }
}

/// Retry-After in either form: seconds, or a date, measured against the server's own clock if it sends one.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.header("retry-after")?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    let until = date(text)?;
    let now = response.header("date").and_then(date).unwrap_or_else(jiff::Timestamp::now);
    Some(Duration::from_secs(until.as_second().saturating_sub(now.as_second()).max(0) as u64))
}

/// One origin's "not before": when a server asks for a pause, all threads keep it.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<BTreeMap<String, Instant>>);

impl Gate {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Instant>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Closes the gate of `url`'s origin for `pause`.
    pub(super) fn close(&self, url: &Url, pause: Duration) {
        let until = Instant::now() + pause;
        let mut gates = self.lock();
        let gate = gates.entry(url.origin().ascii_serialization()).or_insert(until);
        *gate = (*gate).max(until);
    }

    /// Waits until the gate is open.
    pub(super) fn pass(&self, url: &Url) {
        let until = self.lock().get(&url.origin().ascii_serialization()).copied();
        if let Some(left) = until.and_then(|until| until.checked_duration_since(Instant::now())) {
            thread::sleep(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Result<Response, Error> {
        Ok(Response {
            status,
            url: Url::parse("https://a.example/").unwrap(),
            headers: headers.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            body: Vec::new(),
        })
    }

    #[test]
    fn pauses_double_and_end_after_five_attempts() {
        let pace = Pace::DEFAULT;
        let pauses: Vec<_> = (1..=5).map(|n| decide(&pace, n, &answer(503, &[])).map(|p| p.as_millis())).collect();
        assert_eq!(pauses, [Some(500), Some(1000), Some(2000), Some(4000), None]);
        for status in [200, 400, 401, 403, 404, 501] {
            assert_eq!(decide(&pace, 1, &answer(status, &[])), None, "{status}");
        }
    }

    #[test]
    fn retry_after_is_honoured_up_to_the_limit() {
        let pace = Pace::DEFAULT;
        let date = ("Date", "Wed, 21 Oct 2026 07:28:00 GMT");
        let table: [(&[(&str, &str)], Option<u64>); 9] = [
            (&[("Retry-After", "2")], Some(2000)),
            (&[("Retry-After", " 120 ")], Some(120_000)),
            (&[("Retry-After", "121")], None),
            (&[("Retry-After", "86400")], None),
            (&[("Retry-After", "99999999999999999999999")], None),
            (&[("Retry-After", "-1")], Some(500)),
            (&[("Retry-After", "0")], Some(500)),
            (&[("Retry-After", "Wed, 21 Oct 2026 07:28:07 GMT"), date], Some(7000)),
            (&[("Retry-After", "Wed, 21 Oct 2020 07:28:07 GMT"), date], Some(500)),
        ];
        for (headers, expected) in table {
            let pause = decide(&pace, 1, &answer(429, headers)).map(|pause| pause.as_millis() as u64);
            assert_eq!(pause, expected, "{headers:?}");
        }
    }

    #[test]
    fn a_closed_gate_holds_everyone_at_this_origin() {
        let gate = Gate::default();
        let url = |text: &str| Url::parse(text).unwrap();
        gate.close(&url("https://a.example/x"), Duration::from_millis(60));
        gate.close(&url("https://a.example/x"), Duration::ZERO);
        let before = Instant::now();
        gate.pass(&url("https://b.example/"));
        assert!(before.elapsed() < Duration::from_millis(50));
        gate.pass(&url("https://a.example/y"));
        assert!(before.elapsed() >= Duration::from_millis(60));
    }
}
