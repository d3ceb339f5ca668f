//! Scheduling priorities of threads.
//!
//! On Linux each thread has its own, inherited from the thread that starts it. Where a priority cannot be set, all
//! threads compete on equal terms.
//!
//! A server that is started with real-time priority (by systemd or `chrt`) keeps it for connection threads, which need
//! the processor for microseconds; all other threads get a normal priority.

use thread_priority::unix::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy};
use thread_priority::{ThreadPriority, set_thread_priority_and_policy, thread_native_id};

/// Nice value of background threads, relative to connections: under full load they get 1/15 of the processor. The
/// smaller it is, the more often a connection waits a whole tick for a background thread.
const BEHIND: i32 = 12;
/// The lowest priority of the normal policies.
const LOWEST_NICE: i32 = 19;

/// Returns what background threads call when they start, to run at a lower priority than the calling thread.
pub fn behind_this_thread() -> impl Fn() + Send + Sync + 'static {
    let nice = rustix::process::getpriority_process(None).unwrap_or(0) + BEHIND;
    let policy = thread_schedule_policy().ok().and_then(behind);
    move || {
        if let Some(policy) = policy {
            set_policy(policy);
        }
        set_nice(nice);
    }
}

/// A nice value has no effect under a real-time policy, so it is replaced.
fn behind(policy: ThreadSchedulePolicy) -> Option<ThreadSchedulePolicy> {
    matches!(policy, ThreadSchedulePolicy::Realtime(_))
        .then_some(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other))
}

/// Makes the calling thread, and threads it starts later, run only when the processor is idle. With a nice value alone
/// they would finish their slice of a few milliseconds before others run.
pub(crate) fn lowest() {
    set_policy(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle));
    set_nice(LOWEST_NICE);
}

/// The calling thread no longer preempts threads that wake it.
pub(crate) fn after_others() {
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    set_policy(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch));
    set_nice(nice);
}

/// Resets the nice value: set it afterwards. Requests the highest priority, which may be denied: without privileges a
/// thread could not return from the lowest.
fn set_policy(policy: ThreadSchedulePolicy) {
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Max, policy);
}

fn set_nice(nice: i32) {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use thread_priority::unix::RealtimeThreadSchedulePolicy;

    use super::*;

    fn nice() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[test]
    fn threads_in_the_background_are_behind_and_so_are_those_they_start() {
        let (before, give_way) = (nice(), behind_this_thread());
        let started = std::thread::spawn(move || {
            give_way();
            let started = std::thread::spawn(move || {
                give_way();
                nice()
            });
            started.join().unwrap()
        });
        assert_eq!(started.join().unwrap(), (before + BEHIND).min(LOWEST_NICE), "by as much, not by more and more");
        assert_eq!(nice(), before, "others keep theirs");
    }

    #[test]
    fn only_connections_keep_a_real_time_policy() {
        let other = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        for policy in [RealtimeThreadSchedulePolicy::RoundRobin, RealtimeThreadSchedulePolicy::Fifo] {
            assert_eq!(behind(ThreadSchedulePolicy::Realtime(policy)), Some(other));
        }
        assert_eq!(behind(other), None, "a nice value is enough");
    }

    #[test]
    fn a_thread_that_comes_after_others_keeps_its_nice_value() {
        let (before, give_way) = (nice(), behind_this_thread());
        let (policy, after) = std::thread::spawn(move || {
            give_way();
            after_others();
            (thread_schedule_policy().unwrap(), nice())
        })
        .join()
        .unwrap();
        assert_eq!(policy, ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch));
        assert_eq!(after, (before + BEHIND).min(LOWEST_NICE));
    }

    #[test]
    fn the_lowest_threads_only_run_when_nobody_else_wants_to() {
        let policy = std::thread::spawn(|| {
            lowest();
            thread_schedule_policy().unwrap()
        });
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_eq!(policy.join().unwrap(), idle);
        assert_ne!(thread_schedule_policy().unwrap(), idle);
    }
}
