//! `--timings`: what took how long. A reporter notes when every task and stage began and ended, and on which thread;
//! afterwards there is a table for people and a trace (Chrome's trace event format) for Perfetto and its like.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Result;
use crate::fs;
use crate::oci::json::canonical;
use crate::progress::{Progress, Reporter};
use crate::text::{self, Align, Table};

/// One task or stage that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    id: u64,
    name: String,
    stage: bool,
    start: Duration,
    end: Duration,
    bytes: u64,
    note: String,
    lane: u64,
}

impl Span {
    fn contains(&self, other: &Span) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    fn took(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

#[derive(Default)]
struct Noted {
    open: BTreeMap<u64, Span>,
    closed: Vec<Span>,
    lanes: BTreeMap<u64, String>,
}

/// Notes what happens, and passes it on.
struct Recorder {
    inner: Arc<dyn Reporter>,
    begin: Instant,
    noted: Mutex<Noted>,
}

/// The times of one run.
pub struct Timings {
    recorder: Arc<Recorder>,
}

thread_local! {
    static LANE: Cell<u64> = const { Cell::new(0) };
}

/// A number for this thread, from 1.
fn lane() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    LANE.with(|lane| {
        if lane.get() == 0 {
            lane.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        lane.get()
    })
}

impl Recorder {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, id: u64, name: &str, stage: bool) {
        let (start, lane) = (self.begin.elapsed(), lane());
        let name = name.to_string();
        let span = Span { id, name, stage, start, end: start, bytes: 0, note: String::new(), lane };
        let mut noted = self.noted();
        let thread = thread::current().name().map_or_else(|| format!("thread {lane}"), str::to_string);
        noted.lanes.entry(lane).or_insert(thread);
        noted.open.insert(id, span);
    }

    fn end(&self, id: u64, note: &str) {
        let end = self.begin.elapsed();
        let mut noted = self.noted();
        if let Some(span) = noted.open.remove(&id) {
            noted.closed.push(Span { end, note: note.to_string(), ..span });
        }
    }
}

impl Reporter for Recorder {
    fn started(&self, id: u64, name: &str, total: Option<u64>) {
        self.begin(id, name, false);
        self.inner.started(id, name, total);
    }

    fn advanced(&self, id: u64, delta: u64) {
        if let Some(span) = self.noted().open.get_mut(&id) {
            span.bytes += delta;
        }
        self.inner.advanced(id, delta);
    }

    fn finished(&self, id: u64, note: &str) {
        self.end(id, note);
        self.inner.finished(id, note);
    }

    fn message(&self, text: &str) {
        self.inner.message(text);
    }

    fn entered(&self, id: u64, name: &str) {
        self.begin(id, name, true);
        self.inner.entered(id, name);
    }

    fn left(&self, id: u64) {
        self.end(id, "");
        self.inner.left(id);
    }
}

impl Timings {
    /// Notes everything that is reported to the returned progress.
    pub fn of(progress: &Progress) -> (Timings, Progress) {
        let recorder = Recorder { inner: progress.reporter(), begin: Instant::now(), noted: Mutex::default() };
        let recorder = Arc::new(recorder);
        (Timings { recorder: recorder.clone() }, Progress::new(recorder))
    }

    /// Ended spans by their start, the outer one first.
    fn spans(&self) -> Vec<Span> {
        let mut spans = self.recorder.noted().closed.clone();
        spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end), span.id));
        spans
    }

    /// A row for each stage and task, below the stage in which it began.
    pub fn table(&self) -> String {
        let spans = self.spans();
        let columns = [
            ("stage", Align::Left),
            ("start", Align::Right),
            ("time", Align::Right),
            ("bytes", Align::Right),
            ("rate", Align::Right),
            ("result", Align::Left),
        ];
        let mut table = Table::new(columns);
        let mut above: Vec<&Span> = Vec::new();
        for span in &spans {
            above.retain(|stage| stage.contains(span));
            let indent = "  ".repeat(above.len());
            let bytes = if span.bytes == 0 { String::new() } else { text::size(span.bytes) };
            table.row([
                format!("{indent}{}", span.name),
                seconds(span.start),
                seconds(span.took()),
                bytes,
                rate(span).unwrap_or_default(),
                span.note.clone(),
            ]);
            if span.stage {
                above.push(span);
            }
        }
        table.render()
    }

    /// The trace: complete events, one lane a thread.
    fn trace(&self) -> Value {
        let mut spans = self.spans();
        let mut names = self.recorder.noted().lanes.clone();
        unravel(&mut spans, &mut names);
        let name = |(lane, name): (&u64, &String)| json!({ "ph": "M", "name": "thread_name", "pid": 1, "tid": lane, "ts": 0, "args": { "name": name } });
        let event = |span: &Span| {
            let (start, end) = (microseconds(span.start), microseconds(span.end));
            json!({
                "ph": "X", "name": span.name, "cat": if span.stage { "stage" } else { "task" }, "pid": 1,
                "tid": span.lane, "ts": start, "dur": end - start, "args": { "bytes": span.bytes, "result": span.note },
            })
        };
        let events: Vec<Value> = names.iter().map(name).chain(spans.iter().map(event)).collect();
        json!({ "displayTimeUnit": "ms", "traceEvents": events })
    }

    /// Writes the trace.
    pub fn write(&self, file: &Path) -> Result<()> {
        Ok(fs::write_atomic(file, &canonical(&self.trace()))?)
    }
}

