//! Who writes replies besides the built-in rules: the `[providers.NAME]` tables of the file.

mod table;

use std::{env, fs, ops::RangeInclusive, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use self::table::{Api, OutputLimit, ProviderKind, ProviderTables};
use self::table::{Table, is_variable};
use super::{ConfigError, Settings, seconds, value::web_url, within};

/// The built-in provider, and its only model.
const RULES: &str = "rules";

/// Stands for any model.
const ANY: &str = "*";

const ANTHROPIC: &str = "https://api.anthropic.com";

/// Of the host that calls the longest answer by its newer name.
const OPENAI_HOST: &str = "api.openai.com";

/// Bytes of text that are taken for one token when there is nothing to count tokens with. English has about 4.
pub(crate) const BYTES_PER_TOKEN: usize = 3;

/// The largest part of a model's window that is kept free for its answer, in tokens.
const LARGEST_RESERVE: usize = 4096;

const MOST_PROMPTS: usize = 100_000;

/// How large a model's window may be, in tokens.
const WINDOWS: RangeInclusive<usize> = 256..=100_000_000;

/// Every provider, and who answers when nobody is asked for.
#[derive(Debug, Clone)]
pub struct Providers {
    /// In the order of the file.
    pub list: Vec<ProviderSettings>,
    /// A provider's name and a model of it; the rules where there is no provider.
    pub default: (String, String),
}

/// A provider and how to use it.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Its name.
    pub name: String,
    /// Which dialect it speaks.
    pub kind: ProviderKind,
    /// Where it is; paths are put behind it.
    pub base_url: Url,
    /// Its models; `*` is any.
    pub models: Vec<String>,
    /// What opens it.
    pub key: Option<SecretString>,
    /// Whom to believe that he is the provider, where that is not whom the system believes.
    pub ca_file: Option<PathBuf>,
    /// Which API of the OpenAI dialect is used.
    pub api: Api,
    /// Whether answers come piece by piece.
    pub stream: bool,
    /// What the longest answer is called in Chat Completions.
    pub output_limit: OutputLimit,
    /// For a connection, looking up its name and TLS included.
    pub connect_timeout: Duration,
    /// For the head of an answer that is streamed.
    pub first_byte_timeout: Duration,
    /// For more of an answer.
    pub gap_timeout: Duration,
    /// For all of an answer.
    pub total_timeout: Duration,
    /// How many prompts may be there at once.
    pub concurrency: usize,
    /// How many bytes of instructions, history and message are sent.
    pub window: usize,
    /// Who is asked instead, in this order: a provider's name and a model of it.
    pub fallback: Vec<(String, String)>,
}

/// Makes sense of the tables, and of the default model.
pub(super) fn section(settings: &Settings) -> Result<Providers, ConfigError> {
    let tables = settings.providers.read()?;
    let mut list = Vec::new();
    for (name, table) in &tables {
        list.push(provider(name, table)?);
    }
    for (name, table) in &tables {
        let fallback = fallback(name, &table.fallback, &list)?;
        if let Some(provider) = list.iter_mut().find(|provider| provider.name == *name) {
            provider.fallback = fallback;
        }
    }
    let default = default(settings.model.as_deref(), &list)?;
    Ok(Providers { list, default })
}

