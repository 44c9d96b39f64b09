//! Finding out whether a server can be worked with, and saying what is wrong when it cannot.

use std::{fmt, time::Duration};

use tokio::time::timeout;

use super::{
    Options,
    connection::{Connector, Session},
    copy,
    error::{Problem, Unconnected, shown},
    migrations, purge,
    url::Target,
};
use crate::{
    shutdown::Shutdown,
    store::{
        Error,
        copy::CopyRecord,
        schema::{self, LATEST, MigrationState, OtherSchema},
    },
};

/// The oldest server that is looked after by its makers, or was until lately.
const OLDEST_SERVER: i32 = 13;

/// How long a statement may take that changes or examines the schema.
const LONG: Duration = Duration::from_hours(4);

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// Why a database cannot be opened. Each says what is wrong and, in [`OpenError::hint`], what to do.
#[derive(Debug)]
pub enum OpenError {
    /// The URL makes no sense.
    Url(String),
    /// The replica's URL makes no sense.
    ReplicaUrl(String),
    /// The server cannot be reached, or does not accept connections.
    Unreachable {
        /// Which database.
        database: String,
        /// Why.
        cause: String,
    },
    /// The server does not let us in.
    Refused {
        /// Which database.
        database: String,
        /// What it says.
        cause: String,
    },
    /// The connection would not be as safe as the URL wants it.
    Insecure {
        /// Which database.
        database: String,
        /// Why.
        cause: String,
    },
    /// The user may not do something that is needed.
    Forbidden(String),
    /// The server is older than this major version.
    OldServer(String),
    /// The database keeps texts in another encoding.
    Encoding(String),
    /// The server may lose commits that it acknowledged: this of its settings is off.
    NotDurable(String),
    /// The schema was made by a newer program that older ones cannot work with.
    TooNew {
        /// The oldest program, by the last migration it knows, that can work with this schema.
        needs: u32,
    },
    /// A migration failed; the database is as it was before it.
    Migration {
        /// Its number.
        version: u32,
        /// Why.
        cause: String,
    },
    /// Nodes are using it, or another copy is.
    InUse(String),
    /// It is being copied, or copied into.
    BeingCopied(String),
    /// It cannot be copied as it is.
    OtherSchema(OtherSchema),
    /// It holds a part of what was to be copied from another database.
    Unfinished {
        /// Which one.
        source: String,
    },
    /// Anything else that the server reports.
    Postgres(Error),
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Url(_) => {
                "for instance: --database-url 'postgres://user:password@host:5432/database?sslmode=verify-full'"
            }
            Self::ReplicaUrl(_) => {
                "for instance: --database-replica-url 'postgres://user:password@replica:5432/database', or leave it out"
            }
            Self::Unreachable { .. } => "start the server, or correct host and port in --database-url",
            Self::Refused { .. } => {
                "correct user, password and database in --database-url; to make both: createuser and createdb"
            }
            Self::Insecure { .. } => {
                "give the server a certificate that sslrootcert or this system vouches for, or change sslmode in --database-url"
            }
            Self::Forbidden(_) => {
                "let the user own the database, and the tables in it if there are any: ALTER DATABASE name OWNER TO user"
            }
            Self::OldServer(_) => "use PostgreSQL 13 or newer",
            Self::Encoding(_) => {
                "create the database anew: createdb --encoding UTF8 --template template0 NAME"
            }
            Self::NotDurable(_) => "switch it on in postgresql.conf, or leave production mode",
            Self::TooNew { .. } => {
                "start the newer version of engagement, or restore a backup made before its upgrade"
            }
            Self::Migration { .. } => {
                "nothing was changed; find out what holds the tables, or repair the database, then start again"
            }
            Self::InUse(_) => "stop its nodes (`engagement serve`, `engagement worker`), then try again",
            Self::BeingCopied(_) => "wait until `engagement copy` has ended, then start again",
            Self::OtherSchema(schema) => schema.hint(),
            Self::Unfinished { .. } => schema::FINISH_COPY,
            Self::Postgres(_) => "see the server's log",
        }
    }
}

