//! The conversation: lines come in, each is a message, and its reply is shown.

use std::{future::Future, io, pin::Pin};

use super::{
    Chat,
    client::{Client, Error},
    explain,
    input::{Interrupts, Lines},
    screen::{Screen, plain},
    sending::{Sending, Sent, cancel},
    stream::{End, Follower, Heard},
};
use crate::{
    cli::{CommandError, cannot_write},
    model::{ConversationId, MessageId},
};

/// How many messages are shown of a conversation that is continued, and how much of each.
const SHOWN: usize = 6;
const SHOWN_CHARACTERS: usize = 2_000;

const HELP: &str = "\
/retry   ask for the last reply again
/new     begin another conversation
/quit    leave, as Ctrl-D does; a reply that is being written goes on
/help    this list
Ctrl-C   cancel the reply that is being written; a second time, leave
//…      a message that begins with a slash";

/// Why the conversation is over.
enum Stop {
    /// The person wanted so.
    Left,
    Failed(CommandError),
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        Self::Failed(error)
    }
}

/// The message whose reply is the latest, and the last that was heard of it.
#[derive(Debug, Clone, Copy)]
struct Latest {
    message: MessageId,
    after: Option<u64>,
}

/// A wish to cancel.
enum Cancelling<'a> {
    NotWished,
    Asking(Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>),
    Asked,
}

pub(super) struct Session<'a> {
    client: &'a Client,
    command: &'a Chat,
    /// Whether a person types, who can be asked and can try again.
    is_interactive: bool,
    conversation: Option<ConversationId>,
    /// The model of each message, where the conversation may have another.
    model: Option<&'a str>,
    latest: Option<Latest>,
    screen: Screen,
    lines: Lines,
    interrupts: Interrupts,
}

impl<'a> Session<'a> {
    pub(super) fn new(client: &'a Client, command: &'a Chat, is_interactive: bool) -> io::Result<Self> {
        Ok(Self {
            client,
            command,
            is_interactive,
            conversation: None,
            model: None,
            latest: None,
            screen: Screen::new(is_interactive),
            lines: Lines::new(),
            interrupts: Interrupts::new()?,
        })
    }

    pub(super) async fn run(mut self, given: Option<ConversationId>) -> Result<(), CommandError> {
        let stop = match self.talk(given).await {
            Ok(()) | Err(Stop::Left) if self.is_interactive => Ok(()),
            Ok(()) => return Ok(()),
            Err(Stop::Left) => Err(CommandError {
                message: "interrupted".to_owned(),
                hint: "what was sent is kept, and a reply that is being written goes on".to_owned(),
                code: 1,
            }),
            Err(Stop::Failed(error)) => Err(error),
        };
        self.screen.break_line();
        if let Some(id) = self.conversation {
            self.screen
                .note(format_args!("to continue: {}", self.command.to_continue(id)));
        }
        stop
    }

