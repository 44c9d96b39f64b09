//! What must not appear, where it is looked for, and the place that all of it is planted in.

use std::{fs, path::Path, sync::Arc};

use engagement::model::KeyText;
use tempfile::TempDir;

use crate::faults::{Proof, database, ensure, new_home};
use crate::support::{Answer, Builder, Run, SOON, Server, collector::Collector, upstream::Upstream};

pub(super) const KEY: &str = "canary-key-000000000000000000001";
pub(super) const PROVIDER_KEY: &str = "canary-provider-key-0000000000001";

/// What the receiver of traces gets in a header, and nobody else.
const COLLECTORS_TOKEN: &str = "canary-collector-token";

/// What is in no place that is looked at.
const SECRETS: [&str; 8] = [
    KEY,
    COLLECTORS_TOKEN,
    PROVIDER_KEY,
    "canary-wrong-key",
    "canaryWrongSecret",
    "canary-basic",
    "Y2FuYXJ5LWJhc2lj",
    "canary-idempotency",
];

/// What the database holds, and nobody tells. What the program makes itself is added when it is known.
const CANARIES: [&str; 12] = [
    "canary-text",
    "canary-title",
    "canary-description",
    "canary-instructions",
    "canary-search",
    "canary-path",
    "canary-agent",
    "canary-cookie",
    "canary-broken",
    "canary-event",
    "canary-forwarded",
    "canary of the provider",
];

/// Where a service works: a directory with a provider's table and key, the provider, and whoever gets its traces.
pub(super) struct Home {
    directory: Arc<TempDir>,
    collector: Arc<Collector>,
    pub(super) provider: Upstream,
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
pub(super) struct Report {
    spans: usize,
    lines: usize,
    errors: usize,
    commands: usize,
}

/// What was said to clients and on the command line, and what was planted on the way.
#[derive(Default)]
pub(super) struct Told {
    errors: Vec<Answer>,
    commands: Vec<(String, String)>,
    secrets: Vec<String>,
    ids: Vec<String>,
    collector: Option<Arc<Collector>>,
}

impl Home {
    pub(super) async fn new() -> Self {
        let (directory, provider) = (new_home(), Upstream::start().await);
        let collector = Arc::new(Collector::start().await);
        let url = provider.openai_url();
        let table = format!(
            "[providers.upstream]\nbase_url = '{url}'\nmodels = ['m']\napi_key_file = 'provider.key'\n"
        );
        fs::write(directory.path().join("engagement.toml"), table).expect("a file");
        fs::write(directory.path().join("provider.key"), PROVIDER_KEY).expect("a file");
        Self {
            directory,
            collector,
            provider,
        }
    }

    /// The program over this directory, with the operator's key.
    pub(super) fn builder(&self) -> Builder {
        Server::builder_over(&self.directory)
            .env("API_KEY", KEY)
            .env("OTLP_ENDPOINT", &self.collector.url())
            .env("OTLP_HEADERS", &format!("authorization={COLLECTORS_TOKEN}"))
    }

    /// What is said to clients and on the command line; traces are looked at with it.
    pub(super) fn told(&self) -> Told {
        Told {
            collector: Some(Arc::clone(&self.collector)),
            ..Told::default()
        }
    }

    pub(super) async fn run(&self, arguments: &[&str]) -> Run {
        let run = arguments.iter().fold(self.builder(), Builder::arg);
        let run = run.run().await;
        assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
        run
    }
}

impl Told {
    /// Keeps an answer that must tell nothing. What went well tells texts to those who may read them.
    pub(super) fn error(&mut self, answer: Answer) {
        if answer.status >= 400 {
            self.errors.push(answer);
        }
    }

    /// Keeps what a read of something that failed says, which is a success of its own.
    pub(super) fn failure(&mut self, answer: Answer) {
        self.errors.push(answer);
    }

    pub(super) fn command(&mut self, command: &str, run: &Run) {
        let said = format!("{}{}", run.stdout, run.stderr);
        self.commands.push((format!("`{command}`"), said));
    }

    pub(super) fn id(&mut self, id: &str) {
        self.ids.extend([id.to_owned(), id.replace('-', "")]);
    }

