//! Settings: names, sources and precedence.

use std::fs;

use super::{assert_refused, engagement, home};

const REFUSED: i32 = 78;

/// Value and source of a setting, as `config show` lists it.
fn shown<'a>(stdout: &'a str, name: &str) -> (&'a str, &'a str) {
    let line = stdout
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    let mut words = line
        .unwrap_or_else(|| panic!("no {name} in {stdout}"))
        .split_whitespace()
        .skip(1);
    let source = words.next().expect("a source");
    (words.next().expect("a value"), source)
}

#[tokio::test]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let home = home();
    let file = "workers = 1\nmax_in_flight = 2\nmax_connections = 3\nlog_format = 'json'\napi_key = 'canary-of-the-file'\n";
    fs::write(home.path().join("engagement.toml"), file).expect("a file");
    let show = engagement(&home, &["config", "show", "--workers", "30"]);
    let run = show.env("WORKERS", "20").env("MAX_IN_FLIGHT", "20").run().await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(shown(&run.stdout, "workers"), ("30", "flag"));
    assert_eq!(shown(&run.stdout, "max_in_flight"), ("20", "environment"));
    assert_eq!(shown(&run.stdout, "max_connections"), ("3", "file"));
    assert_eq!(shown(&run.stdout, "log_format"), ("json", "file"));
    assert_eq!(shown(&run.stdout, "listen"), ("127.0.0.1:0", "environment"));
    assert_eq!(shown(&run.stdout, "public_url").1, "default");
    assert_eq!(shown(&run.stdout, "api_key"), ("(secret)", "file"));
    assert!(
        !run.stdout.contains("canary") && !run.stderr.contains("canary"),
        "{run:?}"
    );

    // Without a command the settings are the same: the flag is refused although file and environment are right.
    let run = engagement(&home, &["--workers", "0"])
        .env("WORKERS", "20")
        .run()
        .await;
    assert_refused(&run, REFUSED, &["workers: must be from 1 to 100000"]);
}

#[tokio::test]
async fn a_file_elsewhere_can_be_named_and_must_be_there() {
    let home = home();
    fs::write(home.path().join("own.toml"), "workers = 7").expect("a file");
    let run = engagement(&home, &["config", "show", "--config", "own.toml"])
        .run()
        .await;
    assert_eq!(shown(&run.stdout, "workers"), ("7", "file"));
    let run = engagement(&home, &["config", "show"])
        .env("CONFIG", "own.toml")
        .run()
        .await;
    assert_eq!(shown(&run.stdout, "workers"), ("7", "file"));
    let run = engagement(&home, &["config", "show", "--config", "missing.toml"])
        .run()
        .await;
    assert_refused(&run, REFUSED, &["missing.toml", "--config"]);
}

#[tokio::test]
async fn a_file_with_a_mistake_says_which_and_keeps_the_secrets() {
    let home = home();
    for (text, says) in [
        (
            "lissten = '127.0.0.1:1'",
            ["there is no setting `lissten`", "did you mean `listen`?"],
        ),
        (
            "max_connection = 1",
            [
                "there is no setting `max_connection`",
                "did you mean `max_connections`?",
            ],
        ),
        ("zzz = 1", ["there is no setting `zzz`", "--help"]),
        ("workers = 'many'", ["line 1", "engagement.toml"]),
        ("\n\napi_key = canary", ["line 3", "engagement.toml"]),
        ("api_key = ['canary']", ["line 1", "engagement.toml"]),
        ("log_level = 'loud'", ["line 1", "engagement.toml"]),
        ("[table]", ["there is no setting `table`", "engagement.toml"]),
    ] {
        fs::write(home.path().join("engagement.toml"), text).expect("a file");
        let run = engagement(&home, &[]).run().await;
        assert_refused(&run, REFUSED, &says);
        assert!(!run.stderr.contains("canary"), "{run:?}");
    }
}

