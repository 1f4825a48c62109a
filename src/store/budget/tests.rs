use futures::FutureExt as _;

use super::*;
use crate::store::ErrorKind;

const KIB: u64 = 1024;

fn budget(bytes: u64) -> MemoryBudget {
    MemoryBudget::new(MemorySettings { budget: bytes, ..MemorySettings::default() }, Metrics::default())
}

fn reserved(budget: &MemoryBudget) -> u64 {
    budget.reserved()
}

/// Reserves a whole part: for an upload that filled its last part quickly if `proven`, otherwise for a new upload.
async fn part(tenant: &TenantBudget, bytes: u64, proven: bool) -> Reservation {
    let mut reservation = tenant.reservation();
    if proven {
        reservation.next_part(bytes).await.unwrap();
    } else {
        reservation.first_part(bytes, false).await.unwrap();
    }
    reservation
}

#[test]
fn reading_ahead_gets_a_quarter_and_never_waits() {
    let tenant = budget(40 * KIB).share(None);
    let ahead = tenant.reserve_ahead(10 * KIB).unwrap();
    assert!(tenant.reserve_ahead(1).is_none());
    drop(ahead);
    assert!(tenant.clone().reserve_ahead(10 * KIB).is_some());
    assert!(tenant.reserve_ahead(u64::MAX).is_none());
}

#[tokio::test]
async fn a_tenant_gets_its_share_and_leaves_the_rest_to_others() {
    let budget = budget(10 * MIB);
    let (one, other) = (budget.share(Some(6 * MIB)), budget.share(Some(6 * MIB)));
    let held = part(&one, 6 * MIB, true).await;
    assert!(part(&one, MIB, true).now_or_never().is_none(), "its share is used up");
    assert!(part(&other, 6 * MIB, true).now_or_never().is_none(), "only 4 MiB of the budget are left");
    let rest = part(&other, 4 * MIB, true).now_or_never().unwrap();
    assert_eq!(reserved(&budget), 10 * MIB);
    drop((held, rest));
    assert!(part(&one, 6 * MIB, true).now_or_never().is_some());
    assert_eq!(reserved(&budget), 0);
}

#[tokio::test]
async fn a_small_part_does_not_overtake_a_large_one_of_its_kind() {
    let tenant = budget(10 * MIB).share(None);
    let held = part(&tenant, 8 * MIB, true).await;
    let mut large = Box::pin(part(&tenant, 9 * MIB, true));
    assert!((&mut large).now_or_never().is_none());
    let mut small = Box::pin(part(&tenant, MIB, true));
    assert!((&mut small).now_or_never().is_none());
    drop(held);
    let large = large.now_or_never().unwrap();
    drop(large);
    assert!(small.now_or_never().is_some());
}

#[tokio::test]
async fn a_part_that_is_larger_than_the_share_gets_all_of_the_share() {
    let budget = budget(10 * KIB);
    let tenant = budget.share(Some(4 * KIB));
    let _held = part(&tenant, u64::MAX, true).await;
    assert!(part(&budget.share(None), 6 * KIB, true).now_or_never().is_some());
}

#[tokio::test]
async fn a_message_does_not_wait_behind_parts() {
    let tenant = budget(32 * MIB).share(None);
    let _held = part(&tenant, 28 * MIB, true).await;
    let mut large = Box::pin(part(&tenant, 28 * MIB, true));
    assert!((&mut large).now_or_never().is_none());
    let mut message = tenant.reserve(MIB).now_or_never().unwrap().unwrap();
    assert!(message.grow(MIB).now_or_never().unwrap().is_ok());
    assert_eq!(message.bytes(), 2 * MIB);
    assert!((&mut large).now_or_never().is_none());
}

#[tokio::test]
async fn messages_leave_room_for_parts() {
    let budget = budget(16 * MIB);
    let tenant = budget.share(None);
    let messages: Vec<_> =
        std::iter::from_fn(|| tenant.reserve(MIB).now_or_never()).map(Result::unwrap).collect();
    assert_eq!(messages.len(), 6, "three eighths of the budget, while no other call needs memory");
    assert!(part(&tenant, 8 * MIB, false).now_or_never().is_some());
    assert_eq!(tenant.reserve(u64::MAX).now_or_never().map(|held| held.unwrap().bytes()), None);
    drop(messages);
    assert_eq!(tenant.reserve(u64::MAX).await.unwrap().bytes(), 4 * MIB, "one message has a quarter at most");
    assert_eq!(reserved(&budget), 0);
}

#[tokio::test]
async fn two_parts_of_half_the_budget_fit_beside_a_few_bytes() {
    let tenant = budget(16 * MIB).share(None);
    let _message = tenant.reserve(MIB).await.unwrap();
    let _parts = (part(&tenant, 8 * MIB, true).await, part(&tenant, 8 * MIB, true).now_or_never().unwrap());
    assert!(part(&tenant, 8 * MIB, true).now_or_never().is_none());
}

