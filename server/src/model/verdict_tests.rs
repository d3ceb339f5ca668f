//! Properties of verification.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::{Inactive, Limits, evaluate};
use crate::clock::{Micros, Time};
use crate::config::{AddressBinding, Policy, QuotaPolicy};
use crate::model::session::{RevokeReason, SessionEntry};

const DAY: i64 = 86_400_000_000;
const MICRO: Duration = Duration::from_micros(1);

fn here() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

fn policy(idle: Duration, absolute: Duration) -> Policy {
    let (quota, quota_policy, address_binding) = (20, QuotaPolicy::DropOldest, AddressBinding::Record);
    Policy { login: true, idle, absolute, quota, quota_policy, address_binding, self_service_links: false }
}

/// Never shortens the limits of a session.
fn generous() -> Policy {
    policy(Duration::MAX, Duration::MAX)
}

fn at(micros: i64) -> Time {
    Time::from_micros(micros)
}

/// A session whose verdict depends on time alone.
#[derive(Clone, Debug)]
struct Times {
    created: i64,
    active: i64,
    idle: i64,
    absolute: i64,
}

impl Times {
    fn session(&self) -> SessionEntry {
        let mut session = SessionEntry::example();
        session.created_at = at(self.created);
        session.absolute_expires_at = at(self.created + self.absolute);
        session.idle_micros = Micros::new(self.idle);
        session.touch(at(self.active));
        session
    }
}

prop_compose! {
    fn times()(created in 0..1_000 * DAY, absolute in 1..30 * DAY)
        (created in Just(created), absolute in Just(absolute), idle in 1..=absolute, active in created..created + absolute)
        -> Times {
        Times { created, active, idle, absolute }
    }
}

