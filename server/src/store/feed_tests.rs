//! A follower looks while transactions take numbers, commit in any order and are taken back; it must see each change at the first
//! look after its commit.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// PostgreSQL, as far as a follower sees it.
#[derive(Debug, Default)]
struct Database {
    next: i64,
    /// The newest transaction that has ended.
    ended: i64,
    numbers: i64,
    /// Transactions that have not ended, with the numbers of their changes.
    open: BTreeMap<i64, Vec<i64>>,
    committed: BTreeSet<i64>,
}

impl Database {
    fn moment(&self) -> Moment {
        let next = self.ended + 1;
        Moment {
            oldest: self.open.keys().next().copied().unwrap_or(next).min(next),
            next,
            started: 1,
            time: 1,
            newest: self.committed.last().copied().unwrap_or(0),
        }
    }

    fn begin(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    fn end(&mut self, transaction: i64) {
        self.ended = self.ended.max(transaction);
    }

    fn asked(&self, position: &Position) -> Vec<Change> {
        let is_asked = |sequence: &i64| *sequence > position.seen || position.gaps.contains_key(sequence);
        self.committed.iter().copied().filter(is_asked).map(change).collect()
    }
}

fn change(sequence: i64) -> Change {
    Change { sequence, kind: ChangeKind::SessionRevoked, user: None, session: Some(SessionId::nil()) }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    /// One of those that are open, by its place.
    Change(usize),
    Commit(usize),
    TakeBack(usize),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Begin),
        6 => (0..8_usize).prop_map(Step::Change),
        4 => (0..8_usize).prop_map(Step::Commit),
        2 => (0..8_usize).prop_map(Step::TakeBack),
        4 => Just(Step::Look),
    ]
}

/// A follower and what it could rely on.
#[derive(Default)]
struct World {
    database: Database,
    position: Option<Position>,
    /// Committed while memory was in use and not told yet.
    untold: BTreeSet<i64>,
}

impl World {
    fn nth_open(&self, place: usize) -> Option<i64> {
        let open = &self.database.open;
        (!open.is_empty()).then(|| *open.keys().nth(place % open.len()).unwrap())
    }

    fn run(&mut self, step: Step) -> std::result::Result<(), TestCaseError> {
        match step {
            Step::Begin => {
                let transaction = self.database.begin();
                self.database.open.insert(transaction, Vec::new());
            }
            Step::Change(place) => {
                if let Some(open) = self.nth_open(place) {
                    self.database.numbers += 1;
                    self.database.open.get_mut(&open).unwrap().push(self.database.numbers);
                }
            }
            Step::Commit(place) => {
                let numbers = self.end(place);
                // Memory holds nothing before it is sure, so it can miss nothing.
                if self.position.as_ref().is_some_and(Position::is_sure) {
                    self.untold.extend(&numbers);
                }
                self.database.committed.extend(numbers);
            }
            Step::TakeBack(place) => drop(self.end(place)),
            Step::Look => return self.look(),
        }
        Ok(())
    }

    fn end(&mut self, place: usize) -> Vec<i64> {
        let Some(transaction) = self.nth_open(place) else { return Vec::new() };
        self.database.end(transaction);
        self.database.open.remove(&transaction).unwrap()
    }