    /// Plants the secret part of a key, which is in its whole text, too. Its public id may be seen.
    pub(super) fn secret_of(&mut self, key: &str) {
        let secret = KeyText::parse(key).expect("a key").secret;
        self.secrets.push(secret.to_owned());
    }

    fn secrets(&self) -> impl Iterator<Item = &str> {
        SECRETS.into_iter().chain(self.secrets.iter().map(String::as_str))
    }
}

/// Looks at all that was said, once all of it is written.
pub(super) async fn judge(mut server: Server, told: Told) -> Proof<Report> {
    let metrics = server.client().with_key(KEY).get("/metrics").await.text();
    ensure(metrics.contains("engagement_reply_attempts_total"), || {
        format!("nothing was counted: {metrics}")
    })?;
    server.terminate();
    server.wait_exit(2 * SOON).await;
    let (log, console) = (server.log(), server.stderr());
    for said in [&log, &console] {
        ensure(said.contains("request") && said.contains("reply"), || {
            format!("nothing was logged: {said}")
        })?;
    }
    let spans = traced(&told)?;
    let ids = told.ids.iter().map(String::as_str);
    for canary in told.secrets().chain(CANARIES).chain(ids) {
        for (place, said) in [("log", &log), ("console", &console), ("metrics", &metrics)] {
            let line = said.lines().find(|line| line.contains(canary));
            ensure(line.is_none(), || format!("the {place} tells {canary}: {line:?}"))?;
        }
        let tells = |answer: &&Answer| {
            answer.text().contains(canary) || format!("{:?}", answer.headers).contains(canary)
        };
        let error = told.errors.iter().find(tells);
        ensure(error.is_none(), || format!("an error tells {canary}: {error:?}"))?;
        let command = told.commands.iter().find(|(_, said)| said.contains(canary));
        ensure(command.is_none(), || {
            let (command, said) = command.expect("a command");
            format!("{command} tells {canary}: {said}")
        })?;
    }
    stored(server.home().path(), &told)?;
    ensure(!console.contains("panicked"), || {
        format!("it panicked: {console}")
    })?;
    Ok(Report {
        spans,
        lines: log.lines().count(),
        errors: told.errors.len(),
        commands: told.commands.len(),
    })
}

/// Looks at all that was traced, as bytes: names, values and whatever else there may be. Gives how many spans there were.
fn traced(told: &Told) -> Proof<usize> {
    let Some(collector) = &told.collector else {
        return Ok(0);
    };
    let (spans, bytes) = (collector.spans(), collector.bytes());
    for name in ["append_", "process replies", "chat m"] {
        let is_there = spans.iter().any(|span| span.name.starts_with(name));
        ensure(is_there, || format!("nothing was traced as {name}"))?;
    }
    let ids = told.ids.iter().map(String::as_str);
    let found = told.secrets().chain(CANARIES).chain(ids).find(|canary| {
        let canary = canary.as_bytes();
        bytes.windows(canary.len()).any(|window| window == canary)
    });
    ensure(found.is_none(), || format!("the traces tell {found:?}"))?;
    Ok(spans.len())
}

/// Looks for secrets in the database's files, and for what clients wrote where requests are remembered.
fn stored(home: &Path, told: &Told) -> Proof<()> {
    for name in ["engagement.db", "engagement.db-wal"] {
        let bytes = fs::read(home.join(name)).unwrap_or_default();
        ensure(name.ends_with("-wal") || !bytes.is_empty(), || {
            format!("{name} is empty")
        })?;
        let found = told.secrets().find(|secret| {
            let secret = secret.as_bytes();
            bytes.windows(secret.len()).any(|window| window == secret)
        });
        ensure(found.is_none(), || {
            format!("the database holds {found:?} in {name}")
        })?;
    }
    let database = database(home);
    let mut select = database
        .prepare("SELECT answer FROM idempotency")
        .expect("a table");
    let answers = select.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    for answer in answers {
        let answer = answer.expect("an answer");
        let found = told
            .secrets()
            .chain(CANARIES)
            .find(|canary| answer.contains(canary));
        ensure(found.is_none(), || {
            format!("the database remembers {found:?} in {answer}")
        })?;
    }
    Ok(())
}
