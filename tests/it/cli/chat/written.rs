//! The chat and the real service, while a model writes word for word.

use std::sync::Arc;
use std::time::Duration;

use engagement::{
    access::Keyring,
    config::{Config, ReplySettings, Settings},
    http::{self, Http, Listener},
    model::{ConversationId, Failure},
    provider::{
        Refusal,
        scripted::{Scripted, Step},
    },
    reply::{self, Parts},
    service::Service,
    shutdown::Shutdown,
    telemetry::Telemetry,
};
use rustix::process::Signal;

use super::terminal::Terminal;
use super::{assert_replied, chat, chat_of, real::conversation};
use crate::store::Database;
use crate::support::SOON;
use crate::support::proxy::{Proxy, Upstream};

/// The service within this process, so that a test can let the model go on, or stop.
struct Written {
    db: Database,
    model: Arc<Scripted>,
    shutdown: Shutdown,
    proxy: Proxy,
}

impl Written {
    async fn with(steps: impl IntoIterator<Item = Step>) -> Self {
        let db = Database::sqlite();
        let model = Arc::new(Scripted::new(steps));
        let shutdown = Shutdown::default();
        let parts = Parts::over(db.store.clone(), model.far_away());
        let replies = ReplySettings {
            first_pause: Duration::from_millis(1),
            ..ReplySettings::default()
        };
        reply::start(parts.clone(), replies, &shutdown);
        let config = Config::new(&Settings::default()).expect("a configuration");
        let keyring = Keyring::open(
            db.store.clone(),
            &config.access,
            parts.clock.clone(),
            parts.ids.clone(),
        )
        .await;
        let http = Http::new(config.http.clone(), shutdown.clone(), Telemetry::default());
        http.let_in(keyring.expect("a keyring"));
        http.open(Service::new(parts, config.service.clone()));
        let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).expect("a listener");
        let proxy = Proxy::start(Upstream::Tcp(listener.address())).await;
        let router = http::router(&http);
        shutdown.spawn(async move {
            http::serve(listener, router, &http).await.expect("a server");
        });
        Self {
            db,
            model,
            shutdown,
            proxy,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.proxy.address())
    }

    /// Somebody who has said hello.
    async fn greeted(&self) -> Terminal {
        let mut terminal = Terminal::start(chat(&self.url(), &[]));
        terminal.prompts(1).await;
        terminal.press("Hello\n");
        terminal
    }

    /// What is stored.
    async fn texts(&self, terminal: &Terminal) -> Vec<String> {
        let id = ConversationId::parse(&conversation(&terminal.told())).expect("an id");
        let messages = self.db.all(id).await;
        messages
            .iter()
            .map(|message| message.text.as_str().to_owned())
            .collect()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.shutdown.force();
    }
}

fn pieces(pieces: &[&str]) -> Vec<String> {
    pieces.iter().map(|&piece| piece.to_owned()).collect()
}

fn refusal() -> Failure {
    Failure::new("overloaded", "The provider is overloaded.")
}

#[tokio::test]
async fn each_piece_is_shown_before_the_next_is_written() {
    let service = Written::with([Step::Pieces(pieces(&["Once", " upon", " a time."]))]).await;
    let terminal = service.greeted().await;

    for shown in ["Once", "Once upon", "Once upon a time."] {
        terminal.shows(shown).await;
        service.model.release();
    }

    terminal.shows("Once upon a time.\n").await;
    terminal.prompts(2).await;
    assert_eq!(service.texts(&terminal).await, ["Hello", "Once upon a time."]);
}

#[tokio::test]
async fn ctrl_c_stops_the_model_and_keeps_what_was_shown() {
    let service = Written::with([Step::Pieces(pieces(&["Once", " upon"]))]).await;
    let terminal = service.greeted().await;
    terminal.shows("Once").await;

    terminal.program.signal(Signal::INT);

    terminal.tells("the reply was cancelled").await;
    crate::support::eventually("the model is called off", SOON, async || {
        (service.model.called_off() == 1).then_some(())
    })
    .await;
    assert_eq!(service.texts(&terminal).await, ["Hello", "Once"]);
}

#[tokio::test]
async fn a_network_that_is_cut_takes_no_word_away() {
    let service = Written::with([Step::Pieces(pieces(&["Once", " upon", " a time."]))]).await;
    let terminal = service.greeted().await;
    terminal.shows("Once").await;

    service.proxy.refuse();
    service.model.release_times(2);
    terminal.tells("the connection is lost").await;
    service.proxy.pass();
    terminal.tells("connected again").await;
    service.model.release();

    terminal.shows("Once\n upon a time.\n").await;
    assert_eq!(service.texts(&terminal).await, ["Hello", "Once upon a time."]);
}

#[tokio::test]
async fn a_model_that_begins_anew_is_seen_to() {
    let (after, failure) = (None, refusal());
    let broken = Step::Break(pieces(&["Once upon"]), Refusal::Retry { after, failure });
    let service = Written::with([broken, Step::Answer("There was a time.".to_owned())]).await;
    let terminal = service.greeted().await;
    terminal.shows("Once upon").await;

    service.model.release();

    terminal.shows("Once upon\nThere was a time.\n").await;
    terminal.tells("written anew").await;
    assert_eq!(service.texts(&terminal).await, ["Hello", "There was a time."]);
}

#[tokio::test]
async fn a_failed_reply_is_retried_on_command() {
    let service = Written::with([
        Step::Refuse(Refusal::Fail(refusal())),
        Step::Answer("There was a time.".to_owned()),
    ])
    .await;
    let mut terminal = service.greeted().await;
    terminal
        .tells("the reply failed: The provider is overloaded. (overloaded)")
        .await;

    terminal.press("/retry\n");

    terminal.shows("There was a time.\n").await;
    terminal.prompts(3).await;
    assert_eq!(service.texts(&terminal).await, ["Hello", "There was a time."]);
}

#[tokio::test]
async fn who_leaves_in_mid_reply_finds_all_of_it_on_coming_back() {
    let service = Written::with([Step::Pieces(pieces(&["Once", " upon", " a time."]))]).await;
    let mut terminal = service.greeted().await;
    terminal.shows("Once").await;
    terminal.press("\u{4}");
    assert_eq!(terminal.exit_code().await, Some(0));
    service.model.release();

    let id = conversation(&terminal.told());
    let terminal = Terminal::start(chat(&service.url(), &[&id]));
    terminal.shows("Once upon").await;
    service.model.release_times(2);

    terminal.shows("Once upon a time.\n").await;
    assert_eq!(service.texts(&terminal).await, ["Hello", "Once upon a time."]);
}

#[tokio::test]
async fn a_script_gets_replies_that_see_each_other_in_order() {
    let steps = ["One.", "Two."].map(|text| Step::Answer(text.to_owned()));
    let service = Written::with(steps).await;

    let run = chat_of(&service.url(), &[], "1\n2\n").run().await;

    assert_replied(&run, "One.\nTwo.\n");
}
