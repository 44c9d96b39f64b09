//! A crowd that is sent long texts and never reads: it takes little memory each, and a bounded share of long texts together.
//! Whoever reads meanwhile is told everything, however little room is left.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::judge::{is_the_end, same};
use super::memory::Memory;
use super::stage::Stage;
use crate::faults::{Proof, ensure, fails, holds};
use crate::support::sse::{Ended, Event, Reader};
use crate::support::{SOON, Server};

/// More than can be sent their first text within the room that there is for all of them (`src/http/streams.rs`).
const CROWD: usize = 320;

/// The longest texts that there are, in bytes, and more of them than sockets take in.
const TEXTS: usize = 12;
const LONGEST: usize = 100_000 * 4;

/// How much more memory the service may take: the room, and some for each. A text for each would be 122 MiB.
const MOST_MIB: u64 = 64 + 24;

/// Somebody who asks and never reads more than that there is an answer.
async fn deaf(address: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    // What its system takes in for it is not what this is about.
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stream = socket.connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

/// A service with a conversation of long texts.
struct Scene {
    _stage: Stage,
    server: Server,
    conversation: String,
    texts: Vec<String>,
    /// Somebody who was told everything.
    first: Reader,
}

impl Scene {
    async fn new() -> Self {
        let stage = Stage::new(None).await;
        let server = stage.start().await;
        let client = server.client();
        let conversation = client.conversation("of long texts").await;
        let mut texts = Vec::new();
        for _ in 0..TEXTS {
            let text = "\u{1f980}".repeat(LONGEST / 4);
            texts.push(client.message(&conversation, "assistant", &text).await);
        }
        client.message(&conversation, "assistant", "the end").await;
        let mut first = Reader::of_conversation(server.address(), &conversation);
        first.read(is_the_end).await;
        Self {
            _stage: stage,
            server,
            conversation,
            texts,
            first,
        }
    }

    /// One more of the crowd.
    async fn deaf(&self, what: &str) -> TcpStream {
        let path = format!("/conversations/{}/{what}", self.conversation);
        deaf(self.server.address(), &path).await
    }
}

/// The crowd asks for this of the conversation.
async fn prove(what: &str) -> Proof<u64> {
    let scene = Scene::new().await;
    let memory = Memory::of(&scene.server);
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(scene.deaf(what).await);
        // Enough is enough, also where a page is held for each.
        memory.stays_within(MOST_MIB)?;
    }
    let mut reader = scene.first.newcomer();
    reader
        .read_on("whoever reads is told", 3 * SOON, is_the_end)
        .await;
    same(&reader.log, &scene.first.log)?;
    ensure(reader.streams == 1, || {
        format!("told in {} streams", reader.streams)
    })?;
    drop(crowd);
    memory.stays_within(MOST_MIB)
}

#[tokio::test]
async fn a_crowd_that_never_reads_takes_bounded_memory_of_long_texts() {
    holds(prove("events").await, &crate::faults::new_home());
}

#[tokio::test]
async fn control_long_texts_that_are_held_for_everybody_are_seen() {
    fails(prove("messages?page_size=100").await, "grew");
}

#[tokio::test]
async fn whoever_has_half_of_a_text_that_is_deleted_is_told_so_when_it_comes_back() {
    let scene = Scene::new().await;
    let mut crowd = Vec::new();
    // There is room for fewer.
    for _ in 0..CROWD / 2 + 16 {
        crowd.push(scene.deaf("events").await);
    }
    let mut reader = scene.first.newcomer();
    let stream = reader.open().await.expect("a stream");
    let client = scene.server.client();
    for text in &scene.texts {
        let path = format!("/conversations/{}/messages/{text}", scene.conversation);
        assert_eq!(client.delete(&path).await.status, 204);
    }
    client
        .message(&scene.conversation, "assistant", "the very end")
        .await;

    let is_the_very_end = |event: &Event| event.data.contains("the very end");
    if reader.take_all(stream, is_the_very_end).await != Ended::Found {
        reader.read_on("it comes back", 3 * SOON, is_the_very_end).await;
    }
    let told = |name: &str| reader.log.iter().filter(|event| &*event.name == name).count();
    assert_eq!(told("message.deleted"), TEXTS);
    assert!(
        told("message.created") < TEXTS + 2,
        "it was told nothing that was gone"
    );
    assert!(reader.log.iter().all(|event| event.payload().is_object()));
    drop(crowd);
}
