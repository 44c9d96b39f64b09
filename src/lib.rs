//! **Engagement** keeps conversations and messages for AI chat assistants and writes the assistant's
//! replies in the background.
//!
//! ```text
//! request:  http ─▶ service ─▶ store (trait) ─▶ sqlite | postgres
//!                      └─▶ reply intake (call off what was deleted or cancelled)
//! reply:    reply ─▶ provider;  reply ─▶ store (tell: pieces; finish: message and reply in one transaction)
//! stream:   http ─▶ events ─▶ store (what happened since)
//! ```
//!
//! Where to start reading: [`service`] says what the product does, [`store`] what it remembers, [`reply`]
//! how an answer comes about however often the process dies. [`http`] is the one room with status codes,
//! [`store::sqlite`] the one with SQL, [`app`] the one that knows them all.
//!
//! This library serves the binary of the same package and its tests; it promises no stable interface.

pub mod access;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod events;
pub mod http;
pub mod ids;
pub mod limits;
pub mod model;
pub mod provider;
pub mod reply;
pub mod service;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod transfer;
