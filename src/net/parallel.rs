//! A bounded number of threads. They wait for networks and disks, so they are no work for rayon's pool.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::Result;

/// How long a thread of the pool that has nothing to do waits before it looks again.
const PAUSE: Duration = Duration::from_millis(1);

/// Applies `work` to all items, `workers` at a time; results in the order of the items. After the first failure
/// nothing new begins; of several failures that of the first item is reported.
pub fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(position) else { break };
            let result = work(item);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((position, result));
        }
        done
    };
    let mut results = thread::scope(|scope| {
        let others: Vec<_> = (1..workers.min(items.len())).map(|_| scope.spawn(worker)).collect();
        let mut all = worker();
        for other in others {
            lend(&other);
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    results.sort_by_key(|(position, _)| *position);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Until `other` has ended, a thread of rayon's pool does what the pool has to do: what `other` waits for may be among
/// that, and there may be no further thread.
fn lend<T>(other: &thread::ScopedJoinHandle<'_, T>) {
    while !other.is_finished() {
        match rayon::yield_now() {
            Some(rayon::Yield::Executed) => {}
            Some(rayon::Yield::Idle) => thread::sleep(PAUSE),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn work_may_need_the_pool_that_waits_for_it() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let (done, ended) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let items: Vec<u32> = (0..8).collect();
            let sum = |n: &u32| Ok(pool.install(|| (0..*n).into_par_iter().sum::<u32>()));
            done.send(pool.install(|| in_parallel(&items, 4, sum)).unwrap()).unwrap();
        });
        let found = ended.recv_timeout(Duration::from_secs(20)).expect("threads wait for each other");
        assert_eq!(found, [0, 0, 1, 3, 6, 10, 15, 21]);
    }

    #[test]
    fn results_keep_their_order_and_the_first_failure_wins() {
        let items: Vec<u32> = (0..50).collect();
        assert_eq!(in_parallel(&items, 4, |n| Ok(n * 2)).unwrap()[49], 98);
        let fail = |n: &u32| -> Result<u32> {
            if *n < 3 { Ok(*n) } else { Err(crate::fs::Error::NotText { path: n.to_string().into() }.into()) }
        };
        assert!(in_parallel(&items, 4, fail).unwrap_err().to_string().contains("`3`"));
        assert!(in_parallel(&[] as &[u32], 4, fail).unwrap().is_empty());
    }
}
