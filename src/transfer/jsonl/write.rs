use std::io::{self, Write};

use super::shapes::Line;
use crate::model::{MovedConversation, MovedMessage};

/// Writes conversations, one after the other.
pub struct Export<W: Write> {
    out: W,
    parts: u64,
}

impl<W: Write> Export<W> {
    /// Writes there.
    pub fn new(out: W) -> Self {
        Self { out, parts: 0 }
    }

    /// Writes the next part of a conversation.
    pub fn write(
        &mut self,
        conversation: &MovedConversation,
        messages: &[MovedMessage],
        more: bool,
    ) -> io::Result<()> {
        self.parts += 1;
        let line = Line::new(conversation, self.parts, messages, more);
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")?;
        if !more {
            self.parts = 0;
        }
        Ok(())
    }

    /// Gives back what was written to, all of it written.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}
