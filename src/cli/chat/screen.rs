//! What is printed: replies on stdout, everything else on stderr.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

/// Who reads along.
#[derive(Debug)]
pub(super) struct Screen {
    /// Whether text is shown as it comes. Elsewhere it is held until the reply is complete: what is in a file or a
    /// pipe cannot be called back when the reply begins anew.
    is_live: bool,
    is_prompted: bool,
    /// The text of the reply that is being written.
    reply: String,
    /// Whether the cursor of a terminal stands behind something.
    is_mid_line: bool,
}

impl Screen {
    pub(super) fn new(is_prompted: bool) -> Self {
        Self {
            is_live: io::stdout().is_terminal(),
            is_prompted,
            reply: String::new(),
            is_mid_line: false,
        }
    }

    /// Says something about the chat, on a line of its own. Nobody may be there to read it.
    pub(super) fn note(&mut self, what: impl fmt::Display) {
        self.break_line();
        let _ = writeln!(io::stderr(), "[{}]", plain(&what.to_string()));
    }

    /// Shows lines that are for people.
    pub(super) fn list(&mut self, lines: &str) {
        self.break_line();
        let _ = writeln!(io::stderr(), "{lines}");
    }

    /// Shows a message that is there already.
    pub(super) fn remind(&mut self, is_by_user: bool, text: &str) {
        self.break_line();
        let mark = if is_by_user { "> " } else { "" };
        let _ = writeln!(io::stderr(), "{mark}{}", plain(text));
    }

    /// Asks for a line, where somebody types.
    pub(super) fn prompt(&mut self) {
        if self.is_prompted {
            self.break_line();
            let _ = write!(io::stderr(), "> ").and_then(|()| io::stderr().flush());
            self.is_mid_line = true;
        }
    }

    /// A line was typed: the terminal has echoed its end.
    pub(super) fn typed(&mut self) {
        self.is_mid_line = false;
    }

    /// The reply is written from its first word.
    pub(super) fn begin_reply(&mut self) {
        if self.is_live && !self.reply.is_empty() {
            self.note("the reply is written anew, from its beginning");
        }
        self.reply.clear();
    }

    pub(super) fn add(&mut self, text: &str) -> io::Result<()> {
        let text = plain(text);
        if self.is_live && !text.is_empty() {
            write(&text)?;
            self.is_mid_line = !text.ends_with('\n');
        }
        self.reply.push_str(&text);
        Ok(())
    }

    /// The text is complete, as far as it came.
    pub(super) fn end_reply(&mut self) -> io::Result<()> {
        let mut reply = std::mem::take(&mut self.reply);
        if self.is_live {
            self.break_line();
        } else if !reply.is_empty() {
            if !reply.ends_with('\n') {
                reply.push('\n');
            }
            write(&reply)?;
        }
        Ok(())
    }

    /// The text counts for nothing.
    pub(super) fn drop_reply(&mut self) {
        self.reply.clear();
        self.break_line();
    }

    pub(super) fn break_line(&mut self) {
        if std::mem::take(&mut self.is_mid_line) {
            // To the terminal that has the open line: stdout, if replies go there.
            let _ = if self.is_live {
                write("\n")
            } else {
                writeln!(io::stderr())
            };
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// The text without what a terminal would obey: control characters, of both sets, except line breaks and tabs.
pub(super) fn plain(text: &str) -> String {
    let shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().filter(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        let sly = "a\u{1b}[2Jb\u{9b}31m\u{7}c\r\n\td\u{7f}\u{0}\u{85}é\u{1b}]0;title\u{9c}";
        assert_eq!(plain(sly), "a[2Jb31mc\n\tdé]0;title");
    }
}
