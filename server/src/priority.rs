//! Who goes first when all threads want the processor.
//!
//! On Linux priorities belong to threads, and a thread begins with that of the one that starts it. Where one cannot be set,
//! all compete on equal terms.
//!
//! A server that is started with real-time priority (by systemd, by `chrt`) keeps it for its connections, which need the
//! processor for microseconds; all else that it does runs as others do.

use thread_priority::unix::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy};
use thread_priority::{ThreadPriority, set_thread_priority_and_policy, thread_native_id};

/// How far the background is behind: connections that want all of the processor leave it a fifteenth. The nearer it is, the more
/// often the kernel lets a connection wait for a hash to the end of a tick, because it owes the background a little.
const BEHIND: i32 = 12;
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

/// For the calling thread: what wakes it runs on until it waits itself.
pub(crate) fn after_others() {
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    set_policy(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch));
    set_nice(nice);
}

/// Another thread that never runs while the calling one does, because each waits for the other. On one processor neither has to
/// be woken on another, and each finds in the caches what the other left there.
#[derive(Default)]
pub(crate) struct Companion {
    name: String,
    thread: Option<rustix::thread::Pid>,
    processor: Option<usize>,
}

impl Companion {
    /// Lets the thread of this process that has the name run where the calling thread runs now.
    pub(crate) fn join(&mut self, name: &str) {
        if self.name != name {
            *self = Self { name: name.to_owned(), thread: thread_named(name), processor: None };
        }
        let processor = rustix::thread::sched_getcpu();
        if self.processor == Some(processor) {
            return;
        }
        let Some(thread) = self.thread else { return };
        let mut only = rustix::thread::CpuSet::new();
        only.set(processor);
        if rustix::thread::sched_setaffinity(Some(thread), &only).is_ok() {
            self.processor = Some(processor);
        }
    }
}

fn thread_named(name: &str) -> Option<rustix::thread::Pid> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let has_name = |thread: &std::fs::DirEntry| {
        std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|found| found.trim_end() == name)
    };
    let thread = threads.filter_map(std::result::Result::ok).find(has_name)?;
    rustix::thread::Pid::from_raw(thread.file_name().to_str()?.parse().ok()?)
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
    fn a_companion_runs_where_the_thread_runs_that_it_joins() {
        let (may_end, end) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (asked, where_it_runs) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("companion-1".to_owned());
        let thread = thread.spawn(move || {
            begun.send(()).unwrap();
            let _ = end.recv();
            asked.send((rustix::thread::sched_getaffinity(None).unwrap(), rustix::thread::sched_getcpu())).unwrap();
        });
        has_begun.recv().unwrap();
        let mut companion = Companion::default();
        companion.join("companion-0");
        assert_eq!(companion.thread, None, "there is none of that name");
        companion.join("companion-1");
        let processor = companion.processor.expect("it was found");
        drop(may_end);
        let (processors, runs_at) = where_it_runs.recv().unwrap();
        thread.unwrap().join().unwrap();
        assert_eq!((processors.count(), runs_at), (1, processor));
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
