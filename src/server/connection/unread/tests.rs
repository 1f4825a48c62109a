use std::task::Waker;

use super::{windows::PEAK_PERIOD, *};

const KILO: usize = 1024;

fn bytes(process: &Unread) -> u64 {
    process.0.unread.load(Relaxed)
}

#[test]
fn bytes_are_unread_until_their_call_reads_them_or_ends() {
    let process = Unread::new(0, &Metrics::default());
    let connection = process.connection();
    connection.arrived(1, 16 * KILO, false, false);
    connection.open(1);
    connection.arrived(1, 4 * KILO, true, false);
    connection.arrived(1, 1, true, false);
    assert_eq!(bytes(&process), 25 * KIB + FRAME);
    connection.taken(1, 16 * KILO);
    connection.taken(1, 4 * KILO);
    assert!((1..=FRAME).contains(&bytes(&process)), "{}", bytes(&process));
    connection.close(1);
    connection.arrived(1, KILO, true, false);
    assert_eq!(bytes(&process), 0);
}

#[test]
fn a_small_frame_among_those_of_other_streams_counts_as_the_buffer_that_it_keeps_alive() {
    let process = Unread::new(0, &Metrics::default());
    let connection = process.connection();
    connection.open(1);
    connection.open(3);
    for _ in 0..10 {
        connection.arrived(1, 1, false, false);
        connection.arrived(3, 1, false, false);
    }
    assert_eq!(bytes(&process), 20 * (READ_BUFFER - 1));
    (0..10).for_each(|_| connection.taken(3, 1));
    assert_eq!(bytes(&process), 10 * (READ_BUFFER - 1));
    connection.close(1);
    connection.close(3);
    assert_eq!(bytes(&process), 0);
}

#[test]
fn the_rest_of_a_request_is_known_once_its_end_has_arrived() {
    let connection = Unread::new(0, &Metrics::default()).connection();
    connection.arrived(1, 2 * KILO, true, true);
    connection.open(1);
    assert_eq!(connection.rest(1), Some(2 * KIB));
    connection.taken(1, KILO);
    assert_eq!(connection.rest(1), Some(KIB));
    connection.open(3);
    connection.arrived(3, KILO, true, false);
    assert_eq!(connection.rest(3), None);
    connection.arrived(3, 0, true, true);
    assert_eq!(connection.rest(3), Some(KIB));
}

#[test]
fn data_of_streams_without_a_call_stops_counting() {
    let process = Unread::new(0, &Metrics::default());
    let connection = process.connection();
    for stream in [1, 3, 5, 3] {
        connection.arrived(stream, KILO, true, false);
    }
    connection.open(3);
    assert_eq!(bytes(&process), 5 * KIB);
    connection.drop_early(false);
    assert_eq!(bytes(&process), 5 * KIB);
    connection.drop_early(true);
    assert_eq!(bytes(&process), 5 * KIB / 2);
    connection.close(3);
    assert_eq!(bytes(&process), 0);
    connection.arrived(9, KILO, true, false);
    drop(connection);
    assert_eq!(bytes(&process), 0);
}

#[test]
fn a_connection_that_holds_more_than_its_share_is_throttled_and_woken() {
    struct Woken(AtomicUsize);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let context = Context::from_waker(&waker);
    let process = Unread::new(0, &Metrics::default());
    let (hog, other) = (process.connection(), process.connection());
    hog.open(1);
    other.open(1);
    let limit = usize::try_from(LEAST).unwrap();
    // These bytes use 7/8 of the limit with the memory overhead of a quarter.
    hog.arrived(1, limit / 10 * 7, true, false);
    assert!(!hog.is_throttled(&context));
    other.arrived(1, KILO, true, false);
    assert!(hog.is_throttled(&context));
    assert!(!hog.is_stopped());
    assert!(!other.is_throttled(&context));
    hog.arrived(1, limit / 10, true, false);
    assert!(hog.is_stopped());
    hog.taken(1, limit / 10);
    hog.taken(1, limit / 16);
    assert_eq!(woken.0.load(Relaxed), 0, "too few bytes were read to resume");
    hog.taken(1, limit / 8);
    assert_eq!(woken.0.load(Relaxed), 1);
    assert!(!hog.is_throttled(&context));
}

#[test]
fn all_streams_together_stay_within_the_limit() {
    let process = Unread::new(0, &Metrics::default());
    let connection = process.connection();
    assert_eq!(connection.window(), 16 << 10, "nothing is known about the caller");
    connection.open(1);
    connection.arrived(1, 2 << 20, true, false);
    assert_eq!(connection.window(), 1 << 20);
    connection.arrived(1, 40 << 20, true, false);
    assert_eq!(connection.window(), 32 << 10, "many bytes are unread");
    connection.taken(1, 40 << 20);
    for streams in [2_u32, 8, 9, 32, 33, 1_000, 2_000, 10_000] {
        let first = 2 * connection.receiving.load(Relaxed) + 1;
        (u32::try_from(first).unwrap()..2 * streams).step_by(2).for_each(|stream| connection.open(stream));
        assert_eq!(connection.receiving.load(Relaxed), streams as usize);
        assert!(u64::from(streams) * u64::from(connection.window()) <= LEAST / 8 * 7, "{streams}");
    }
}

#[tokio::test(start_paused = true)]
async fn windows_stay_small_while_recently_ended_streams_may_return() {
    let process = Unread::new(0, &Metrics::default());
    let connection = process.connection();
    (1..100).step_by(2).for_each(|stream| connection.open(stream));
    connection.arrived(1, 2 << 20, true, false);
    let window = connection.window();
    assert!(window < 128 << 10, "{window}");
    (1..100).step_by(2).for_each(|stream| connection.close(stream));
    connection.open(101);
    tokio::time::advance(PEAK_PERIOD).await;
    assert!(connection.window() < 128 << 10, "{}", connection.window());
    tokio::time::advance(PEAK_PERIOD).await;
    assert_eq!(connection.window(), 1 << 20);
}

#[test]
fn connections_with_larger_windows_stay_within_the_limit_together() {
    let process = Unread::new(0, &Metrics::default());
    let connections: Vec<_> = (0..400).map(|_| process.connection()).collect();
    for connection in &connections {
        connection.open(1);
        connection.arrived(1, 2 << 20, true, false);
        connection.taken(1, 2 << 20);
    }
    let windows: Vec<_> = connections.iter().map(|connection| connection.window()).collect();
    assert_eq!(windows[0], 1 << 20);
    let sum = windows.into_iter().map(u64::from).sum();
    assert!((LEAST / 2..LEAST).contains(&sum), "{sum}");
}

#[test]
fn the_first_window_leaves_room_for_bursts_on_all_connections() {
    let process = Unread::new(0, &Metrics::default());
    let mut connections = vec![process.connection()];
    assert_eq!(connections[0].window(), 16 << 10);
    connections.extend((1..90).map(|_| process.connection()));
    assert_eq!(connections[0].window(), 4 << 10);
    connections[0].arrived(1, 256 << 10, true, false);
    connections[0].open(1);
    assert_eq!(connections[0].window(), 32 << 10);
    connections[0].arrived(1, 2 << 20, true, false);
    assert!(connections[0].window() > 1 << 18, "a proven connection: {}", connections[0].window());
}
