use secrecy::SecretString;

use super::*;

fn verdict(settings: &Settings, what: &str) -> Verdict {
    let config = Config::new(settings).unwrap();
    let items = items(settings, &config, &[], Timestamp::from_micros(0));
    let found = items.iter().find(|item| item.what == what);
    found.unwrap_or_else(|| panic!("{what} is not looked at")).verdict
}

fn production() -> Settings {
    Settings {
        production: Some(true),
        ..Settings::default()
    }
}

#[test]
fn each_item_goes_by_its_setting() {
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = production();
        change(&mut settings);
        settings
    };
    let list = |items: &str| Some(items.into());
    for (what, before, change) in [
        (
            "a key of your own",
            Verdict::Bad,
            &(|settings: &mut Settings| settings.api_key = Some(SecretString::from("k".repeat(24))))
                as &dyn Fn(&mut Settings),
        ),
        ("trusted proxies", Verdict::Doubtful, &|settings| {
            settings.trusted_proxies = list("127.0.0.1");
        }),
        ("limits of keys", Verdict::Doubtful, &|settings| {
            settings.api_key = Some(SecretString::from("k".repeat(24)));
            settings.key_messages_per_min = Some(60);
        }),
        ("the public URL", Verdict::Doubtful, &|settings| {
            settings.public_url = Some("https://chat.example.com".to_owned());
        }),
        ("host names", Verdict::Doubtful, &|settings| {
            settings.allowed_hosts = list("chat.example.com");
        }),
        ("who may read", Verdict::Doubtful, &|settings| {
            settings.reads = Some(Reads::Key);
        }),
    ] {
        assert_eq!(verdict(&production(), what), before, "{what}");
        assert_eq!(verdict(&with(change), what), Verdict::Good, "{what}");
    }
    let plain = with(&|settings| settings.log_ids = Some(LoggedIds::Plain));
    assert_eq!(verdict(&plain, "logs"), Verdict::Doubtful);
    for (networks, expected) in [
        ("10.0.0.0/8,fd00::/8,192.0.2.7", Verdict::Good),
        ("2001:db8::/32", Verdict::Good),
        ("127.0.0.1,0.0.0.0/0", Verdict::Doubtful),
        ("::/0", Verdict::Doubtful),
        ("2000::/3", Verdict::Doubtful),
    ] {
        let proxies = with(&|settings| settings.trusted_proxies = list(networks));
        assert_eq!(verdict(&proxies, "trusted proxies"), expected, "{networks}");
    }
    for (listen, expected) in [
        ("127.0.0.1:9100", Verdict::Good),
        ("[::1]:9100", Verdict::Good),
        ("0.0.0.0:9100", Verdict::Doubtful),
    ] {
        let watched = with(&|settings| settings.metrics_listen = Some(listen.parse().unwrap()));
        assert_eq!(verdict(&watched, "metrics"), expected, "{listen}");
    }
    let far = with(&|settings| settings.listen = Some("0.0.0.0:8000".parse().unwrap()));
    assert_eq!(verdict(&far, "TLS in front"), Verdict::Doubtful);
}