prop_compose! {
    fn policies()(absolute in 1..40 * DAY)(absolute in Just(absolute), idle in 1..=absolute) -> Policy {
        policy(Duration::from_micros(idle.unsigned_abs()), Duration::from_micros(absolute.unsigned_abs()))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap()
}

fn is_expired(verdict: Result<Limits, Inactive>) -> bool {
    matches!(verdict, Err(Inactive::IdleExpired | Inactive::AbsoluteExpired))
}

proptest! {
    #[test]
    fn a_session_ends_at_the_earlier_of_its_limits_and_not_a_microsecond_before(times in times(), policy in policies()) {
        let session = times.session();
        let absolute = times.created + times.absolute.min(micros(policy.absolute));
        let idle = times.active + times.idle.min(micros(policy.idle));
        let end = at(absolute.min(idle));

        let last_good = end - MICRO;
        prop_assert_eq!(
            evaluate(&session, last_good, &policy, here()),
            Ok(Limits { idle_expires_at: end, absolute_expires_at: at(absolute) })
        );
        let reason = if absolute <= idle { Inactive::AbsoluteExpired } else { Inactive::IdleExpired };
        prop_assert_eq!(evaluate(&session, end, &policy, here()), Err(reason));
        prop_assert_eq!(evaluate(&session, at(absolute), &policy, here()), Err(Inactive::AbsoluteExpired));
    }

    #[test]
    fn a_policy_can_only_shorten(times in times(), policy in policies(), now in 0..1_100 * DAY) {
        let session = times.session();
        let own = evaluate(&session, at(now), &generous(), here());
        let in_app = evaluate(&session, at(now), &policy, here());
        if let Ok(in_app) = in_app {
            let own = own.expect("what is good in an app is good by itself");
            prop_assert!(in_app.idle_expires_at <= own.idle_expires_at);
            prop_assert!(in_app.absolute_expires_at <= own.absolute_expires_at);
            prop_assert!(in_app.idle_expires_at <= in_app.absolute_expires_at);
        }
    }

    #[test]
    fn what_has_expired_stays_expired(times in times(), policy in policies(), now in 0..1_100 * DAY, later in 0..DAY) {
        let session = times.session();
        if is_expired(evaluate(&session, at(now), &policy, here())) {
            prop_assert!(is_expired(evaluate(&session, at(now + later), &policy, here())));
        }
    }

    #[test]
    fn activity_lengthens_and_never_past_the_absolute_limit(times in times(), policy in policies(), later in 0..DAY) {
        let session = times.session();
        let before = evaluate(&session, at(times.active), &policy, here());
        session.touch(at(times.active + later));
        session.touch(at(times.active - later));
        prop_assert_eq!(session.last_active_at(), at(times.active + later), "an earlier activity changes nothing");
        let after = evaluate(&session, at(times.active), &policy, here());
        if let (Ok(before), Ok(after)) = (before, after) {
            prop_assert!(before.idle_expires_at <= after.idle_expires_at);
            prop_assert!(after.idle_expires_at <= before.absolute_expires_at);
            prop_assert_eq!(before.absolute_expires_at, after.absolute_expires_at);
        }
    }

    #[test]
    fn revoked_goes_before_everything(
        times in times(), policy in policies(), now in 0..1_100 * DAY, reason in 0..12i16, behind in 0..4u32, end in 0..DAY,
    ) {
        let mut session = times.session();
        session.revoked_at = Some(at(end));
        session.revoke_reason = RevokeReason::from_number(reason);
        session.generations_behind = behind;
        session.allowed_networks = ["203.0.113.0/24".parse().unwrap()].into();
        let verdict = evaluate(&session, at(now), &policy, here());
        prop_assert_eq!(verdict, Err(Inactive::Revoked(RevokeReason::from_number(reason))));
    }

    #[test]
    fn the_token_before_the_last_rotation_works_until_its_grace_is_over(grace in 1..1_000_000i64, now in 0..2_000_000i64) {
        let mut session = SessionEntry::example();
        session.generations_behind = 1;
        session.grace_until = Some(at(grace));
        let verdict = evaluate(&session, at(now), &generous(), here());
        if now < grace {
            prop_assert!(verdict.is_ok());
        } else {
            prop_assert_eq!(verdict, Err(Inactive::Rotated { generations_behind: 1 }));
        }
    }

    #[test]
    fn an_older_token_has_no_grace(behind in 2..u32::MAX, grace in proptest::option::of(0..i64::MAX), now in 0..DAY) {
        let mut session = SessionEntry::example();
        session.generations_behind = behind;
        session.grace_until = grace.map(at);
        let verdict = evaluate(&session, at(now), &generous(), here());
        prop_assert_eq!(verdict, Err(Inactive::Rotated { generations_behind: behind }));
    }

    #[test]
    fn a_grace_does_not_outlive_the_session(times in times()) {
        let mut session = times.session();
        session.generations_behind = 1;
        session.grace_until = Some(Time::MAX);
        let end = at(times.created + times.absolute);
        prop_assert_eq!(evaluate(&session, end, &generous(), here()), Err(Inactive::AbsoluteExpired));
    }

    #[test]
    fn an_exact_binding_takes_the_same_address_only(login: u32, other: u32) {
        let (login, other) = (IpAddr::from(login.to_be_bytes()), IpAddr::from(other.to_be_bytes()));
        let session = bound(AddressBinding::Exact, login);
        prop_assert!(evaluate(&session, at(1), &generous(), login).is_ok());
        prop_assert_eq!(evaluate(&session, at(1), &generous(), other).is_ok(), login == other);
    }

    #[test]
    fn a_prefix_binding_takes_24_bits_of_ipv4_and_56_of_ipv6(login: u32, flip in 0..32u32, login6: u128, flip6 in 0..128u32) {
        let v4 = |bits: u32| IpAddr::from(bits.to_be_bytes());
        let verdict = evaluate(&bound(AddressBinding::Prefix, v4(login)), at(1), &generous(), v4(login ^ (1 << flip)));
        prop_assert_eq!(verdict.is_ok(), flip < 8);
        let v6 = |bits: u128| IpAddr::from(bits.to_be_bytes());
        let verdict = evaluate(&bound(AddressBinding::Prefix, v6(login6)), at(1), &generous(), v6(login6 ^ (1 << flip6)));
        prop_assert_eq!(verdict.is_ok(), flip6 < 72);
        let verdict = evaluate(&bound(AddressBinding::Prefix, v4(login)), at(1), &generous(), v6(login6));
        prop_assert_eq!(verdict, Err(Inactive::AddressMismatch), "another family is another place");
    }

    #[test]
    fn without_a_binding_the_address_does_not_matter(login: u32, other: u32) {
        for binding in [AddressBinding::Off, AddressBinding::Record] {
            let session = bound(binding, IpAddr::from(login.to_be_bytes()));
            prop_assert!(evaluate(&session, at(1), &generous(), IpAddr::from(other.to_be_bytes())).is_ok());
        }
    }

    #[test]
    fn a_user_with_networks_is_good_in_one_of_them_only(address: u32) {
        let mut session = SessionEntry::example();
        session.allowed_networks = ["10.0.0.0/8".parse().unwrap(), "192.0.2.7/32".parse().unwrap()].into();
        let inside = address >> 24 == 10 || address == u32::from_be_bytes([192, 0, 2, 7]);
        let verdict = evaluate(&session, at(1), &generous(), IpAddr::from(address.to_be_bytes()));
        prop_assert_eq!(verdict.is_ok(), inside);
        let lucky = IpAddr::from((address & 0x00ff_ffff | 0x0a00_0000).to_be_bytes());
        prop_assert!(evaluate(&session, at(1), &generous(), lucky).is_ok());
    }

    #[test]
    fn no_number_makes_it_overflow(created: i64, absolute: i64, idle: i64, active: i64, now: i64, grace: i64, policy_idle: u64) {
        let mut session = SessionEntry::example();
        session.created_at = at(created);
        session.absolute_expires_at = at(absolute);
        session.idle_micros = Micros::new(idle);
        session.grace_until = Some(at(grace));
        session.generations_behind = 1;
        session.touch(at(active));
        let policy = policy(Duration::from_micros(policy_idle), Duration::MAX);
        if let Ok(limits) = evaluate(&session, at(now), &policy, here()) {
            prop_assert!(at(now) < limits.idle_expires_at && limits.idle_expires_at <= limits.absolute_expires_at);
        }
    }
}

fn bound(binding: AddressBinding, login: IpAddr) -> SessionEntry {
    let mut session = SessionEntry::example();
    session.address_binding = binding;
    session.remote_addr = Some(login);
    session
}

#[test]
fn time_is_told_before_place() {
    let mut session = bound(AddressBinding::Exact, here());
    session.absolute_expires_at = at(5);
    session.generations_behind = 1;
    let elsewhere = "203.0.113.1".parse().unwrap();
    assert_eq!(evaluate(&session, at(5), &generous(), elsewhere), Err(Inactive::AbsoluteExpired));
    assert_eq!(evaluate(&session, at(4), &generous(), elsewhere), Err(Inactive::Rotated { generations_behind: 1 }));
    session.generations_behind = 0;
    assert_eq!(evaluate(&session, at(4), &generous(), elsewhere), Err(Inactive::AddressMismatch));
}
