use std::fmt;

/// Why the store could not do something.
#[derive(Debug)]
pub enum Error {
    /// It is there already.
    Conflict,
    /// A reply is unfinished that the caller did not want to wait for; nothing was written.
    Busy,
    /// It was carried out before, under the same mark; nothing was written.
    Repeated,
    /// It cannot be done now: the database is locked, away, closing, or too slow. A write may have happened.
    Unavailable(String),
    /// There is no room left on the disk; nothing was written.
    Full,
    /// The disk failed or the file is damaged; after a write, what is stored is unknown until the database is
    /// opened anew.
    Broken(String),
    /// The database holds something that no version of this program writes.
    Corrupt {
        /// In which table.
        table: &'static str,
        /// In which column.
        column: &'static str,
        /// What is wrong with it, without the value.
        problem: String,
    },
    /// Anything else the driver reports.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Something that cannot be in a column is.
    pub fn corrupt(table: &'static str, column: &'static str, problem: impl Into<String>) -> Self {
        Self::Corrupt {
            table,
            column,
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("it exists already"),
            Self::Busy => f.write_str("a reply is unfinished"),
            Self::Repeated => f.write_str("it was carried out before"),
            Self::Unavailable(reason) => write!(f, "the database is unavailable: {reason}"),
            Self::Full => f.write_str("the database's disk is full"),
            Self::Broken(cause) => write!(f, "the database is broken: {cause}"),
            Self::Corrupt {
                table,
                column,
                problem,
            } => write!(f, "the database is damaged: {table}.{column} {problem}"),
            Self::Other(cause) => write!(f, "the database failed: {cause}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Other(cause) => Some(cause.as_ref()),
            _ => None,
        }
    }
}
