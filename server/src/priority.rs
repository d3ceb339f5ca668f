//! Who goes first when all threads want the processor.
//!
//! On Linux priorities belong to threads, and a thread begins with that of the one that starts it. Where one cannot be set,
//! all compete on equal terms.

use thread_priority::unix::{NormalThreadSchedulePolicy, ThreadSchedulePolicy};
use thread_priority::{ThreadPriority, set_thread_priority_and_policy, thread_native_id};

/// How far the background is behind.
const BEHIND: i32 = 5;
/// Takes hardly anything from others.
const LOWEST_NICE: i32 = 19;

/// What threads are to call when they start, to give way to those that have the priority of the calling thread.
pub fn behind_this_thread() -> impl Fn() + Send + Sync + 'static {
    let nice = rustix::process::getpriority_process(None).unwrap_or(0) + BEHIND;
    move || set_nice(nice)
}

/// For the calling thread and those that it starts from now on: they run when nobody else wants to, and stop at once when
/// somebody does. A nice value alone would let them finish their slice, a few milliseconds, before others come.
pub(crate) fn lowest() {
    set_nice(LOWEST_NICE);
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
}

fn set_nice(nice: i32) {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use thread_priority::unix::thread_schedule_policy;

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
