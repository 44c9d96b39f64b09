//! The words of the product: conversations, messages, replies, pages.
//!
//! Plain values that are correct by construction. No serde, no SQL, no HTTP: each edge translates
//! its own shapes into these and back.

mod conversation;
mod fold;
mod id;
mod message;
mod page;
mod reply;
mod text;
mod timestamp;

pub use conversation::{Conversation, NewConversation};
pub use fold::fold;
pub use id::{ConversationId, MessageId};
pub use message::{Message, NewMessage, Role};
pub use page::{MessageFilter, MessagePage, MessageQuery, Needle, PageNumber, PageSize, RoleFilter};
pub use reply::{ClaimedReply, Failure, Finished, Lease, Outcome, Reply, ReplyState, Swept};
pub use text::{Description, MessageText, TextProblem, Title, trim};
pub use timestamp::Timestamp;
