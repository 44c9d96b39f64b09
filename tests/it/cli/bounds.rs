//! Numbers among the settings: what is beyond their bounds is refused before anything is made of it, and what is at them
//! works.

use engagement::config::Settings;

use super::{assert_refused, engagement, home};
use crate::support::{Run, Server};

const WRONG_USAGE: i32 = 2;
const REFUSED: i32 = 78;

/// Settings that are numbers, as the environment spells them without its prefix.
fn numbers() -> Vec<&'static str> {
    let all = Settings::VARIABLES.iter().zip(Settings::DEFAULTS);
    let numbers = all.filter(|(_, default)| default.parse::<f64>().is_ok());
    let names = numbers.filter_map(|(variable, _)| variable.strip_prefix("ENGAGEMENT_"));
    names.collect()
}

/// A check of the configuration in which this variable has this value.
async fn checked(name: &str, value: &str) -> Run {
    let check = engagement(&home(), &["check"]).env(name, value);
    // Some mean something for a server only.
    let check = if name.starts_with("DATABASE_") {
        check.on("postgres://me@127.0.0.1:1/chat")
    } else {
        check
    };
    let run = check.run().await;
    assert!(!run.stderr.contains("panicked"), "{name}: {run:?}");
    run
}

/// The lowest and the highest value that a setting takes, by what is said of one that is far beyond.
async fn bounds(name: &str) -> (String, String) {
    let mut beyond = u64::MAX.to_string();
    let mut run = checked(name, &beyond).await;
    if run.code == Some(WRONG_USAGE) {
        assert!(run.stderr.contains(&format!("'ENGAGEMENT_{name} (--")), "{run:?}");
        beyond = u32::MAX.to_string();
        run = checked(name, &beyond).await;
    }
    if run.stdout.contains("configuration: ok") {
        return ("0".to_owned(), beyond);
    }
    assert_eq!(run.code, Some(REFUSED), "{name}: {run:?}");
    let setting = format!("error: {}: must be from ", name.to_lowercase());
    let said = run.stderr.lines().find_map(|line| line.strip_prefix(&setting));
    let (lowest, highest) = said
        .and_then(|said| said.split_once(" to "))
        .unwrap_or_else(|| panic!("{name}: no bounds in {run:?}"));
    (lowest.to_owned(), highest.to_owned())
}

#[tokio::test]
async fn a_service_works_with_every_number_at_its_lowest_and_at_its_highest() {
    let names = numbers();
    assert!(names.len() > 25, "{names:?}");
    let (mut lowest, mut highest) = (Server::builder(), Server::builder());
    for name in names {
        let (low, high) = bounds(name).await;
        // Whoever looks may need two connections, and a busy machine more than a second.
        if name != "MAX_CONNECTIONS" && !name.ends_with("_TIMEOUT_S") {
            lowest = lowest.env(name, &low);
        }
        highest = highest.env(name, &high);
    }
    for builder in [lowest, highest] {
        let server = builder.start().await;
        let client = server.client();
        let conversation = client.conversation("at a bound").await;
        let message = client.message(&conversation, "user", "hello").await;
        let reply = client.finished_reply(&conversation, &message).await;
        assert_eq!(reply["status"], "succeeded");
        assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    }
}

#[tokio::test]
async fn zero_is_refused_or_means_any_number() {
    for name in numbers() {
        let run = checked(name, "0").await;
        if run.stdout.contains("configuration: ok") {
            continue;
        }
        let (lowest, _) = bounds(name).await;
        assert_ne!(lowest, "0", "{name}");
        let setting = format!("{}: must be from {lowest} to ", name.to_lowercase());
        assert_refused(&run, REFUSED, &[&setting, "leave it out for"]);
    }
}

#[tokio::test]
async fn a_value_of_a_variable_is_refused_by_the_variables_name() {
    let run = engagement(&home(), &["check"]).env("WORKERS", "abc").run().await;
    assert_eq!(run.code, Some(WRONG_USAGE), "{run:?}");
    assert!(
        run.stderr.contains("'ENGAGEMENT_WORKERS (--workers <NUMBER>)'"),
        "{run:?}"
    );
    // The control: who typed the flag is told of the flag.
    for typed in [["--workers", "abc"].as_slice(), &["--workers=abc"]] {
        let run = engagement(&home(), typed).env("WORKERS", "7").run().await;
        assert_eq!(run.code, Some(WRONG_USAGE), "{run:?}");
        assert!(
            run.stderr.contains("'--workers <NUMBER>'") && !run.stderr.contains("ENGAGEMENT_"),
            "{run:?}"
        );
    }
}
