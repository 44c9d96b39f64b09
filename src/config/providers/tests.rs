use super::*;
use crate::config::{Config, file};

fn parse(text: &str) -> Result<Providers, ConfigError> {
    let settings = file::parse("f", text)?;
    Config::new(&settings).map(|config| config.providers)
}

/// The file with one provider, and these lines in its table.
fn with(lines: &str) -> Result<Providers, ConfigError> {
    parse(&format!(
        "[providers.p]\nbase_url = 'http://h/v1'\nmodels = ['m']\n{lines}"
    ))
}

#[test]
fn three_lines_are_a_provider_and_the_default() {
    let providers =
        parse("[providers.ollama]\nbase_url = \"http://127.0.0.1:11434/v1\"\nmodels = [\"llama3.2\"]\n")
            .unwrap();
    assert_eq!(providers.default, ("ollama".to_owned(), "llama3.2".to_owned()));
    let [ollama] = providers.list.as_slice() else {
        panic!("{providers:?}")
    };
    assert_eq!(
        (ollama.kind, ollama.api, ollama.stream),
        (ProviderKind::Openai, Api::Chat, true)
    );
    assert_eq!(ollama.output_limit, OutputLimit::MaxTokens);
    assert_eq!(ollama.total_timeout, Duration::from_mins(2));
    assert_eq!((ollama.concurrency, ollama.window), (256, 6144 * 3));
}

#[test]
fn without_tables_the_rules_answer() {
    let providers = parse("").unwrap();
    assert!(providers.list.is_empty());
    assert_eq!(providers.default, rules());
}

