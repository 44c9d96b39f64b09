use super::*;

/// The file with this one line.
fn judged(name: &str, value: i64) -> Result<(), ConfigError> {
    let settings = file::parse("f", &format!("{name} = {value}"))?;
    Config::new(&settings).map(|_| ())
}

/// The settings that are numbers: what is a number to the file.
fn numbers() -> Vec<&'static str> {
    let is_number = |name: &&str| file::parse("f", &format!("{name} = 7")).is_ok();
    Settings::NAMES.iter().copied().filter(is_number).collect()
}

#[test]
fn every_number_has_bounds_unless_any_of_its_kind_will_do() {
    let numbers = numbers();
    assert!(numbers.len() > 25, "{numbers:?}");
    // Those of the database mean nothing without a server, and are looked at with one.
    let is_elsewhere = |name: &str| name.starts_with("database_");
    let mut taken = [Vec::new(), Vec::new()];
    for (value, taken) in [0, i64::MAX].into_iter().zip(&mut taken) {
        for name in numbers.iter().copied().filter(|name| !is_elsewhere(name)) {
            match judged(name, value) {
                Ok(()) => taken.push(name),
                Err(error) => {
                    let is_named = error.setting == name && error.problem.starts_with("must be from ");
                    // What does not even fit is refused by its line.
                    assert!(is_named || error.setting == "f, line 1", "{error:?}");
                }
            }
        }
    }
    let [none, most] = taken;
    assert_eq!(
        none,
        [
            "max_streams_per_address",
            "address_reads_per_s",
            "address_401s_per_min",
            "address_404s_per_min",
            "key_requests_per_s",
            "key_messages_per_min",
            "key_pending_replies",
            "key_tokens_per_day",
            "log_files_kept",
            "trace_ratio",
        ]
    );
    assert_eq!(most, ["key_tokens_per_day"]);
}

#[test]
fn what_is_at_a_bound_is_within_it_and_nothing_beyond() {
    let bounds = 2..=5;
    for number in [2, 3, 5] {
        assert_eq!(within("n", Some(number), 4, &bounds), Ok(number));
    }
    assert_eq!(within("n", None, 4, &bounds), Ok(4));
    for number in [1, 6] {
        let error = within("n", Some(number), 4, &bounds).unwrap_err();
        assert_eq!(error.to_string(), "n: must be from 2 to 5");
        assert_eq!(error.hint, "leave it out for 4");
    }
}

#[test]
fn a_host_is_a_name_and_nothing_around_it() {
    let hosts = |text: &str| {
        let settings = Settings {
            allowed_hosts: Some(text.into()),
            ..Settings::default()
        };
        Config::new(&settings).map(|config| config.http.allowed_hosts)
    };
    assert_eq!(
        hosts("Chat.Example.com, localhost,chat.example.com.,10.0.0.7,[::1],xn--mnchen-3ya.de"),
        Ok([
            "chat.example.com",
            "localhost",
            "chat.example.com",
            "10.0.0.7",
            "[::1]",
            "xn--mnchen-3ya.de"
        ]
        .map(str::to_owned)
        .to_vec())
    );
    for wrong in [
        "chat.example.com:443",
        "[::1]:8000",
        "https://chat.example.com",
        "chat.example.com/",
        "*",
        "*.example.com",
        ".example.com",
        "a..b",
        "::1",
        "[1.2.3.4]",
        "me@chat.example.com",
        "two words",
        "münchen.de",
        ".",
    ] {
        let error = hosts(&format!("fine.example.com,{wrong}")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("allowed_hosts: `{wrong}` is no host name")
        );
        assert!(error.hint.contains("port"), "{error:?}");
    }
}
