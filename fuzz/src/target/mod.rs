//! What is fuzzed: each target makes a request or an answer of its input, and judges what comes of it.

mod body;
mod event_id;
mod head;
mod key;
mod key_text;
mod path;
mod provider;
mod query;

use anyhow::Result;

use crate::{engine::Trial, peer::Peer};

/// Something that takes whatever comes.
pub struct Target {
    /// Its name, and that of its folder of seeds.
    pub name: &'static str,
    /// Words that chance would take long to find.
    pub words: &'static [&'static str],
    /// How many inputs a check tries, its seeds among them: as many as take some ten seconds.
    pub checked: u64,
    kind: Kind,
}

enum Kind {
    /// Judged by what the service answers.
    Served(fn(Peer) -> Trial),
    /// Judged by itself.
    Alone(fn() -> Result<Trial>),
}

impl Target {
    /// Makes everything ready that its trials need.
    pub fn open(&self) -> Result<Trial> {
        match self.kind {
            Kind::Served(trial) => Ok(trial(Peer::service()?)),
            Kind::Alone(trial) => trial(),
        }
    }
}

/// All of them.
pub const ALL: &[Target] = &[
    Target {
        name: "head",
        words: head::WORDS,
        checked: 8_000,
        kind: Kind::Served(head::trial),
    },
    Target {
        name: "body",
        words: body::WORDS,
        checked: 6_000,
        kind: Kind::Served(body::trial),
    },
    Target {
        name: "query",
        words: query::WORDS,
        checked: 3_000,
        kind: Kind::Served(query::trial),
    },
    Target {
        name: "path",
        words: path::WORDS,
        checked: 8_000,
        kind: Kind::Served(path::trial),
    },
    Target {
        name: "event-id",
        words: event_id::WORDS,
        checked: 10_000,
        kind: Kind::Served(event_id::trial),
    },
    Target {
        name: "key",
        words: key::WORDS,
        checked: 10_000,
        kind: Kind::Served(key::trial),
    },
    Target {
        name: "key-text",
        words: key_text::WORDS,
        checked: 50_000,
        kind: Kind::Alone(key_text::trial),
    },
    Target {
        name: "provider",
        words: provider::WORDS,
        checked: 10_000,
        kind: Kind::Alone(provider::trial),
    },
];

/// An input as part of a request target: what would end the target, or the head, is escaped.
fn escaped(input: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(input.len());
    for byte in input {
        match byte {
            0..=b' ' | 0x7f => escaped.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            other => escaped.push(*other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener},
        thread,
    };

    use super::*;
    use crate::peer::runtime;

    /// A server that says this to every request, on and on.
    fn stub(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut read = vec![0; 64 * 1024];
                while matches!(stream.read(&mut read), Ok(length) if length > 0) {
                    if stream.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                    if answer.contains("close") {
                        break;
                    }
                }
            }
        });
        address
    }

    fn seeds(target: &Target) -> Vec<Vec<u8>> {
        crate::seeds(target).expect("seeds")
    }

    #[test]
    fn control_wrong_answers_are_seen_by_every_target() {
        const JSON: &str =
            "X-Request-Id: a\r\nX-Content-Type-Options: nosniff\r\nContent-Type: application/json\r\n";
        for (what, answer) in [
            (
                "a panic that was caught",
                "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned(),
            ),
            (
                "a page",
                "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
                    .to_owned(),
            ),
            (
                "another envelope",
                format!("HTTP/1.1 404 Not Found\r\n{JSON}Content-Length: 2\r\n\r\n{{}}"),
            ),
            (
                "a cut body",
                "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{".to_owned(),
            ),
            ("no HTTP", "nonsense\r\n\r\n".to_owned()),
            (
                "success, whatever it was",
                format!("HTTP/1.1 201 Created\r\n{JSON}Content-Length: 2\r\n\r\n{{}}"),
            ),
        ] {
            let address = stub(answer.leak());
            for target in ALL {
                let Kind::Served(trial) = target.kind else {
                    continue;
                };
                if what.starts_with("success") && target.name == "head" {
                    // Any answer in good form is one to a head.
                    continue;
                }
                let peer = Peer::at(
                    address,
                    runtime().expect("a runtime"),
                    tempfile::tempdir().expect("a folder"),
                );
                let mut trial = trial(peer);
                let seen = seeds(target).iter().any(|seed| trial(seed).is_err());
                assert!(seen, "{} takes {what} for an answer", target.name);
            }
        }
    }

    #[test]
    fn every_target_has_seeds() {
        for target in ALL {
            assert!(seeds(target).len() >= 10, "{} has too few seeds", target.name);
        }
    }
}