    fn look(&mut self) -> std::result::Result<(), TestCaseError> {
        let moment = self.database.moment();
        let mut next = match &self.position {
            None => Position::begin(moment),
            Some(position) => {
                let changes = self.database.asked(position);
                self.untold.retain(|sequence| changes.iter().all(|change| change.sequence != *sequence));
                position.after(moment, &changes).unwrap()
            }
        };
        prop_assert!(self.untold.is_empty(), "committed changes were overlooked: {:?}", &self.untold);
        if next.is_to_be_told() {
            let transaction = self.database.begin();
            self.database.end(transaction);
            next.tell(transaction);
        }
        self.position = Some(next);
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_committed_change_is_seen_at_the_next_look_however_numbers_and_commits_cross(steps in proptest::collection::vec(step(), 1..200)) {
        let mut world = World::default();
        for step in steps {
            world.run(step)?;
        }
        world.run(Step::Look)?;
    }
}

fn quiet(next: i64, newest: i64) -> Moment {
    Moment { oldest: next, next, started: 1, time: 1, newest }
}

fn begun(moment: Moment) -> Position {
    let mut position = Position::begin(moment);
    position.tell(moment.next);
    position
}

#[test]
fn a_number_that_is_late_is_asked_for_until_its_transaction_has_ended() {
    let begun = begun(quiet(10, 5));
    // 6 belongs to transaction 10, which is open; 7 is there.
    let mut late = begun.after(Moment { oldest: 10, ..quiet(12, 7) }, &[change(7)]).unwrap();
    late.tell(13);
    assert_eq!(late.gaps.keys().copied().collect::<Vec<_>>(), [6]);
    let came = late.after(quiet(12, 7), &[change(6)]).unwrap();
    assert!(came.gaps.is_empty());
    let open = late.after(Moment { oldest: 12, ..quiet(13, 7) }, &[]).unwrap();
    assert!(!open.gaps.is_empty(), "transaction 12 was open when 6 was not there");
    let taken_back = late.after(quiet(13, 7), &[]).unwrap();
    assert!(taken_back.gaps.is_empty(), "all transactions that could bring it have ended");
}

#[test]
fn nothing_is_sure_before_all_have_ended_that_ran_when_following_began() {
    let begun = begun(Moment { oldest: 8, ..quiet(10, 5) });
    assert!(!begun.is_sure());
    assert!(!begun.after(Moment { oldest: 9, ..quiet(12, 5) }, &[]).unwrap().is_sure());
    assert!(begun.after(Moment { oldest: 10, ..quiet(12, 5) }, &[]).unwrap().is_sure());
}

#[test]
fn after_a_failover_a_long_absence_or_a_leap_following_begins_anew() {
    let begun = begun(quiet(10, 5));
    assert_eq!(begun.after(Moment { started: 2, ..quiet(12, 6) }, &[change(6)]), None, "another server");
    assert_eq!(begun.after(quiet(9, 5), &[]), None, "transactions that were lost");
    let later = Moment { time: 1 + LONGEST_ABSENCE + 1, ..quiet(12, 5) };
    assert_eq!(begun.after(later, &[]), None, "changes may have been purged");
    assert_eq!(begun.after(quiet(12, 1_000_000), &[change(1_000_000)]), None, "too much is missing");
}

#[test]
fn each_kind_of_change_names_what_memory_may_show_of_it() {
    let (user, session) = (UserId::nil(), SessionId::nil());
    let told = |kind: ChangeKind, user, session| Told::of(&[Change { sequence: 1, kind, user, session }]);
    let nothing = Told::default();
    let of_session = Told { sessions: [session].into(), ..Told::default() };
    let of_user = Told { users: [user].into(), ..Told::default() };
    let of_links = Told { links: [user].into(), ..Told::default() };
    let cases = [
        (ChangeKind::SessionCreated, &nothing),
        (ChangeKind::SessionRenewed, &of_session),
        (ChangeKind::SessionRevoked, &of_session),
        (ChangeKind::SessionsRevoked, &of_user),
        (ChangeKind::UserChanged, &of_user),
        (ChangeKind::UserDeleted, &Told { users: [user].into(), links: [user].into(), ..Told::default() }),
        (ChangeKind::AttributesChanged, &nothing),
        (ChangeKind::CallersChanged, &nothing),
        (ChangeKind::DefinitionChanged, &of_links),
        (ChangeKind::DefinitionDeleted, &of_links),
        (ChangeKind::LinksChanged, &of_links),
    ];
    for (kind, expected) in cases {
        assert_eq!(told(kind, Some(user), Some(session)), *expected, "{kind:?}");
        assert_eq!(ChangeKind::from_number(kind as i16), kind);
    }
    let all = Told { all_sessions: true, ..Told::default() };
    assert_eq!(told(ChangeKind::SessionsRevoked, None, None), all, "of many users");
    let unknown = Told::of(&[Change { kind: ChangeKind::from_number(999), ..change(1) }]);
    assert_eq!(unknown, Told { all_links: true, ..all }, "a newer server's");
}
