//! Log lines as the reader of a process's standard error sees them. Each test runs this program again as that process.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    reason = "a failing test panics, and readability matters more than speed"
)]

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio, exit},
    thread,
    time::{Duration, Instant},
};

use longshore::telemetry::{LogFormat, LogSettings, Metrics, flush_logs, init_logs, write_error};
use serde_json::Value;

const SAY: &str = "LOGS_SAY";

/// A target of Longshore: the lines of other targets are rate-limited.
const OURS: &str = "longshore::test";

const THREADS: u64 = 8;
const LINES: u64 = 1_000;

/// More lines of 1 KiB each than the queue and a pipe hold together.
const TOO_MANY: usize = 12 * 1024;

fn process(what: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "speak", "--ignored", "--nocapture"]).env(SAY, what);
    command
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The lines that a process logs when it runs the case `what`.
fn lines(what: &str) -> Vec<Value> {
    let said = process(what).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stderr).unwrap().lines().map(parsed).collect()
}

/// A process whose standard error is a pipe that is not read yet.
fn unread(what: &str) -> Child {
    process(what).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end of a process, with a time limit that only a hang reaches.
fn wait_for_end(mut child: Child) {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("the process does not end");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn messages(what: &str) -> Vec<String> {
    lines(what).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

/// The other process: runs the case that the environment names, and then exits immediately, without waiting for queued
/// lines. Does nothing unless another test runs it.
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
        "something, then a warning, and nothing more" => {
            tracing::info!(target: OURS, "something");
            tracing::warn!(target: OURS, "a warning");
            wait_for_parent();
        }
        "a sentence at the end" => {
            tracing::info!(target: OURS, "something");
            write_error(r#"{"message": "a sentence"}"#);
        }
        "a panic" => {
            let _ = thread::Builder::new()
                .name("of a test".to_owned())
                .spawn(|| panic!("at {}", "sea"))
                .unwrap()
                .join();
            flush_logs();
        }
        "too much" => {
            say_too_much();
            // The parent reads from now on.
            println!("said");
            wait_for_parent();
            flush_logs();
        }
        "too much, then the end" => {
            say_too_much();
            write_error("a sentence");
            flush_logs();
        }
        "something, then flush" => {
            tracing::info!(target: OURS, "something");
            flush_logs();
        }
        other => panic!("{other}"),
    }
    exit(0);
}

fn wait_for_parent() {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn say_too_much() {
    let text = "x".repeat(1024);
    for _ in 0..TOO_MANY / 2 {
        tracing::warn!(target: OURS, text, "a warning");
        tracing::info!(target: OURS, text, "said");
    }
    let metrics = Metrics::default().render();
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("longshore_log_lines_dropped_total{"));
    assert!(!dropped.unwrap().ends_with(" 0"), "{dropped:?}");
}

/// Logs lines of all lengths. Some are longer than an atomic write to a pipe, and some are urgent.
fn say_much(thread: u64) {
    for number in 0..LINES {
        let text = "x".repeat(if number % 100 == 7 { 9_000 } else { usize::try_from(number).unwrap() % 300 });
        if number % 50 == thread {
            tracing::warn!(target: OURS, thread, number, text, "said");
        } else {
            tracing::info!(target: OURS, thread, number, text, "said");
        }
    }
}

#[test]
fn lines_of_many_threads_are_intact_and_those_of_each_thread_are_in_order() {
    let lines = lines("much");
    for thread in 0..THREADS {
        let of_thread = lines.iter().filter(|line| line["thread"] == thread);
        let numbers: Vec<_> = of_thread.map(|line| line["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..LINES).collect::<Vec<_>>(), "thread {thread}");
    }
}

#[test]
fn lines_are_written_while_the_process_runs() {
    let mut child = unread("something, then a warning, and nothing more");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for expected in ["something", "a warning"] {
        assert_eq!(parsed(&lines.next().unwrap().unwrap())["message"], expected);
    }
    drop(child.stdin.take());
    wait_for_end(child);
}

#[test]
fn the_final_message_of_a_command_follows_its_log_lines() {
    assert_eq!(messages("a sentence at the end"), ["something", "a sentence"]);
}

#[test]
fn a_panic_is_logged_as_one_line() {
    let [line] = &lines("a panic")[..] else { panic!("more or fewer lines than one") };
    assert_eq!((&line["level"], &line["thread"]), (&"ERROR".into(), &"of a test".into()));
    assert_eq!(line["message"], "a thread panicked: at sea");
    assert!(line["location"].as_str().unwrap().contains("main.rs:"), "{line}");
}

#[test]
fn lines_beyond_the_queue_limit_are_dropped_and_one_line_counts_them() {
    let mut child = unread("too much");
    let mut out = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    while !out.ends_with("said\n") {
        assert_ne!(stdout.read_line(&mut out).unwrap(), 0, "{out}");
    }
    drop(child.stdin.take());
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let lines: Vec<_> = stderr.lines().map(|line| parsed(&line.unwrap())).collect();
    wait_for_end(child);
    let dropped: u64 = lines.iter().filter_map(|line| line["dropped"].as_u64()).sum();
    let said = lines.iter().filter(|line| line["text"].is_string()).count() as u64;
    assert!(dropped > 0);
    assert_eq!(said + dropped, TOO_MANY as u64);
    let message = format!("{dropped} log lines were dropped");
    let told: Vec<_> = lines.iter().filter(|line| line["message"] == message).collect();
    assert_eq!(told.len(), 1, "one line counts all of them");
    assert_eq!((&told[0]["level"], &told[0]["target"]), (&"WARN".into(), &"longshore::log".into()));
}

#[test]
fn a_process_ends_even_if_its_standard_error_is_not_read() {
    wait_for_end(unread("too much, then the end"));
}

#[test]
fn a_process_ends_even_if_its_standard_error_is_closed() {
    let mut child = unread("too much, then the end");
    drop(child.stderr.take());
    wait_for_end(child);
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_ends_even_if_the_disk_is_full() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = process("too much, then the end").stderr(full).stdout(Stdio::null()).spawn().unwrap();
    wait_for_end(child);
}

#[test]
fn no_line_waits_after_a_flush() {
    assert_eq!(messages("something, then flush"), ["something"]);
}