/// Viewers want the spans of a lane nested. A task that was handed to another thread may not be: it gets a lane of its
/// own beside that of its thread.
fn unravel(spans: &mut [Span], names: &mut BTreeMap<u64, String>) {
    let mut open: BTreeMap<u64, Vec<(Duration, Duration)>> = BTreeMap::new();
    let mut beside: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut next = names.keys().last().map_or(1, |last| last + 1);
    for span in spans {
        let own = span.lane;
        let lanes = beside.entry(own).or_insert_with(|| vec![own]);
        let fits = |lane: &&u64| {
            let stack = open.entry(**lane).or_default();
            stack.retain(|(_, end)| *end > span.start);
            stack.last().is_none_or(|(start, end)| *start <= span.start && span.end <= *end)
        };
        let lane = match lanes.iter().find(fits) {
            Some(lane) => *lane,
            None => {
                let name = names.get(&own).cloned().unwrap_or_default();
                names.insert(next, format!("{name} ({})", lanes.len() + 1));
                lanes.push(next);
                next += 1;
                next - 1
            }
        };
        open.entry(lane).or_default().push((span.start, span.end));
        span.lane = lane;
    }
}

/// Whole microseconds: as numbers with a fraction they would not all be exact.
fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(time: Duration) -> String {
    let milliseconds = time.as_millis();
    format!("{}.{:03} s", milliseconds / 1000, milliseconds % 1000)
}

/// Bytes by time, where that says something.
fn rate(span: &Span) -> Option<String> {
    let microseconds = span.took().as_micros();
    if span.bytes == 0 || microseconds < 1000 {
        return None;
    }
    let rate = u128::from(span.bytes) * 1_000_000 / microseconds;
    Some(format!("{}/s", text::size(u64::try_from(rate).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: u64, lane: u64, start: u64, end: u64) -> Span {
        let (start, end) = (Duration::from_millis(start), Duration::from_millis(end));
        Span { id, name: format!("s{id}"), stage: false, start, end, bytes: 0, note: String::new(), lane }
    }

    fn with(spans: Vec<Span>) -> Timings {
        let (timings, _) = Timings::of(&Progress::silent());
        let mut noted = timings.recorder.noted();
        noted.lanes = spans.iter().map(|span| (span.lane, format!("thread {}", span.lane))).collect();
        noted.closed = spans;
        drop(noted);
        timings
    }

    #[test]
    fn the_table_shows_what_is_in_which_stage() {
        let stage = |id, start, end| Span { stage: true, ..span(id, 1, start, end) };
        let layer = Span { bytes: 5_000_000, note: "3 entries".into(), ..span(3, 2, 20, 1020) };
        let timings =
            with(vec![stage(1, 0, 10), stage(2, 10, 2000), layer, span(4, 1, 15, 16), span(5, 1, 2001, 2001)]);
        let expected = "\
STAGE    START     TIME   BYTES      RATE  RESULT
s1     0.000 s  0.010 s
s2     0.010 s  1.990 s
  s4   0.015 s  0.001 s
  s3   0.020 s  1.000 s  5.0 MB  5.0 MB/s  3 entries
s5     2.001 s  0.000 s
";
        assert_eq!(timings.table(), expected);
    }

    #[test]
    fn a_trace_has_nested_events_in_every_lane() {
        let spans = vec![
            span(1, 1, 0, 10),
            span(2, 1, 2, 5),
            span(3, 1, 4, 12), // begun here, ended by another thread
            span(4, 1, 5, 9),
            span(5, 2, 1, 3),
            span(6, 1, 10, 11),
            span(7, 1, 11, 20),
        ];
        let trace = with(spans).trace();
        let events = trace["traceEvents"].as_array().unwrap();
        let lanes: BTreeMap<&str, u64> = events
            .iter()
            .filter(|event| event["ph"] == "X")
            .map(|event| (event["name"].as_str().unwrap(), event["tid"].as_u64().unwrap()))
            .collect();
        assert_eq!(
            lanes,
            BTreeMap::from([("s1", 1), ("s2", 1), ("s3", 3), ("s4", 1), ("s5", 2), ("s6", 1), ("s7", 1)])
        );
        let names: Vec<&Value> =
            events.iter().filter(|event| event["ph"] == "M").map(|event| &event["args"]["name"]).collect();
        assert_eq!(names, ["thread 1", "thread 2", "thread 1 (2)"]);
        let second = events.iter().find(|event| event["name"] == "s2").unwrap();
        assert_eq!((&second["ts"], &second["dur"]), (&json!(2000), &json!(3000)));
    }

    #[test]
    fn everything_is_noted_and_passed_on() {
        let (timings, progress) = Timings::of(&Progress::silent());
        let stage = progress.stage("all");
        let task = progress.task("one", Some(10));
        task.advance(4);
        task.advance(6);
        task.finish("done");
        drop(progress.task("two", None));
        drop(stage);
        let _open = progress.stage("not over");
        let spans = timings.spans();
        let seen: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.stage, span.bytes, &*span.note)).collect();
        assert_eq!(seen, [("all", true, 0, ""), ("one", false, 10, "done"), ("two", false, 0, "")]);
        assert!(spans[0].contains(&spans[1]) && spans[0].lane == spans[1].lane);
    }
}
