//! Cuts a connection to PostgreSQL at the bytes that make a write last.

use std::collections::HashMap;

use crate::support::proxy::{Cut, Verdict};

/// The write that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Write {
    PostMessage,
    PostConversation,
    DeleteMessage,
    DeleteConversation,
}

/// Where the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// At what makes the write last: the statement itself, or the `COMMIT` of its transaction.
    Commit,
    /// At whichever chunk, this many after the request, on whichever connection.
    Chunk(usize),
}

/// What is to be cut, and how.
pub(super) struct Armed {
    pub(super) write: Write,
    pub(super) moment: Moment,
    pub(super) cut: Cut,
}

/// Watches the bytes on their way to the server. Statements are prepared once and then named.
#[derive(Default)]
pub(super) struct Watch {
    names: HashMap<Vec<u8>, Write>,
    pub(super) armed: Option<Armed>,
}

impl Watch {
    pub(super) fn judge(&mut self, chunk: &[u8]) -> Verdict {
        let lasting = self.lasting(chunk);
        let Some(armed) = &mut self.armed else {
            return Verdict::Pass;
        };
        let is_it = match &mut armed.moment {
            Moment::Commit => lasting.contains(&armed.write),
            Moment::Chunk(left) => {
                *left -= 1;
                *left == 0
            }
        };
        match (is_it, armed.cut) {
            (false, _) => Verdict::Pass,
            (true, Cut::AfterSending) => {
                self.armed = None;
                Verdict::ForwardThenReset
            }
            (true, Cut::BeforeSending) => {
                self.armed = None;
                Verdict::ResetBefore
            }
        }
    }

    /// The writes that these bytes make last.
    fn lasting(&mut self, chunk: &[u8]) -> Vec<Write> {
        let mut rest = chunk;
        let mut lasting = Vec::new();
        while let [kind, a, b, c, d, ..] = *rest {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let Some(body) = rest.get(5..=length) else { break };
            let mut strings = body.split(|byte| *byte == 0);
            let (first, second) = (strings.next(), strings.next());
            match kind {
                b'P' => self.learn(first.unwrap_or_default(), second.unwrap_or_default()),
                b'B' => lasting.extend(second.and_then(|name| self.names.get(name))),
                b'Q' if first == Some(b"COMMIT") => {
                    lasting.extend([Write::DeleteMessage, Write::DeleteConversation]);
                }
                _ => {}
            }
            rest = &rest[length + 1..];
        }
        lasting
    }

    fn learn(&mut self, name: &[u8], sql: &[u8]) {
        for (start, write) in [
            ("-- append_message, finish_reply: answered\n", Write::PostMessage),
            ("-- create_conversation\n", Write::PostConversation),
        ] {
            if sql.starts_with(start.as_bytes()) {
                self.names.insert(name.to_vec(), write);
            }
        }
    }
}
