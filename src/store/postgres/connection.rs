//! Connections that come back by themselves.
//!
//! A [`Link`] keeps one session with the server. When it ends, or does not answer in time, the link opens another,
//! waiting a little longer after each failure. Nobody waits for a server that is known to be away.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::poll_fn;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_postgres::{
    AsyncMessage, Client, Connection, Row, SimpleQueryMessage, Socket, Statement, error::SqlState,
    tls::MakeTlsConnect, types::ToSql,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::{error::Problem, tls, url::Target};
use crate::{ids::IdSource, shutdown::Shutdown};

/// The first pause before another try to connect; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long a request waits for a connection that is just being opened.
const OPENING: Duration = Duration::from_secs(1);

/// How long connecting may take, setting the session up included. What is lost on the way stays lost, so this is how
/// long a network that is well again can go unnoticed.
const CONNECTING: Duration = Duration::from_secs(3);

/// How much longer than the server's own limit a statement may go without an answer, before the connection is given up.
const GRACE: Duration = Duration::from_secs(1);

/// What every session is told first. Plans are made once and do not depend on statistics, which a fresh database
/// does not have: every statement here has its index. `off` would acknowledge commits that a crash can undo.
///
/// The first row of its answer is the process that serves the session.
const SETUP: &str = "
    SELECT pg_backend_pid();
    SET client_min_messages = warning;
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_bitmapscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET max_parallel_workers_per_gather = 0;
    SET jit = off;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
";

const STILL_THERE: &str = "-- whether the server still has a session that was lost
    SELECT pid FROM pg_stat_activity WHERE pid = $1";

type Driver = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;
type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How to open sessions of one kind.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) target: Target,
    tls: MakeRustlsConnect,
    setup: String,
    patience: Duration,
}

impl Connector {
    /// Sessions whose statements may take this long, waiting for locks included.
    pub(super) fn new(target: Target, limit: Duration) -> Result<Self, String> {
        let tls = tls::connector(&target)?;
        let limit_ms = limit.as_millis();
        // Waiting for a lock is refused a little earlier, so that the reason is the true one.
        let lock_ms = limit_ms * 4 / 5;
        let setup = format!(
            "{SETUP}
             SET statement_timeout = {limit_ms};
             SET lock_timeout = {lock_ms};
             SET idle_in_transaction_session_timeout = {limit_ms};"
        );
        let patience = limit + GRACE;
        Ok(Self {
            target,
            tls,
            setup,
            patience,
        })
    }

    /// Tells each session this, too.
    pub(super) fn and(mut self, setup: &str) -> Self {
        self.setup.push_str(setup);
        self
    }

    /// How long whoever asks something has to wait for an answer, or for none: as long as a statement may take, after
    /// the wait for a session.
    pub(super) fn longest_wait(&self) -> Duration {
        self.patience + OPENING
    }

    /// Opens a session. Somebody has to drive the connection, or nothing is answered.
    pub(super) async fn connect(&self) -> Result<(Session, Box<Driver>), tokio_postgres::Error> {
        let (client, driver) = self.target.config.connect(self.tls.clone()).await?;
        let mut driver = Box::new(driver);
        let said = tokio::select! {
            said = client.simple_query(&self.setup) => said?,
            // Whoever drives it finds the end again.
            ended = &mut driver => { ended?; Vec::new() }
        };
        let backend = said.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        let session = Session {
            client,
            backend,
            tls: self.tls.clone(),
            statements: Mutex::default(),
            patience: self.patience,
            condemned: CancellationToken::new(),
        };
        Ok((session, driver))
    }
}

/// A session with the server. Many may ask at once: the questions are sent as they come, and answered in that order.
pub(super) struct Session {
    client: Client,
    /// The server's process behind it.
    backend: Option<i32>,
    tls: MakeRustlsConnect,
    statements: Mutex<HashMap<&'static str, Statement>>,
    patience: Duration,
    condemned: CancellationToken,
}

impl Session {
    /// Runs a statement, prepared on first use.
    pub(super) async fn rows(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Problem> {
        self.answered(async {
            let statement = self.statement(sql).await?;
            self.client.query(&statement, params).await
        })
        .await
    }

    /// Runs a statement that gives at most one row.
    pub(super) async fn row(&self, sql: &'static str, params: Params<'_>) -> Result<Option<Row>, Problem> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// Runs a statement that gives no rows; how many it touched.
    pub(super) async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64, Problem> {
        self.answered(async {
            let statement = self.statement(sql).await?;
            self.client.execute(&statement, params).await
        })
        .await
    }

    /// Runs statements without parameters.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Problem> {
        self.answered(self.client.batch_execute(sql)).await
    }