#[tokio::test]
async fn a_part_always_gets_memory_beside_slow_callers_reads_and_messages() {
    let budget = budget(16 * MIB);
    let tenant = budget.share(None);
    let slow: Vec<_> = std::iter::from_fn(|| {
        let mut reservation = tenant.reservation();
        let given = reservation.part_of_slow_caller(MIB, 8 * MIB).now_or_never()?.unwrap();
        Some((reservation, given))
    })
    .take(6)
    .collect();
    assert!(slow.iter().all(|(_, given)| *given == Granted::Some));
    let _others = (tenant.reserve_ahead(4 * MIB).unwrap(), tenant.reserve(4 * MIB).await.unwrap());
    let whole = part(&tenant, 8 * MIB, false).now_or_never().unwrap();
    assert_eq!((whole.bytes(), reserved(&budget)), (2 * MIB, 16 * MIB), "it is charged what is free");
}

#[tokio::test]
async fn fast_uploads_go_before_new_ones() {
    let tenant = budget(8 * MIB).share(None);
    let held = part(&tenant, 8 * MIB, true).await;
    let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let waiting = [(1, false), (2, false), (3, true), (4, true)].map(|(number, proven)| {
        let (tenant, order) = (tenant.clone(), std::rc::Rc::clone(&order));
        async move {
            let _held = part(&tenant, 8 * MIB, proven).await;
            order.borrow_mut().push(number);
        }
    });
    let free = async {
        tokio::task::yield_now().await;
        drop(held);
    };
    futures::future::join(futures::future::join_all(waiting), free).await;
    assert_eq!(*order.borrow(), [3, 4, 1, 2]);
}

#[tokio::test]
async fn a_tenant_with_many_calls_does_not_starve_one_with_few() {
    let budget = budget(8 * MIB);
    let (busy, quiet) = (budget.share(None), budget.share(Some(8 * MIB)));
    let held = part(&busy, 8 * MIB, true).await;
    let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let mut waiting: Vec<_> = [(1, &busy), (2, &busy), (3, &busy), (4, &quiet), (5, &quiet)]
        .into_iter()
        .map(|(number, tenant)| {
            let order = std::rc::Rc::clone(&order);
            Box::pin(async move {
                let _held = part(tenant, 8 * MIB, true).await;
                order.borrow_mut().push(number);
            })
        })
        .collect();
    // The first call of the busy tenant leaves the queue.
    assert!(waiting.iter_mut().all(|call| call.now_or_never().is_none()));
    drop(waiting.remove(0));
    drop(held);
    futures::future::join_all(waiting).await;
    assert_eq!(*order.borrow(), [2, 4, 3, 5]);
}

/// The memory that is kept for fresh uploads is granted to a tenant's newest upload, even if older ones wait for its
/// share.
#[tokio::test(start_paused = true)]
async fn the_newest_upload_of_a_tenant_starts_although_older_ones_wait() {
    let budget = budget(64 * MIB);
    let tenant = budget.share(Some(32 * MIB));
    let _other = part(&budget.share(Some(32 * MIB)), 32 * MIB, true).await;
    let mut held: Vec<_> = std::iter::from_fn(|| part(&tenant, 4 * MIB, false).now_or_never()).collect();
    let mut old = Box::pin(part(&tenant, 4 * MIB, false));
    assert!((&mut old).now_or_never().is_none());
    tokio::time::advance(Duration::from_secs(10)).await;
    // The last one got the memory that is kept for fresh uploads. The old one is no longer fresh.
    drop(held.pop());
    assert!((&mut old).now_or_never().is_none());
    assert!(part(&tenant, 4 * MIB, false).now_or_never().is_some());
}

#[tokio::test]
async fn small_parts_of_other_tenants_do_not_starve_a_large_one() {
    let budget = budget(64 * MIB);
    let (large, small) = (budget.share(None), budget.share(None));
    let moving = part(&budget.share(None), 40 * MIB, true).await;
    let mut held: Vec<_> = std::iter::from_fn(|| part(&small, MIB, false).now_or_never()).collect();
    assert!(held.len() >= 8);
    let mut waiting = Box::pin(part(&large, 6 * MIB, false));
    assert!((&mut waiting).now_or_never().is_none());
    let mut begun = false;
    for _ in 0..held.len() {
        drop(held.remove(0));
        begun |= (&mut waiting).now_or_never().is_some();
        if begun {
            break;
        }
        // A new small part arrives for each one that ends.
        if let Some(another) = part(&small, MIB, false).now_or_never() {
            held.push(another);
        }
    }
    assert!(begun);
    drop(moving);
}