    async fn talk(&mut self, given: Option<ConversationId>) -> Result<(), Stop> {
        match given {
            Some(id) => self.go_on(id).await?,
            None => self.begin().await?,
        }
        while let Some(line) = self.line().await? {
            match self.take(line.trim_end_matches('\r')).await {
                // A person reads what was wrong, and goes on.
                Err(Stop::Failed(CommandError { message, hint, .. })) if self.is_interactive => {
                    self.screen.note(format_args!("{message}; {hint}"));
                }
                taken => taken?,
            }
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), Stop> {
        let (client, new) = (self.client, self.command.new_conversation());
        self.conversation = None;
        let id = self.ask(client.create(&new)).await?;
        self.conversation = Some(id);
        self.latest = None;
        self.model = None;
        self.greet(id, "a new conversation");
        Ok(())
    }

    async fn go_on(&mut self, id: ConversationId) -> Result<(), Stop> {
        let client = self.client;
        self.conversation = Some(id);
        self.model = self.command.model.as_deref();
        let said = self.ask(client.recent(id)).await?;
        self.greet(id, "a conversation");
        let latest = said.iter().rfind(|said| said.is_by_user);
        self.latest = latest.map(|said| Latest {
            message: said.id,
            after: None,
        });
        if !self.is_interactive {
            return Ok(());
        }
        for said in said.iter().skip(said.len().saturating_sub(SHOWN)) {
            let cut = said.text.char_indices().nth(SHOWN_CHARACTERS);
            match cut.and_then(|(end, _)| said.text.get(..end)) {
                Some(beginning) => self.screen.remind(said.is_by_user, &format!("{beginning}…")),
                None => self.screen.remind(said.is_by_user, &said.text),
            }
        }
        // It may be on its way still, or have failed: either is worth knowing.
        if let Some(last) = said.last().filter(|said| said.is_by_user) {
            self.follow(last.id, None).await?;
        }
        Ok(())
    }

    fn greet(&mut self, id: ConversationId, what: &str) {
        let base = self.client.base();
        let how = self.command.to_continue(id);
        self.screen
            .note(format_args!("{what} at {base}; to continue it later: {how}"));
        if self.is_interactive {
            self.screen
                .note("/help lists commands, Ctrl-C cancels a reply, Ctrl-D leaves");
        }
    }

    /// The next line; nothing after the last one.
    async fn line(&mut self) -> Result<Option<String>, Stop> {
        let mut is_warned = false;
        loop {
            self.screen.prompt();
            tokio::select! {
                line = self.lines.next() => {
                    let line = line.map_err(|cause| cannot_read(&cause))?;
                    if line.is_some() {
                        self.screen.typed();
                    }
                    return Ok(line);
                }
                () = self.interrupts.next() => {
                    // The second Ctrl-C for a reply can come when it has just ended.
                    if is_warned || !self.is_interactive {
                        return Err(Stop::Left);
                    }
                    is_warned = true;
                    self.screen.note("Ctrl-C again leaves, and so does Ctrl-D");
                }
            }
        }
    }

    async fn take(&mut self, line: &str) -> Result<(), Stop> {
        let text = match line.strip_prefix('/').filter(|_| self.is_interactive) {
            Some(escaped) if escaped.starts_with('/') => escaped,
            Some(command) => return self.obey(command.trim()).await,
            None => line,
        };
        let Some(conversation) = self.conversation.filter(|_| !text.trim().is_empty()) else {
            return Ok(());
        };
        let mut sending = Sending::new(self.client, conversation, text, self.model);
        let message = loop {
            match self.ask(sending.next()).await? {
                Sent::Stored(message) => break message,
                Sent::Lost { cause, pause } => self.screen.note(format_args!(
                    "the connection is lost ({cause}); sending it again in {:.1} s, it counts once",
                    pause.as_secs_f64(),
                )),
            }
        };
        self.follow(message, None).await
    }

    async fn obey(&mut self, command: &str) -> Result<(), Stop> {
        match command {
            "retry" => self.retry().await,
            "new" => self.begin().await,
            "quit" => Err(Stop::Left),
            "help" => {
                self.screen.list(HELP);
                Ok(())
            }
            other => {
                self.screen
                    .note(format_args!("there is no command /{other}; /help lists them"));
                Ok(())
            }
        }
    }

    async fn retry(&mut self) -> Result<(), Stop> {
        let (Some(conversation), Some(Latest { message, after })) = (self.conversation, self.latest) else {
            self.screen
                .note("there is no reply yet that could be asked for again");
            return Ok(());
        };
        let client = self.client;
        let asked = async {
            match client.retry(conversation, message).await {
                Err(Error::Refused { status: 404, .. }) => Ok(false),
                asked => asked.map(|()| true),
            }
        };
        if self.ask(asked).await? {
            self.follow(message, after).await
        } else {
            self.settle(End::Deleted)
        }
    }

    /// Waits for an answer, unless the person leaves meanwhile.
    async fn ask<T>(&mut self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Stop> {
        let (base, conversation) = (self.client.base(), self.conversation);
        tokio::select! {
            answer = request => Ok(answer.map_err(|error| explain(&error, base, conversation))?),
            () = self.interrupts.next() => Err(Stop::Left),
        }
    }

    /// Shows a reply until it has ended.
    async fn follow(&mut self, message: MessageId, after: Option<u64>) -> Result<(), Stop> {
        let Some(conversation) = self.conversation else {
            return Ok(());
        };
        let client = self.client;
        let mut follower = Follower::new(client, conversation, message, after);
        let mut cancelling = Cancelling::NotWished;
        let end = loop {
            let asked = async {
                match &mut cancelling {
                    Cancelling::Asking(request) => request.await,
                    Cancelling::NotWished | Cancelling::Asked => std::future::pending().await,
                }
            };
            tokio::select! {
                heard = follower.next() => {
                    let heard = heard.map_err(|error| explain(&error, client.base(), Some(conversation)))?;
                    match heard {
                        Heard::Begun => self.screen.begin_reply(),
                        Heard::Text(text) => self.screen.add(&text).map_err(|cause| cannot_write(&cause))?,
                        Heard::Lost { cause, pause } => self.screen.note(format_args!(
                            "the connection is lost ({cause}); the reply goes on, trying again in {:.1} s",
                            pause.as_secs_f64(),
                        )),
                        Heard::Found => self.screen.note("connected again"),
                        Heard::Ended(end) => break end,
                    }
                }
                asked = asked => {
                    cancelling = Cancelling::Asked;
                    if let Err(error) = asked {
                        let CommandError { message, hint, .. } = explain(&error, client.base(), None);
                        self.screen.note(format_args!("it cannot be cancelled: {message}; {hint}"));
                    }
                }
                () = self.interrupts.next() => {
                    if !matches!(cancelling, Cancelling::NotWished) {
                        return Err(Stop::Left);
                    }
                    self.screen.note("cancelling; Ctrl-C again leaves");
                    cancelling = Cancelling::Asking(Box::pin(cancel(client, conversation, message)));
                }
                ended = self.lines.end(), if self.is_interactive => {
                    ended.map_err(|cause| cannot_read(&cause))?;
                    return Err(Stop::Left);
                }
            }
        };
        let after = follower.after();
        self.latest = Some(Latest { message, after });
        self.settle(end)
    }

    /// A person is told how a reply ended that did not end well; a script fails.
    fn settle(&mut self, end: End) -> Result<(), Stop> {
        let (what, hint) = match end {
            End::Succeeded {
                finish_reason,
                truncated,
            } => {
                self.screen.end_reply().map_err(|cause| cannot_write(&cause))?;
                match (truncated, finish_reason.as_str()) {
                    (true, _) => self
                        .screen
                        .note("the reply was cut: it reached the service's limit"),
                    (false, "length") => self
                        .screen
                        .note("the reply was cut: it reached the model's limit"),
                    (false, "content_filter") => self
                        .screen
                        .note("the reply was cut by the model's content filter"),
                    _ => {}
                }
                return Ok(());
            }
            End::Failed { code, message } => {
                self.screen.drop_reply();
                (
                    format!("the reply failed: {message} ({code})"),
                    "/retry asks for it again",
                )
            }
            End::Cancelled => {
                // What there was of it is part of the conversation now.
                self.screen.end_reply().map_err(|cause| cannot_write(&cause))?;
                ("the reply was cancelled".to_owned(), "/retry asks for it again")
            }
            End::Deleted => {
                self.screen.drop_reply();
                (
                    "the message was deleted, or its conversation".to_owned(),
                    "/new begins another conversation",
                )
            }
        };
        if self.is_interactive {
            self.screen.note(format_args!("{what}; {hint}"));
            return Ok(());
        }
        Err(Stop::Failed(CommandError {
            message: plain(&what),
            hint: format!("in `engagement chat` with this conversation, {hint}"),
            code: 1,
        }))
    }
}

fn cannot_read(cause: &io::Error) -> CommandError {
    CommandError {
        message: format!("cannot read what was typed: {cause}"),
        hint: "give one message on each line, as UTF-8".to_owned(),
        code: 1,
    }
}
