//! The words of the product: conversations, messages, replies, pages.
//!
//! Plain values that are correct by construction. No serde, no SQL, no HTTP: each edge translates
//! its own shapes into these and back.

mod audit;
mod base62;
mod conversation;
mod draft;
mod event;
mod fold;
mod id;
mod key;
mod key_text;
mod message;
mod moved;
mod options;
mod page;
mod reply;
mod scope;
mod text;
mod timestamp;
mod trace;

pub use audit::{Actor, AuditEntry, Audited};
pub use conversation::{Conversation, ConversationChange, NewConversation};
pub use draft::Draft;
pub use event::{Event, Happening, Progress, Told};
pub use fold::fold;
pub use id::{ConversationId, MessageId};
pub use key::{
    ApiKey, Environment, KeyDigest, KeyId, KeyLimits, KeyName, KeyState, Owner, Rotated, Successor,
};
pub use key_text::KeyText;
pub use message::{Message, NewMessage, Role};
pub use moved::{MovedAttempt, MovedConversation, MovedMessage, MovedReply};
pub use options::{BusyPolicy, Change, OptionsChange, ReplyOptions, Temperature, TopP};
pub use page::{MessageFilter, MessagePage, MessageQuery, Needle, PageNumber, PageSize, RoleFilter};
pub use reply::{
    Account, Answer, Attempt, ClaimedReply, Context, Failure, FinishReason, Finished, Lease, Line, NewReply,
    Outcome, Reply, ReplyState, Retried, Swept, Usage,
};
pub use scope::{Scope, Scopes};
pub use text::{Description, Instructions, MessageText, ModelName, TextProblem, Title, trim};
pub use timestamp::Timestamp;
pub use trace::TraceParent;