impl OpenError {
    /// Whether it makes sense to try again: the server is away, or starting, or went away meanwhile.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Postgres(Error::Unavailable(_))
        )
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(problem) => write!(f, "database_url: {problem}"),
            Self::ReplicaUrl(problem) => write!(f, "database_replica_url: {problem}"),
            Self::Unreachable { database, cause } => write!(f, "cannot reach {database}: {cause}"),
            Self::Refused { database, cause } | Self::Insecure { database, cause } => {
                write!(f, "cannot open {database}: {cause}")
            }
            Self::Forbidden(cause) => write!(f, "this user may not work with the database: {cause}"),
            Self::OldServer(version) => write!(f, "PostgreSQL {version} is too old"),
            Self::Encoding(encoding) => write!(f, "the database keeps texts as {encoding}, not as UTF8"),
            Self::NotDurable(setting) => {
                write!(
                    f,
                    "the server may lose what it acknowledged: its setting {setting} is off"
                )
            }
            Self::TooNew { needs } => write!(
                f,
                "the database needs a newer program: one that knows migration {needs}; this one knows up to {LATEST}"
            ),
            Self::Migration { version, cause } => write!(f, "migration {version} failed: {cause}"),
            Self::InUse(database) => write!(f, "nodes, or another copy, are using {database}"),
            Self::BeingCopied(database) => write!(f, "{database} is being copied"),
            Self::OtherSchema(schema) => schema.fmt(f),
            Self::Unfinished { source } => write!(
                f,
                "the database is not whole: a copy of {source} into it is unfinished"
            ),
            Self::Postgres(cause) => write!(f, "cannot open the database: {cause}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<Problem> for OpenError {
    fn from(problem: Problem) -> Self {
        match problem.forbidden() {
            Some(cause) => Self::Forbidden(cause.to_owned()),
            None => Self::Postgres(problem.into()),
        }
    }
}

/// Whether the URLs make sense, without asking anybody.
pub fn validate(options: &Options) -> Result<(), OpenError> {
    let connector = |url: &str| Connector::new(Target::parse(url)?, LONG);
    connector(&options.url).map_err(OpenError::Url)?;
    let replica = options.replica_url.as_deref().map(connector).transpose();
    replica.map_err(OpenError::ReplicaUrl)?;
    Ok(())
}

/// Brings the schema up to date. Gives the migrations that were applied.
pub async fn migrate(options: &Options) -> Result<Vec<MigrationState>, OpenError> {
    let once = Once::connect(options).await?;
    let applied = match examine(&once.session, options).await {
        Ok(()) => migrations::apply(&once.session).await,
        Err(error) => Err(error),
    };
    once.close().await;
    applied
}

/// What migrations there are, and which were applied when.
pub async fn status(options: &Options) -> Result<Vec<MigrationState>, OpenError> {
    let once = Once::connect(options).await?;
    let states = migrations::status(&once.session).await;
    once.close().await;
    states
}

/// Looks for rows that belong to nothing. Gives what is wrong, nothing if all is well.
pub async fn check_integrity(options: &Options) -> Result<Vec<String>, OpenError> {
    let once = Once::connect(options).await?;
    let problems = async {
        examine(&once.session, options).await?;
        Ok(purge::strays(&once.session).await?.into_iter().collect())
    };
    let problems = problems.await;
    once.close().await;
    problems
}

/// Refuses a database into which another one is still to be copied.
pub async fn refuse_unfinished(options: &Options) -> Result<(), OpenError> {
    let once = Once::connect(options).await?;
    let refused = refuse_unfinished_in(&once.session).await;
    once.close().await;
    refused
}

pub(super) async fn refuse_unfinished_in(db: &Session) -> Result<(), OpenError> {
    match copy::last_copy(db).await? {
        Some(CopyRecord {
            source,
            finished: None,
        }) => Err(OpenError::Unfinished { source }),
        _ => Ok(()),
    }
}

