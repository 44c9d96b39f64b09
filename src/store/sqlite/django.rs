//! Reads the database of the Django service, which is another program's: nothing is written into it.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, Row};

use super::open::{self, OpenError};
use crate::store::{
    Result,
    django::{DjangoConversation, DjangoMessage, DjangoSource},
};

/// How long it waits for the service, if that still runs.
const BUSY: Duration = Duration::from_secs(10);

/// A file of the Django service.
pub struct DjangoFile {
    db: Connection,
    has_titles: bool,
    has_roles: bool,
}

impl DjangoFile {
    /// Opens it to read it as it is now.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let path = open::existing(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&path, flags)?;
        db.busy_timeout(BUSY)?;
        let has = |table: &str, column: &str| {
            db.query_row(
                "SELECT EXISTS (SELECT * FROM pragma_table_info(?1) WHERE name = ?2)",
                (table, column),
                |row| row.get::<_, bool>(0),
            )
        };
        let is_theirs = has("conversations_conversation", "description")
            .and_then(|known| Ok(known && has("conversations_message", "text")?));
        match is_theirs {
            Ok(true) => {}
            Ok(false) => return Err(OpenError::Foreign(path)),
            Err(cause) if cause.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
                return Err(OpenError::NoDatabase(path));
            }
            Err(cause) => return Err(cause.into()),
        }
        // Their second migration added both.
        let has_titles = has("conversations_conversation", "title")?;
        let has_roles = has("conversations_message", "role")?;
        db.execute_batch("BEGIN")?;
        Ok(Self {
            db,
            has_titles,
            has_roles,
        })
    }
}

impl DjangoSource for DjangoFile {
    fn count(&self) -> Result<u64> {
        Ok(self
            .db
            .query_row("SELECT count(*) FROM conversations_message", (), |row| row.get(0))?)
    }

    fn conversations(&self, each: &mut dyn FnMut(DjangoConversation) -> bool) -> Result<()> {
        let title = if self.has_titles { "title" } else { "NULL" };
        let mut select = self.db.prepare(&format!(
            "SELECT conversation_id, {title}, description, date_created, date_updated
             FROM conversations_conversation ORDER BY conversation_id"
        ))?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let goes_on = each(DjangoConversation {
                id: text(row, 0)?,
                title: row.get(1)?,
                description: text(row, 2)?,
                created: text(row, 3)?,
                updated: text(row, 4)?,
            });
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn messages(&self, conversation: &str, each: &mut dyn FnMut(DjangoMessage) -> bool) -> Result<()> {
        let role = if self.has_roles { "role" } else { "'user'" };
        let mut select = self.db.prepare_cached(&format!(
            "SELECT message_id, {role}, text, date_created, date_updated
             FROM conversations_message WHERE conversation_id = ? ORDER BY date_created, rowid"
        ))?;
        let mut rows = select.query([conversation])?;
        while let Some(row) = rows.next()? {
            let goes_on = each(DjangoMessage {
                id: text(row, 0)?,
                role: text(row, 1)?,
                text: text(row, 2)?,
                created: text(row, 3)?,
                updated: text(row, 4)?,
            });
            if !goes_on {
                break;
            }
        }
        Ok(())
    }
}

/// Texts that are none are empty, and found to be wrong where they are understood.
fn text(row: &Row<'_>, column: usize) -> Result<String> {
    Ok(row.get::<_, Option<String>>(column)?.unwrap_or_default())
}
