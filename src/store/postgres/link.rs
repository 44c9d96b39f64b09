//! Sessions that come back by themselves.
//!
//! A [`Link`] keeps one session with the server. When it ends, or does not answer in time, the link opens another,
//! waiting a little longer after each failure. Nobody waits for a server that is known to be away.

use std::{sync::Arc, time::Duration};

use futures_util::future::{join_all, poll_fn, select_all};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_postgres::AsyncMessage;

use super::{
    connection::{Connector, Driver, GRACE, Session},
    error::{Problem, shown},
};
use crate::{ids::IdSource, shutdown::Shutdown, store::vitals::Connections};

/// The first pause before another try to connect; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long a request waits for a connection that is just being opened.
const OPENING: Duration = Duration::from_secs(1);

/// How long connecting may take, setting the session up included. What is lost on the way stays lost, so this is how
/// long a network that is well again can go unnoticed.
const CONNECTING: Duration = Duration::from_secs(3);

#[derive(Clone)]
enum State {
    Opening,
    Up(Arc<Session>),
    Down(Arc<str>),
}

/// One session, opened again whenever it ends.
#[derive(Clone)]
pub(super) struct Link {
    state: watch::Receiver<State>,
}

/// Who is told what a link sees.
pub(super) struct Ears {
    /// Whether the log is told when the server goes away and comes back. One link of a store is enough.
    pub(super) log: bool,
    /// Told what is heard.
    pub(super) heard: Option<Ear>,
}

/// Somebody who listens. Must not block.
pub(super) type Ear = Arc<dyn Fn(Heard<'_>) + Send + Sync>;

/// What is heard on a session that listens.
pub(super) enum Heard<'a> {
    /// The session is new: what was said meanwhile went unheard.
    Opened,
    /// Somebody else said something.
    Notice {
        /// Where.
        channel: &'a str,
        /// What.
        payload: &'a str,
    },
}

impl Link {
    /// Opens the link and keeps it open, until the tasks are forced to end.
    pub(super) fn open(connector: Connector, ears: Ears, tasks: &Shutdown) -> Self {
        let (report, state) = watch::channel(State::Opening);
        tasks.spawn(keep(connector, ears, report, tasks.clone()));
        Self { state }
    }

    /// How long whoever asks something waits for a session and then for an answer, at most.
    pub(super) fn longest_wait(connector: &Connector) -> Duration {
        OPENING + connector.patience
    }

    /// The session, if there is one now.
    pub(super) fn up(&self) -> Option<Arc<Session>> {
        match &*self.state.borrow() {
            State::Up(session) if !session.is_condemned() => Some(Arc::clone(session)),
            State::Up(_) | State::Opening | State::Down(_) => None,
        }
    }

    /// The session, waiting for one that is just being opened.
    pub(super) async fn session(&self) -> Result<Arc<Session>, Problem> {
        if let Some(session) = self.up() {
            return Ok(session);
        }
        let mut state = self.state.clone();
        let opened = state.wait_for(|state| match state {
            State::Opening => false,
            State::Up(session) => !session.is_condemned(),
            State::Down(_) => true,
        });
        let Ok(settled) = timeout(OPENING, opened).await else {
            return Err(Problem::unavailable("connecting takes long"));
        };
        match settled.as_deref() {
            Ok(State::Up(session)) => Ok(Arc::clone(session)),
            Ok(State::Down(reason)) => Err(Problem::unavailable(&**reason)),
            Ok(State::Opening) | Err(_) => Err(Problem::unavailable("it is closed")),
        }
    }

    /// Answers when it is this link's turn to take work: it has a session, or none of `all` has one and somebody has to
    /// say so.
    pub(super) async fn turn(&self, all: &[Self]) {
        while self.up().is_none() && all.iter().any(|link| link.up().is_some()) {
            tokio::select! {
                () = self.opened() => return,
                _ = join_all(all.iter().map(Self::ended)) => {}
            }
        }
    }

    /// Answers when it is another's turn: this link has no session any more, and one of `all` has.
    pub(super) async fn passes(&self, all: &[Self]) {
        self.ended().await;
        select_all(all.iter().map(|link| Box::pin(link.opened()))).await;
    }

    async fn ended(&self) {
        let mut state = self.state.clone();
        // An error means that the link was closed, which is an end, too.
        let _ = state.wait_for(|state| !matches!(state, State::Up(_))).await;
    }

    /// Answers once there is a session.
    pub(super) async fn opened(&self) {
        let mut state = self.state.clone();
        // An error means that the link was closed before it was ever open; whoever waits has a deadline.
        let _ = state.wait_for(|state| matches!(state, State::Up(_))).await;
    }
}

/// How many of these links have a session.
pub(super) fn count(name: &'static str, links: &[Link]) -> Connections {
    Connections {
        name,
        connections: links.len(),
        up: links.iter().filter(|link| link.up().is_some()).count(),
    }
}

async fn keep(connector: Connector, ears: Ears, report: watch::Sender<State>, tasks: Shutdown) {
    let ids = IdSource::random();
    let mut pause = FIRST_PAUSE;
    let mut is_away = false;
    loop {
        let opened = tokio::select! {
            () = tasks.forced() => return,
            opened = timeout(CONNECTING, connector.connect()) => opened,
        };
        let reason = match opened {
            Ok(Ok((session, driver))) => {
                if is_away && ears.log {
                    tracing::info!("the database is back");
                }
                (is_away, pause) = (false, FIRST_PAUSE);
                let (condemned, own) = (session.condemned(), session.backend());
                report.send_replace(State::Up(Arc::new(session)));
                if let Some(heard) = &ears.heard {
                    heard(Heard::Opened);
                }
                let mut driver = driver;
                tokio::select! {
                    () = drive(&mut driver, &ears, own) => {}
                    () = condemned => {}
                    () = tasks.forced() => {
                        report.send_replace(State::Down("it is closing".into()));
                        // Whoever has no session any more has said goodbye to the server; let it be sent.
                        let _ = timeout(GRACE, drive(&mut driver, &ears, own)).await;
                        return;
                    }
                }
                report.send_replace(State::Opening);
                continue;
            }
            Ok(Err(error)) => shown(&error),
            Err(_) => "connecting takes too long".to_owned(),
        };
        if !is_away && ears.log {
            tracing::warn!(reason, "the database is away");
        }
        is_away = true;
        report.send_replace(State::Down(reason.into()));
        tokio::select! {
            () = tasks.forced() => return,
            () = sleep(pause.mul_f64(0.5 + ids.jitter() / 2.0)) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Moves questions and answers until the connection ends. What the session itself said is no news.
async fn drive(driver: &mut Driver, ears: &Ears, own: Option<i32>) {
    while let Some(Ok(message)) = poll_fn(|cx| driver.poll_message(cx)).await {
        if let (AsyncMessage::Notification(notice), Some(heard)) = (message, &ears.heard)
            && Some(notice.process_id()) != own
        {
            heard(Heard::Notice {
                channel: notice.channel(),
                payload: notice.payload(),
            });
        }
    }
}