#[tokio::test]
async fn providers_are_shown_without_their_keys() {
    let home = home();
    let file = "model = 'ollama/llama3.2'\n[providers.ollama]\nbase_url = 'http://127.0.0.1:11434/v1'\nmodels = ['llama3.2', 'qwen3']\n[providers.claude]\nkind = 'anthropic'\napi_key_file = 'claude.key'\nmodels = ['*']\n";
    fs::write(home.path().join("engagement.toml"), file).expect("a file");
    fs::write(home.path().join("claude.key"), "canary-of-claude\n").expect("a file");
    let run = engagement(&home, &["config", "show"]).run().await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(shown(&run.stdout, "model"), ("ollama/llama3.2", "file"));
    for (name, expected) in [
        ("providers.ollama.base_url", ("http://127.0.0.1:11434/v1", "file")),
        ("providers.ollama.models", ("llama3.2,qwen3", "file")),
        ("providers.ollama.gap_timeout_s", ("30", "default")),
        ("providers.claude.kind", ("anthropic", "file")),
        ("providers.claude.api_key_file", ("claude.key", "file")),
    ] {
        assert_eq!(shown(&run.stdout, name), expected, "{name}");
    }
    assert!(!format!("{run:?}").contains("canary"), "{run:?}");
}

#[tokio::test]
async fn a_provider_with_a_mistake_says_what_to_type_next() {
    let home = home();
    let table = "[providers.p]\nbase_url = 'http://127.0.0.1:1/v1'\nmodels = ['m']\n";
    for (text, says) in [
        (
            format!("{table}api_key = 'canary'"),
            ["providers.p: there is no setting `api_key`", "api_key_env"],
        ),
        (
            format!("{table}api_key_env = 'sk-canary'"),
            ["providers.p.api_key_env", "OPENAI_API_KEY"],
        ),
        (
            format!("{table}api_key_env = 'NOT_SET_HERE'"),
            ["NOT_SET_HERE is not set", "export NOT_SET_HERE="],
        ),
        (
            format!("{table}modells = ['m']"),
            ["`modells`", "did you mean `models`?"],
        ),
        (
            format!("{table}fallback = ['q']"),
            ["there is no provider `q`", "the providers are p"],
        ),
        (
            table.replace("http://", "tcp://"),
            ["providers.p.base_url", "http:// or https://"],
        ),
        (
            table.replace("http://", "http://me:canary@"),
            ["providers.p.base_url", "api_key_env"],
        ),
        (
            format!("model = 'other'\n{table}"),
            ["model: no provider offers other", "`models`"],
        ),
        (
            format!("{table}{}", table.replace("s.p", "s.q")),
            ["several providers, p, q", "model = \"p/m\""],
        ),
        (
            "[provider.p]".to_owned(),
            ["there is no setting `provider`", "did you mean `providers`?"],
        ),
        ("providers = 3".to_owned(), ["line 1", "engagement.toml"]),
    ] {
        fs::write(home.path().join("engagement.toml"), &text).expect("a file");
        let run = engagement(&home, &[]).run().await;
        assert_refused(&run, REFUSED, &says);
        assert!(!run.stderr.contains("canary"), "{run:?}");
    }
}

#[tokio::test]
async fn wrong_usage_is_code_2_with_a_suggestion() {
    for (arguments, says) in [
        (vec!["--lisen", "127.0.0.1:0"], "--listen"),
        (vec!["serv"], "serve"),
        (vec!["migrate"], "Usage"),
        (vec!["migrate", "stats"], "status"),
        (vec!["--workers", "many"], "many"),
        (vec!["--log-level", "loud"], "trace"),
        (vec!["--production=maybe"], "1 or 0"),
    ] {
        let run = engagement(&home(), &arguments).run().await;
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains(says) && run.stdout.is_empty(), "{run:?}");
    }
}

#[tokio::test]
async fn an_unknown_variable_is_no_error() {
    let run = engagement(&home(), &["config", "show"])
        .env("NO_SUCH_SETTING", "1")
        .run()
        .await;
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[tokio::test]
async fn help_and_version_are_data() {
    for (argument, says) in [
        ("--help", "--database-url"),
        ("-h", "migrate"),
        ("--version", env!("CARGO_PKG_VERSION")),
    ] {
        let run = engagement(&home(), &[argument])
            .env("API_KEY", "canary")
            .run()
            .await;
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.contains(says) && run.stderr.is_empty(), "{run:?}");
        assert!(!run.stdout.contains("canary"), "{run:?}");
    }
}