fn provider(name: &str, table: &Table) -> Result<ProviderSettings, ConfigError> {
    let wrong = |key: &str, problem: &str, hint: &str| Err(setting(name, key, problem, hint));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name == RULES || name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
        return Err(ConfigError::new(
            format!("providers.{name}"),
            "is not a name that a provider can have",
            "take up to 32 of the characters a-z 0-9 _ -, and not `rules`, which is built in",
        ));
    }
    let base_url = base_url(name, table)?;
    if table.models.is_empty() || table.models.iter().any(|model| model.trim().is_empty()) {
        return wrong(
            "models",
            "names no model",
            "list what it offers, for instance models = [\"llama3.2\"], or models = [\"*\"] for any",
        );
    }
    if table.kind == ProviderKind::Anthropic && (table.api.is_some() || table.output_limit.is_some()) {
        return wrong(
            "kind",
            "anthropic has one API only",
            "leave out `api` and `output_limit`",
        );
    }
    let qualified = |key: &str| format!("providers.{name}.{key}");
    let timeout = |key: &str, given: Option<u64>, default| seconds(qualified(key), given, default);
    let concurrency = within(
        qualified("concurrency"),
        table.concurrency,
        256,
        &(1..=MOST_PROMPTS),
    )?;
    let context_tokens = within(qualified("context_tokens"), table.context_tokens, 8192, &WINDOWS)?;
    let output_limit = match table.output_limit {
        Some(given) => given,
        None if base_url.host_str() == Some(OPENAI_HOST) => OutputLimit::MaxCompletionTokens,
        None => OutputLimit::MaxTokens,
    };
    Ok(ProviderSettings {
        name: name.to_owned(),
        kind: table.kind,
        models: table.models.clone(),
        key: key(name, table)?,
        ca_file: table.ca_file.clone(),
        api: table.api.unwrap_or_default(),
        stream: table.stream.unwrap_or(true),
        output_limit,
        connect_timeout: timeout("connect_timeout_s", table.connect_timeout_s, 5)?,
        first_byte_timeout: timeout("first_byte_timeout_s", table.first_byte_timeout_s, 30)?,
        gap_timeout: timeout("gap_timeout_s", table.gap_timeout_s, 30)?,
        total_timeout: timeout("total_timeout_s", table.total_timeout_s, 120)?,
        concurrency,
        window: window(context_tokens),
        fallback: Vec::new(),
        base_url,
    })
}

/// A quarter of the window, but no more than an answer takes, is left for the answer.
fn window(context_tokens: usize) -> usize {
    let reserve = (context_tokens / 4).min(LARGEST_RESERVE);
    context_tokens
        .saturating_sub(reserve)
        .saturating_mul(BYTES_PER_TOKEN)
}

fn base_url(name: &str, table: &Table) -> Result<Url, ConfigError> {
    const EXAMPLE: &str = "for instance base_url = \"http://127.0.0.1:11434/v1\"";
    const SECRETS: &str = "leave them out, and name the variable that holds the key: api_key_env = \"NAME\"";
    let wrong = |problem: &str, hint: &str| Err(setting(name, "base_url", problem, hint));
    let given = match (&table.base_url, table.kind) {
        (Some(url), _) => url.as_str(),
        (None, ProviderKind::Anthropic) => ANTHROPIC,
        (None, ProviderKind::Openai) => return wrong("is missing", EXAMPLE),
    };
    web_url(given, EXAMPLE, SECRETS).or_else(|(problem, hint)| wrong(problem, hint))
}

/// The key, from the environment or a file.
fn key(name: &str, table: &Table) -> Result<Option<SecretString>, ConfigError> {
    let (setting_name, key) = match (&table.api_key_env, &table.api_key_file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let problem = "is given twice, as variable and as file";
            return Err(setting(name, "api_key_file", problem, "remove one of the two"));
        }
        (Some(variable), None) => {
            let hint = format!("set it before the start: export {variable}=…");
            if !is_variable(variable) {
                let problem = "is not a variable's name";
                return Err(setting(
                    name,
                    "api_key_env",
                    problem,
                    "for instance api_key_env = \"OPENAI_API_KEY\"",
                ));
            }
            let Some(key) = env::var_os(variable) else {
                return Err(setting(
                    name,
                    "api_key_env",
                    &format!("the variable {variable} is not set"),
                    &hint,
                ));
            };
            ("api_key_env", SecretString::from(key.to_string_lossy().trim()))
        }
        (None, Some(path)) => match fs::read_to_string(path) {
            Ok(text) => ("api_key_file", SecretString::from(text.trim())),
            Err(cause) => {
                let problem = format!("cannot read {}: {cause}", path.display());
                return Err(setting(
                    name,
                    "api_key_file",
                    &problem,
                    "give a file that this user can read",
                ));
            }
        },
    };
    let text = key.expose_secret();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = "leads to a key that is empty, or cannot be sent in a header";
        return Err(setting(
            name,
            setting_name,
            problem,
            "put the provider's key there, and nothing else",
        ));
    }
    Ok(Some(key))
}

