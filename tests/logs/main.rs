//! Log lines as whoever reads a process's standard error gets them. A test runs this program again, which then is that
//! process.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::pedantic,
    reason = "a test that cannot go on panics, and it is read more often than run"
)]

use std::{
    env,
    process::{Command, exit},
    thread,
};

use longshore::telemetry::{LogFormat, LogSettings, flush_logs, init_logs};
use serde_json::Value;

const SAY: &str = "LOGS_SAY";
const THREADS: u64 = 8;
const LINES: u64 = 2_000;

/// The lines that a process leaves behind which says `what`.
fn lines(what: &str) -> Vec<Value> {
    let program = env::current_exe().unwrap();
    let said = Command::new(program).args(["--exact", "speak", "--ignored"]).env(SAY, what).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let text = String::from_utf8(said.stderr).unwrap();
    let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(line).collect()
}

fn messages(what: &str) -> Vec<String> {
    lines(what).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

/// The other process. It ends at once when it has spoken, with whatever still waits. Not run by another test, it has nothing
/// to say.
#[test]
#[ignore = "the other tests run it"]
fn speak() {
    let Ok(what) = env::var(SAY) else { return };
    init_logs(&LogSettings { filter: "info".to_owned(), format: Some(LogFormat::Json) }).unwrap();
    match what.as_str() {
        "much" => {
            thread::scope(|scope| {
                (0..THREADS).for_each(|number| drop(scope.spawn(move || say_much(number))))
            });
            flush_logs();
        }
        "something, then a warning" => {
            tracing::info!("something");
            tracing::warn!("a warning");
        }
        "something, then flush" => {
            tracing::info!("something");
            flush_logs();
        }
        other => panic!("{other}"),
    }
    exit(0);
}

/// Lines of all lengths, some longer than what a pipe takes as a whole, and some that do not wait for others.
fn say_much(thread: u64) {
    for number in 0..LINES {
        let text = "x".repeat(if number % 100 == 7 { 9_000 } else { usize::try_from(number).unwrap() % 300 });
        if number % 50 == thread {
            tracing::warn!(thread, number, text, "said");
        } else {
            tracing::info!(thread, number, text, "said");
        }
    }
}

#[test]
fn lines_of_many_threads_are_whole_and_those_of_each_in_order() {
    let lines = lines("much");
    for thread in 0..THREADS {
        let of_thread = lines.iter().filter(|line| line["thread"] == thread);
        let numbers: Vec<_> = of_thread.map(|line| line["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..LINES).collect::<Vec<_>>(), "thread {thread}");
    }
}

#[test]
fn a_warning_does_not_wait_and_comes_after_what_was_said_before() {
    assert_eq!(messages("something, then a warning"), ["something", "a warning"]);
}

#[test]
fn nothing_waits_any_more_after_a_flush() {
    assert_eq!(messages("something, then flush"), ["something"]);
}
