//! Who goes first when all threads want the processor.
//!
//! On Linux priorities belong to threads, and a thread begins with that of the one that starts it. Where one cannot be set,
//! all compete on equal terms.
//!
//! A server that is started with real-time priority (by systemd, by `chrt`) keeps it for its connections, which need the
//! processor for microseconds; all else that it does runs as others do.

use thread_priority::unix::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy};
use thread_priority::{ThreadPriority, set_thread_priority_and_policy, thread_native_id};

/// How far the background is behind.
const BEHIND: i32 = 5;
/// Takes hardly anything from others.
const LOWEST_NICE: i32 = 19;

/// What threads are to call when they start, to give way to those that have the priority of the calling thread.
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

/// What is behind a real-time policy: a nice value means nothing to it.
fn behind(policy: ThreadSchedulePolicy) -> Option<ThreadSchedulePolicy> {
    matches!(policy, ThreadSchedulePolicy::Realtime(_))
        .then_some(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other))
}

/// For the calling thread and those that it starts from now on: they run when nobody else wants to, and stop at once when
/// somebody does. A nice value alone would let them finish their slice, a few milliseconds, before others come.
pub(crate) fn lowest() {
    set_policy(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle));
    set_nice(LOWEST_NICE);
}

/// The nice value is to be set afterwards. It is asked for the highest here, which may be refused: a thread without
/// privileges could not come back from the lowest.
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