#[test]
fn what_depends_on_the_host_or_the_kind_has_its_default() {
    let providers = parse(
        "model = 'a/claude'\n[providers.o]\nbase_url = 'https://api.openai.com/v1'\nmodels = ['*']\n[providers.a]\nkind = 'anthropic'\nmodels = ['*']",
    )
    .unwrap();
    let [openai, anthropic] = providers.list.as_slice() else {
        panic!("{providers:?}")
    };
    assert_eq!(openai.output_limit, OutputLimit::MaxCompletionTokens);
    assert_eq!(anthropic.base_url.as_str(), "https://api.anthropic.com/");
    assert_eq!(providers.default, ("a".to_owned(), "claude".to_owned()));
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_type_next() {
    for (lines, setting, says) in [
        ("base_ur = 'x'", "providers.p", "did you mean `base_url`?"),
        ("api_key = 'canary'", "providers.p", "api_key_env"),
        ("zzz = 1", "providers.p", "docs/providers.md"),
        ("stream = 'yes'", "providers.p", "docs/providers.md"),
        ("api = 'soap'", "providers.p", "docs/providers.md"),
        (
            "api_key_env = 'NO_SUCH_VARIABLE_HERE'",
            "providers.p.api_key_env",
            "export NO_SUCH_VARIABLE_HERE=",
        ),
        (
            "api_key_env = 'sk-canary'",
            "providers.p.api_key_env",
            "OPENAI_API_KEY",
        ),
        ("api_key_env = 'A=B'", "providers.p.api_key_env", "OPENAI_API_KEY"),
        (
            "api_key_file = '/no/such/file'",
            "providers.p.api_key_file",
            "can read",
        ),
        (
            "api_key_file = 'a'\napi_key_env = 'b'",
            "providers.p.api_key_file",
            "remove one",
        ),
        ("gap_timeout_s = 0", "providers.p.gap_timeout_s", "leave it out"),
        ("concurrency = 0", "providers.p.concurrency", "256"),
        ("context_tokens = 1", "providers.p.context_tokens", "8192"),
        ("fallback = ['q']", "providers.p.fallback", "the providers are p"),
        ("fallback = ['p/x']", "providers.p.fallback", "it offers m"),
        (
            "kind = 'anthropic'\napi = 'chat'",
            "providers.p.kind",
            "leave out",
        ),
    ] {
        let error = with(lines).unwrap_err();
        assert_eq!(error.setting, setting, "{lines}: {error:?}");
        assert!(error.hint.contains(says), "{lines}: {error:?}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn a_base_url_is_a_place_and_nothing_more() {
    for (url, says) in [
        ("", "is not a URL"),
        ("127.0.0.1:11434/v1", "is not a URL"),
        ("ftp://h/v1", "http:// or https://"),
        ("http://", "is not a URL"),
        ("http://me:canary@h/v1", "user or a password"),
        ("http://h/v1?key=canary", "goes on behind its path"),
    ] {
        let error = parse(&format!("[providers.p]\nbase_url = '{url}'\nmodels = ['m']")).unwrap_err();
        assert_eq!(error.setting, "providers.p.base_url", "{url}");
        assert!(error.problem.contains(says), "{url}: {error:?}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert!(
        parse("[providers.p]\nmodels = ['m']")
            .unwrap_err()
            .hint
            .contains("11434")
    );
}

#[test]
fn names_are_plain_and_models_are_named() {
    for name in ["rules", "P", "a.b", "\"a/b\"", "\"\"", &"x".repeat(33)] {
        let error = parse(&format!(
            "[providers.{name}]\nbase_url = 'http://h'\nmodels = ['m']"
        ));
        assert!(error.is_err(), "{name}");
    }
    for models in ["[]", "['']", "['a', ' ']"] {
        let error = parse(&format!(
            "[providers.p]\nbase_url = 'http://h'\nmodels = {models}"
        ));
        assert_eq!(error.unwrap_err().setting, "providers.p.models", "{models}");
    }
}

#[test]
fn the_default_model_is_found_as_a_request_finds_it() {
    let two = "[providers.b]\nbase_url = 'http://h'\nmodels = ['m', 'x/y']\n[providers.a]\nbase_url = 'http://h'\nmodels = ['m', '*']\n";
    let default =
        |model: &str| parse(&format!("model = '{model}'\n{two}")).map(|providers| providers.default);
    let named = |name: &str, model: &str| Ok((name.to_owned(), model.to_owned()));
    assert_eq!(default("m"), named("b", "m"), "the first of the file");
    assert_eq!(default("a/m"), named("a", "m"));
    assert_eq!(default("a/other/still"), named("a", "other/still"));
    assert_eq!(
        default("x/y"),
        named("b", "x/y"),
        "a model may have a slash in its name"
    );
    assert_eq!(default("rules"), named("rules", "rules"));
    for wrong in ["n", "b/n", "c/m", "a/"] {
        assert_eq!(default(wrong).unwrap_err().setting, "model", "{wrong}");
    }
    let error = parse(two).unwrap_err();
    assert!(error.hint.contains("model = \"b/m\""), "{error:?}");
    assert!(
        parse("model = 'm'")
            .unwrap_err()
            .hint
            .contains("[providers.NAME]")
    );
}

#[test]
fn a_fallback_is_another_provider_a_model_of_it_or_the_rules() {
    let providers = parse(
        "model = 'a/m'\n[providers.a]\nbase_url = 'http://h'\nmodels = ['m']\nfallback = ['b', 'b/n', 'rules']\n[providers.b]\nbase_url = 'http://h'\nmodels = ['m', 'n']\n",
    )
    .unwrap();
    let fallback: Vec<_> = providers.list[0]
        .fallback
        .iter()
        .map(|(name, model)| format!("{name}/{model}"))
        .collect();
    assert_eq!(fallback, ["b/m", "b/n", "rules/rules"]);
}

#[test]
fn what_is_shown_holds_no_password() {
    let settings = file::parse(
        "f",
        "[providers.p]\nbase_url = 'http://me:canary@h/v1'\nmodels = ['m', 'n']\napi_key_env = 'sk-canary'",
    )
    .unwrap();
    let shown: Vec<_> = settings.providers.shown().collect();
    assert!(shown.contains(&("providers.p.models".to_owned(), "m,n".to_owned(), true)));
    assert!(shown.contains(&("providers.p.gap_timeout_s".to_owned(), "30".to_owned(), false)));
    assert!(!format!("{shown:?} {settings:?}").contains("canary"));
}