/// `other`, `other/model` or `rules`, each as a name and a model.
fn fallback(
    name: &str,
    given: &[String],
    list: &[ProviderSettings],
) -> Result<Vec<(String, String)>, ConfigError> {
    let wrong = |problem: &str, hint: &str| setting(name, "fallback", problem, hint);
    let resolve = |entry: &String| {
        if entry == RULES {
            return Ok(rules());
        }
        let (other, model) = match entry.split_once('/') {
            Some((other, model)) => (other, Some(model)),
            None => (entry.as_str(), None),
        };
        let Some(other) = list.iter().find(|provider| provider.name == other) else {
            return Err(wrong(
                &format!("there is no provider `{other}`"),
                &format!("the providers are {}", names(list)),
            ));
        };
        match model {
            Some(model) if other.offers(model) => Ok((other.name.clone(), model.to_owned())),
            Some(model) => Err(wrong(
                &format!("`{}` does not offer {model}", other.name),
                &format!("it offers {}", other.models.join(", ")),
            )),
            None => match other.first_model() {
                Some(model) => Ok((other.name.clone(), model.to_owned())),
                None => Err(wrong(
                    &format!("`{}` offers any model", other.name),
                    &format!("say which: \"{}/MODEL\"", other.name),
                )),
            },
        }
    };
    let resolved: Vec<_> = given.iter().map(resolve).collect::<Result<_, _>>()?;
    Ok(resolved)
}

/// Who answers when nobody is asked for.
fn default(given: Option<&str>, list: &[ProviderSettings]) -> Result<(String, String), ConfigError> {
    let wrong = |problem: String, hint: String| Err(ConfigError::new("model", problem, hint));
    let Some(model) = given else {
        return match list {
            [] => Ok(rules()),
            [only] => match only.first_model() {
                Some(model) => Ok((only.name.clone(), model.to_owned())),
                None => wrong(
                    format!("`{}` offers any model, so none is the default", only.name),
                    format!("say which: model = \"{}/MODEL\"", only.name),
                ),
            },
            [first, ..] => wrong(
                format!(
                    "there are several providers, {}, so none is the default",
                    names(list)
                ),
                format!(
                    "say which: model = \"{}/{}\"",
                    first.name,
                    first.first_model().unwrap_or("MODEL")
                ),
            ),
        };
    };
    if let Some(provider) = list
        .iter()
        .find(|provider| provider.models.iter().any(|offered| offered == model))
    {
        return Ok((provider.name.clone(), model.to_owned()));
    }
    if model == RULES {
        return Ok(rules());
    }
    let named = model.split_once('/').and_then(|(name, model)| {
        let provider = list.iter().find(|provider| provider.name == name)?;
        (!model.is_empty() && provider.offers(model)).then(|| (provider.name.clone(), model.to_owned()))
    });
    match named {
        Some(named) => Ok(named),
        None if list.is_empty() => wrong(
            "there is no provider that could offer it".to_owned(),
            "leave it out for the built-in rules, or add a [providers.NAME] table to engagement.toml"
                .to_owned(),
        ),
        None => wrong(
            format!("no provider offers {model}"),
            format!("add it to the `models` of one of {}", names(list)),
        ),
    }
}

impl ProviderSettings {
    fn offers(&self, model: &str) -> bool {
        self.models
            .iter()
            .any(|offered| offered == model || offered == ANY)
    }

    fn first_model(&self) -> Option<&str> {
        self.models.iter().find(|model| *model != ANY).map(String::as_str)
    }
}

fn rules() -> (String, String) {
    (RULES.to_owned(), RULES.to_owned())
}

fn names(list: &[ProviderSettings]) -> String {
    let names: Vec<_> = list.iter().map(|provider| provider.name.as_str()).collect();
    names.join(", ")
}

fn setting(name: &str, key: &str, problem: &str, hint: &str) -> ConfigError {
    ConfigError::new(format!("providers.{name}.{key}"), problem, hint)
}

#[cfg(test)]
mod tests;
