//! Where traces go.
//!
//! The variables of OpenTelemetry's own kits (`OTEL_…`) are not read: what is sent, and to whom, is said in one place.

use std::{fs, path::PathBuf};

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{ConfigError, Settings, value::web_url};

/// Where traces go, and how much of them.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Where they are sent, path included.
    pub url: Url,
    /// What is sent with them, by the headers' names.
    pub headers: Vec<(String, SecretString)>,
    /// Whom to believe that he is the receiver, where that is not whom the system believes.
    pub ca_file: Option<PathBuf>,
    /// What the service is called in them.
    pub service_name: String,
    /// How many of those that begin here are recorded, from 0 to 1.
    pub ratio: f64,
}

pub(super) fn section(settings: &Settings) -> Result<Option<TraceSettings>, ConfigError> {
    // Judged without an endpoint, too: whoever adds one later is not to find them wrong then.
    let ratio = settings.trace_ratio.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&ratio) {
        return Err(ConfigError::new(
            "trace_ratio",
            "must be from 0 to 1",
            "for instance 0.01 for one trace in a hundred",
        ));
    }
    let service_name = settings
        .otlp_service_name
        .clone()
        .unwrap_or_else(|| "engagement".to_owned());
    if service_name.trim().is_empty() {
        return Err(ConfigError::new(
            "otlp_service_name",
            "is empty",
            "leave it out for engagement",
        ));
    }
    let headers = headers(settings)?;
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(None);
    };
    Ok(Some(TraceSettings {
        url: url(endpoint)?,
        headers,
        ca_file: settings.otlp_ca_file.clone(),
        service_name,
        ratio,
    }))
}

fn url(endpoint: &str) -> Result<Url, ConfigError> {
    const EXAMPLE: &str = "for instance http://127.0.0.1:4318, or leave it out to trace nothing";
    const SECRETS: &str = "leave them out, and send them in a header: otlp_headers_file";
    let wrong = |(problem, hint)| ConfigError::new("otlp_endpoint", problem, hint);
    let mut url = web_url(endpoint, EXAMPLE, SECRETS).map_err(wrong)?;
    if url.path().trim_end_matches('/').ends_with("/v1/traces") {
        return Err(wrong((
            "names the path of traces",
            "leave out /v1/traces, which is put behind it",
        )));
    }
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["v1", "traces"]);
    }
    Ok(url)
}

fn headers(settings: &Settings) -> Result<Vec<(String, SecretString)>, ConfigError> {
    let (name, text) = match (&settings.otlp_headers, &settings.otlp_headers_file) {
        (None, None) => return Ok(Vec::new()),
        (Some(_), Some(_)) => {
            return Err(ConfigError::new(
                "otlp_headers_file",
                "is given twice, as headers and as file",
                "leave out one of otlp_headers and otlp_headers_file",
            ));
        }
        (Some(headers), None) => ("otlp_headers", headers.clone()),
        (None, Some(path)) => match fs::read_to_string(path) {
            Ok(text) => ("otlp_headers_file", text.into()),
            Err(cause) => {
                return Err(ConfigError::new(
                    "otlp_headers_file",
                    format!("cannot read {}: {cause}", path.display()),
                    "give a file that this user can read",
                ));
            }
        },
    };
    let entries = text.expose_secret().split(',').map(str::trim);
    let headers = entries.filter(|entry| !entry.is_empty()).map(header);
    headers.collect::<Option<_>>().ok_or_else(|| {
        ConfigError::new(
            name,
            "is no list of headers",
            "write NAME=VALUE, separated by commas, with %2C for a comma in a value",
        )
    })
}

/// One header; `None` when it cannot be one.
fn header(entry: &str) -> Option<(String, SecretString)> {
    let (name, value) = entry.split_once('=')?;
    let (name, value) = (name.trim(), percent_decode_str(value.trim()).decode_utf8().ok()?);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_good = !name.is_empty()
        && name.bytes().all(is_name)
        && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    is_good.then(|| (name.to_ascii_lowercase(), SecretString::from(value.into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl Fn(&mut Settings)) -> Result<Option<TraceSettings>, ConfigError> {
        let mut settings = Settings::default();
        change(&mut settings);
        section(&settings)
    }

    fn at(endpoint: &str) -> Result<String, String> {
        let section = with(|settings| settings.otlp_endpoint = Some(endpoint.to_owned()));
        match section {
            Ok(traces) => Ok(traces.unwrap().url.to_string()),
            Err(error) => Err(error.problem),
        }
    }

    #[test]
    fn nothing_is_traced_unless_somebody_says_where_to() {
        assert!(with(|_| {}).unwrap().is_none());
    }

    #[test]
    fn the_path_of_traces_is_put_behind_the_base() {
        for (base, whole) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example.com/", "https://otel.example.com/v1/traces"),
            (
                "https://example.com/otlp/tenant/",
                "https://example.com/otlp/tenant/v1/traces",
            ),
        ] {
            assert_eq!(at(base).as_deref(), Ok(whole));
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for (wrong, problem) in [
            ("", "is not a URL"),
            ("localhost", "is not a URL"),
            ("localhost:4318", "must begin with http:// or https:// and a host"),
            (
                "grpc://localhost:4317",
                "must begin with http:// or https:// and a host",
            ),
            ("http://me:secret@localhost:4318", "holds a user or a password"),
            ("http://localhost:4318?a=b", "goes on behind its path"),
            ("http://localhost:4318/v1/traces", "names the path of traces"),
        ] {
            assert_eq!(at(wrong), Err(problem.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_ratio_is_from_nothing_to_everything() {
        for ratio in [0.0, 0.01, 1.0] {
            assert!(with(|settings| settings.trace_ratio = Some(ratio)).is_ok());
        }
        for ratio in [-0.1, 1.1, f64::NAN] {
            let error = with(|settings| settings.trace_ratio = Some(ratio)).unwrap_err();
            assert_eq!(error.setting, "trace_ratio");
        }
    }

    #[test]
    fn headers_are_read_and_never_shown() {
        let given = |headers: &str| {
            with(|settings| {
                settings.otlp_endpoint = Some("http://127.0.0.1:4318".to_owned());
                settings.otlp_headers = Some(headers.into());
            })
        };
        let traces = given("Authorization=Bearer%20canary, x-tenant = a%2Cb ,")
            .unwrap()
            .unwrap();
        let read: Vec<_> = traces
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
            .collect();
        assert_eq!(read, [("authorization", "Bearer canary"), ("x-tenant", "a,b")]);
        assert!(!format!("{traces:?}").contains("canary"));
        for wrong in [
            "canary",
            "=canary",
            "two words=canary",
            "a=canary%0A",
            "a=canary%FF",
        ] {
            let error = given(wrong).unwrap_err();
            assert_eq!(error.setting, "otlp_headers", "{wrong}");
            assert!(!format!("{error:?}").contains("canary"));
        }
    }
}