    /// Runs work in a transaction. Only on a session that nobody else uses meanwhile.
    pub(super) async fn transaction<T>(
        &self,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        self.batch("BEGIN").await?;
        let outcome = work.await;
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.batch(end).await;
        if ended.is_err() {
            // Nobody may find a transaction that is still open.
            self.condemn();
        }
        let value = outcome?;
        ended.map(|()| value)
    }

    /// Waits until the server has done with a session that was lost: whatever that was asked to do is done by then, or
    /// never will be. Not for long: the server may not know yet that nobody listens any more.
    pub(super) async fn outlive(&self, lost: &Self) -> Result<(), Problem> {
        let gone = async {
            while self.row(STILL_THERE, &[&lost.backend]).await?.is_some() {
                sleep(FIRST_PAUSE).await;
            }
            Ok(())
        };
        timeout(GRACE, gone).await.unwrap_or(Ok(()))
    }

    /// Asks the server to stop what this session is doing, and waits until it has. A server that does not has more
    /// important things on its mind, or is cut off: then the session is given up.
    pub(super) async fn stop<T>(
        &self,
        running: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let stopped = async {
            // An error is as good as no answer.
            let _ = self.client.cancel_token().cancel_query(self.tls.clone()).await;
            running.await
        };
        if let Ok(outcome) = timeout(GRACE, stopped).await {
            return outcome;
        }
        self.condemn();
        Err(Problem::Lost("the server does not answer".to_owned()))
    }

    /// Gives this session up: its link opens another.
    pub(super) fn condemn(&self) {
        self.condemned.cancel();
    }

    fn is_condemned(&self) -> bool {
        self.condemned.is_cancelled()
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, tokio_postgres::Error> {
        let known = self.statements().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements().insert(sql, statement.clone());
        Ok(statement)
    }

    fn statements(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer, but not for ever: a server may be cut off without anybody being told.
    async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Problem> {
        let Ok(answer) = timeout(self.patience, answer).await else {
            self.condemn();
            return Err(Problem::Lost("the server does not answer".to_owned()));
        };
        answer.map_err(|error| {
            // It was the primary once; the next connection finds the new one.
            let is_standby = error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION);
            let problem = error.into();
            // Whoever asks again is to wait for another session, not for the end of this one.
            if is_standby || matches!(problem, Problem::Lost(_)) {
                self.condemn();
            }
            problem
        })
    }
}

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
    /// Woken by each notification, and by each new session: what was said meanwhile went unheard.
    pub(super) heard: Option<Arc<Notify>>,
}

impl Link {
    /// Opens the link and keeps it open, until the tasks are forced to end.
    pub(super) fn open(connector: Connector, ears: Ears, tasks: &Shutdown) -> Self {
        let (report, state) = watch::channel(State::Opening);
        tasks.spawn(keep(connector, ears, report, tasks.clone()));
        Self { state }
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

    /// Answers once there is no session.
    pub(super) async fn ended(&self) {
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
                let condemned = session.condemned.clone();
                report.send_replace(State::Up(Arc::new(session)));
                if let Some(heard) = &ears.heard {
                    heard.notify_one();
                }
                let mut driver = driver;
                tokio::select! {
                    () = drive(&mut driver, &ears) => {}
                    () = condemned.cancelled() => {}
                    () = tasks.forced() => {
                        report.send_replace(State::Down("it is closing".into()));
                        // Whoever has no session any more has said goodbye to the server; let it be sent.
                        let _ = timeout(GRACE, drive(&mut driver, &ears)).await;
                        return;
                    }
                }
                report.send_replace(State::Opening);
                continue;
            }
            Ok(Err(error)) => super::error::shown(&error),
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

/// Moves questions and answers until the connection ends.
async fn drive(driver: &mut Driver, ears: &Ears) {
    while let Some(Ok(message)) = poll_fn(|cx| driver.poll_message(cx)).await {
        if let (AsyncMessage::Notification(_), Some(heard)) = (message, &ears.heard) {
            heard.notify_one();
        }
    }
}
