//! Query strings of a list of messages.

use serde_json::Value;

use super::escaped;
use crate::{engine::Trial, peer::Peer};

pub(super) const WORDS: &[&str] = &[
    "page=",
    "page=last",
    "page_size=",
    "q=",
    "role=",
    "user",
    "assistant",
    "after=",
    "stream=",
    "&",
    "%",
    "%00",
    "%FF",
    "%C3%9F",
    "%F0%9F%98%80",
    "+",
    "=",
    ";",
    "\u{df}",
    "STRASSE",
    "%E2%84%AA",
    "%CC%81",
    "page=18446744073709551616",
    "%ED%A0%80",
];

/// As many links are followed.
const FOLLOWED: usize = 4;

pub(super) fn trial(mut peer: Peer) -> Trial {
    Box::new(move |input| {
        let path = format!("/conversations/{}/messages?", peer.conversation);
        let mut target = [path.as_bytes(), &escaped(input)].concat();
        let mut count = None;
        for step in 0..FOLLOWED {
            let request = [
                b"GET ".as_slice(),
                &target,
                b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            ]
            .concat();
            let answer = peer.exchange(&request, true)?;
            match answer.status {
                200 => {}
                400 | 404 | 414 | 431 if step == 0 => return Ok(()),
                other => {
                    return Err(format!(
                        "a {other} on step {step}: {}",
                        String::from_utf8_lossy(&target)
                    ));
                }
            }
            let page = answer.json()?;
            let counted = page["count"].as_u64().ok_or("a page without a count")?;
            if *count.get_or_insert(counted) != counted {
                return Err(format!("{counted} instead of {count:?} on step {step}"));
            }
            let shown = page["results"].as_array().ok_or("a page without results")?.len();
            if shown > 100 || shown as u64 > counted {
                return Err(format!("{shown} of {counted} on one page"));
            }
            let link = [&page["next"], &page["previous"]]
                .into_iter()
                .find_map(Value::as_str);
            let Some(link) = link else { return Ok(()) };
            let place = link
                .strip_prefix("http://localhost")
                .ok_or_else(|| format!("a link to {link}"))?;
            target = place.as_bytes().to_vec();
        }
        Ok(())
    })
}
