//! A bounded number of threads. They wait for networks and disks, so they are no work for rayon's pool.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::error::Result;

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

#[cfg(test)]
mod tests {
    use super::*;

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
