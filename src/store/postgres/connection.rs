//! Sessions with the server: how they are opened, and what can be asked on them.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tokio_postgres::{
    Client, Connection, Row, SimpleQueryMessage, Socket, Statement, error::SqlState, tls::MakeTlsConnect,
    types::ToSql,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{error::Problem, tls, url::Target};

/// How much longer than the server's own limit a statement may go without an answer, before the connection is given up.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// How often to look whether the server has done with a session.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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

pub(super) type Driver = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;
type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How to open sessions of one kind.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) target: Target,
    tls: MakeRustlsConnect,
    setup: String,
    /// How long a session waits for an answer.
    pub(super) patience: Duration,
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
    /// never will be. Not for long: the server may not know yet that nobody listens any more. Gives whether it has.
    pub(super) async fn outlive(&self, lost: &Self) -> Result<bool, Problem> {
        let gone = async {
            while self.row(STILL_THERE, &[&lost.backend]).await?.is_some() {
                sleep(LOOK_EVERY).await;
            }
            Ok(true)
        };
        timeout(GRACE, gone).await.unwrap_or(Ok(false))
    }

    /// Asks the server to stop what this session is doing. One that does not is cut off, or might as well be.
    pub(super) async fn stop<T>(
        &self,
        running: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let stopped = async {
            // An error is as good as no answer.
            let _ = self.client.cancel_token().cancel_query(self.tls.clone()).await;
            running.await
        };
        timeout(GRACE, stopped)
            .await
            .unwrap_or_else(|_| Err(self.give_up()))
    }

    /// The server's process behind it.
    pub(super) fn backend(&self) -> Option<i32> {
        self.backend
    }

    fn give_up(&self) -> Problem {
        self.condemn();
        Problem::Lost("the server does not answer".to_owned())
    }

    /// Gives this session up: its link opens another.
    pub(super) fn condemn(&self) {
        self.condemned.cancel();
    }

    /// Answers once the session was given up.
    pub(super) fn condemned(&self) -> WaitForCancellationFutureOwned {
        self.condemned.clone().cancelled_owned()
    }

    pub(super) fn is_condemned(&self) -> bool {
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
            return Err(self.give_up());
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