#[tokio::test]
async fn new_and_slow_uploads_are_served_beside_fast_ones() {
    for kind in [ask::Kind::New, ask::Kind::Demoted, ask::Kind::Slow] {
        let tenant = budget(8 * MIB).share(None);
        let held = part(&tenant, 8 * MIB, true).await;
        let other = async {
            let mut reservation = tenant.reservation();
            match kind {
                ask::Kind::New => reservation.first_part(8 * MIB, false).await.unwrap(),
                ask::Kind::Demoted => reservation.first_part(8 * MIB, true).await.unwrap(),
                _ => drop(reservation.part_of_slow_caller(7 * MIB, 8 * MIB).await.unwrap()),
            }
        };
        let fast = || async {
            loop {
                let _held = part(&tenant, 8 * MIB, true).await;
                tokio::task::yield_now().await;
            }
        };
        let free = async {
            tokio::task::yield_now().await;
            drop(held);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = other => {}
            () = fast() => {}
            () = fast() => {}
            () = free => {}
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("{kind:?} never got memory"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_memory_times_out_and_leaves_nothing_behind() {
    let budget = budget(8 * MIB);
    let tenant = budget.share(Some(8 * MIB));
    let held = part(&tenant, 8 * MIB, true).await;
    let error = tenant.reserve(MIB).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MemoryExhausted);
    assert!(error.to_string().contains("30s"), "{error}");
    let mut dropped = Box::pin(part(&tenant, MIB, false));
    assert!((&mut dropped).now_or_never().is_none());
    assert!(budget.is_contended() && tenant.is_contended());
    drop(dropped);
    assert!(!budget.is_contended() && !tenant.is_contended());
    assert!(budget.0.metrics.render().contains("longshore_memory_ended_total{reason=\"wait\""));
    drop(held);
    assert_eq!(reserved(&budget), 0);
}

#[tokio::test]
async fn a_grant_to_a_dropped_call_is_given_back() {
    let budget = budget(8 * MIB);
    let tenant = budget.share(None);
    let held = part(&tenant, 8 * MIB, true).await;
    let mut waits = Box::pin(part(&tenant, 8 * MIB, true));
    assert!((&mut waits).now_or_never().is_none());
    drop(held);
    assert_eq!(reserved(&budget), 8 * MIB, "granted, and not polled since");
    drop(waits);
    assert_eq!(reserved(&budget), 0);
}

#[tokio::test]
async fn a_tenant_that_waits_for_its_own_share_does_not_affect_others() {
    let budget = budget(32 * MIB);
    let (one, other) = (budget.share(Some(8 * MIB)), budget.share(Some(8 * MIB)));
    let _held = part(&one, 8 * MIB, true).await;
    let mut waits = Box::pin(part(&one, 8 * MIB, true));
    assert!((&mut waits).now_or_never().is_none());
    assert!(one.is_contended() && budget.is_contended());
    assert!(!other.is_contended());
    assert!(part(&other, 8 * MIB, true).now_or_never().is_some());
}

#[tokio::test]
async fn metrics_show_reserved_bytes_and_waiting_calls() {
    let metrics = Metrics::default();
    let settings = MemorySettings { budget: 8 * KIB, ..MemorySettings::default() };
    let tenant = MemoryBudget::new(settings, metrics.clone()).share(None);
    let held = part(&tenant, 6 * KIB, true).await;
    let mut waits = Box::pin(part(&tenant, 6 * KIB, true));
    assert!((&mut waits).now_or_never().is_none());
    let shown = |name: &str, value: &str| {
        let text = metrics.render();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        assert!(line.ends_with(value), "{line}");
    };
    shown("longshore_memory_budget_bytes", " 8192");
    shown("longshore_memory_reserved_bytes", " 6144");
    shown("longshore_memory_waiting", " 1");
    drop(held);
    drop(waits.await);
    shown("longshore_memory_reserved_bytes", " 0");
    shown("longshore_memory_waiting", " 0");
}

#[test]
fn the_uncounted_first_bytes_of_all_uploads_are_limited() {
    let first = |budget: MemoryBudget| {
        let tenant = budget.share(None);
        let taken: Vec<_> = std::iter::from_fn(|| tenant.first_bytes()).collect();
        assert_eq!((tenant.first_bytes().is_none(), drop(taken)), (true, ()));
        std::iter::from_fn(|| tenant.first_bytes().map(std::mem::forget)).count() as u64 * FirstBytes::SIZE
    };
    assert_eq!([first(budget(256 * MIB)), first(budget(16 * MIB))], [16 * MIB, 4 * MIB]);
}

#[tokio::test]
async fn a_share_that_shrinks_below_its_use_takes_memory_back_and_grants_none() {
    let tenant = budget(64 * MIB).share(None);
    let held: Vec<_> = std::iter::from_fn(|| part(&tenant, 8 * MIB, true).now_or_never()).take(6).collect();
    assert_eq!(held.len(), 6);
    tenant.resize(Some(32 * MIB));
    assert!(part(&tenant, 8 * MIB, true).now_or_never().is_none());
    assert!(held[0].give_back_to(MIB), "a slow upload can shrink");
    assert_eq!(held[0].bytes(), MIB);
    drop(held);
    assert!(part(&tenant, 8 * MIB, true).now_or_never().is_some());
}

#[tokio::test]
async fn a_share_that_grows_serves_the_calls_that_wait_for_it() {
    let tenant = budget(64 * MIB).share(Some(8 * MIB));
    let _held = part(&tenant, 8 * MIB, true).await;
    let mut waiting = Box::pin(part(&tenant, 8 * MIB, true));
    assert!((&mut waiting).now_or_never().is_none());
    tenant.resize(Some(16 * MIB));
    assert_eq!(waiting.now_or_never().unwrap().bytes(), 8 * MIB);
}