/// Makes a database ready for a node. While the session is held, no copy of it or into it begins.
pub(super) async fn prepare(options: &Options) -> Result<Once, OpenError> {
    let once = Once::connect(options).await?;
    let prepared = async {
        examine(&once.session, options).await?;
        if !copy::enter(&once.session).await? {
            return Err(OpenError::BeingCopied(once.database.clone()));
        }
        migrations::apply(&once.session).await?;
        refuse_unfinished_in(&once.session).await
    };
    let prepared = prepared.await;
    match prepared {
        Ok(()) => Ok(once),
        Err(error) => {
            once.close().await;
            Err(error)
        }
    }
}

/// A session for one purpose.
pub(super) struct Once {
    pub(super) session: Session,
    /// Which database, for people.
    pub(super) database: String,
    tasks: Shutdown,
}

impl Once {
    pub(super) async fn connect(options: &Options) -> Result<Self, OpenError> {
        let target = Target::parse(&options.url).map_err(OpenError::Url)?;
        let database = target.shown();
        let connector = Connector::new(target, LONG).map_err(OpenError::Url)?;
        let unreachable = |cause: String| OpenError::Unreachable {
            database: database.clone(),
            cause,
        };
        let connected = timeout(CONNECTING, connector.connect())
            .await
            .map_err(|_| unreachable("it does not answer".to_owned()))?;
        let (session, driver) = connected.map_err(|error| {
            let (database, cause) = (database.clone(), shown(&error));
            match Unconnected::from(&error) {
                Unconnected::Away => OpenError::Unreachable { database, cause },
                Unconnected::Insecure => OpenError::Insecure { database, cause },
                Unconnected::Refused => OpenError::Refused { database, cause },
            }
        })?;
        let tasks = Shutdown::default();
        tasks.spawn(async move {
            // How the connection ends is seen by whoever asks something.
            let _ = driver.await;
        });
        Ok(Self {
            session,
            database,
            tasks,
        })
    }

    pub(super) async fn close(self) {
        drop(self.session);
        self.tasks.begin();
        let _ = timeout(CONNECTING, self.tasks.finished()).await;
    }
}

pub(super) async fn examine(db: &Session, options: &Options) -> Result<(), OpenError> {
    let row = db
        .row(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int,
                    current_setting('server_encoding'), current_setting('fsync'), current_setting('full_page_writes')",
            &[],
        )
        .await?
        .ok_or_else(|| Problem::unavailable("the server answers nothing"))?;
    let text = |at: usize| row.try_get::<_, String>(at).map_err(Problem::from);
    let number: i32 = row.try_get(1).map_err(Problem::from)?;
    refuse_old(number, &text(0)?)?;
    if text(2)? != "UTF8" {
        return Err(OpenError::Encoding(text(2)?));
    }
    for (setting, at) in [("fsync", 3), ("full_page_writes", 4)] {
        if text(at)? == "on" {
            continue;
        }
        if options.insist_on_durability {
            return Err(OpenError::NotDurable(setting.to_owned()));
        }
        tracing::warn!(
            setting,
            "the server may lose what it acknowledged: this of its settings is off"
        );
    }
    Ok(())
}

fn refuse_old(number: i32, version: &str) -> Result<(), OpenError> {
    if number < OLDEST_SERVER * 10_000 {
        return Err(OpenError::OldServer(version.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio_postgres::error::SqlState;

    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_named_and_refused() {
        let error = refuse_old(120_022, "12.22 (Debian 12.22-1)").unwrap_err();
        assert_eq!(error.to_string(), "PostgreSQL 12.22 (Debian 12.22-1) is too old");
        assert_eq!(error.hint(), "use PostgreSQL 13 or newer");
        assert!(!error.is_passing());
        refuse_old(130_000, "13.0").unwrap();
    }

    #[test]
    fn what_a_wrong_name_gives_is_no_passing_matter() {
        for code in [
            SqlState::INVALID_CATALOG_NAME,
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        ] {
            assert_eq!(Unconnected::from(&code), Unconnected::Refused, "{code:?}");
        }
    }
}
