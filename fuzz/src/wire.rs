//! What comes back over a connection, read strictly: HTTP as it should be, and errors in the contract's envelope.

use serde_json::Value;

use crate::peer::Came;

/// One answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body, or what came of it.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether it is a stream of events, which lasts as long as somebody listens.
    pub fn lasts(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("a body that is no JSON: {error}: {}", self.text()))
    }

    /// The body for people.
    pub fn text(&self) -> String {
        format!("{:.300}", String::from_utf8_lossy(&self.body))
    }

    /// What every answer has to be, whatever was asked.
    pub fn judge(&self, has_body: bool) -> Result<(), String> {
        let Self { status, .. } = self;
        if *status >= 500 {
            return Err(format!("a {status}: {}", self.text()));
        }
        // Where the HTTP library refuses a head by itself, it has nothing to say.
        let by_library = matches!(status, 400 | 414 | 431) && self.header("x-request-id").is_none();
        if by_library && self.body.is_empty() {
            return Ok(());
        }
        if self.header("x-request-id").is_none() || self.header("x-content-type-options") != Some("nosniff") {
            return Err(format!("a {status} without the headers that all answers have"));
        }
        if matches!(status, 401) && self.header("www-authenticate").is_none() {
            return Err("a 401 that does not say what it wants".to_owned());
        }
        if matches!(status, 429) && self.header("retry-after").is_none() {
            return Err("a 429 that does not say when".to_owned());
        }
        if *status < 400 || !has_body {
            return Ok(());
        }
        let envelope = self.json()?;
        let fits = self.header("content-type") == Some("application/json")
            && envelope["status"] == "error"
            && envelope["code"] == *status
            && envelope["message"].is_string()
            && envelope["details"].is_object();
        // The other form, for who asks for it.
        let problem =
            self.header("content-type") == Some("application/problem+json") && envelope["status"] == *status;
        if fits || problem {
            Ok(())
        } else {
            Err(format!("a {status} without the envelope: {}", self.text()))
        }
    }
}

/// The first answer in these bytes, and where it ends; `None` while it is not there whole. At the end of the connection there
/// is no more to come.
pub fn first(bytes: &[u8], has_body: bool, at_end: bool) -> Result<Option<(Answer, usize)>, String> {
    let cut = |what: &str| {
        if at_end && !bytes.is_empty() {
            return Err(format!("{what}: {:.300}", String::from_utf8_lossy(bytes)));
        }
        Ok(None)
    };
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return cut("a cut head");
    };
    let mut answer = head(&bytes[..end])?;
    let rest = &bytes[end + 4..];
    if answer.status < 200 {
        let later = first(rest, has_body, at_end)?;
        return Ok(later.map(|(answer, length)| (answer, end + 4 + length)));
    }
    let length = answer.header("content-length").map(str::to_owned);
    let is_chunked = answer.header("transfer-encoding") == Some("chunked");
    let taken = match (length, is_chunked) {
        (Some(_), true) => return Err("a length beside chunks".to_owned()),
        _ if !has_body || answer.status == 204 => 0,
        (None, true) => {
            let (body, length) = chunks(rest, at_end && !answer.lasts())?;
            answer.body = body;
            match length {
                Some(length) => length,
                None if at_end => rest.len(),
                None => return Ok(None),
            }
        }
        (length, false) => {
            let length = length.unwrap_or_else(|| "0".to_owned());
            let length: usize = length.parse().map_err(|_| format!("a length of {length}"))?;
            match rest.get(..length) {
                Some(body) => answer.body = body.to_vec(),
                None => return cut("a cut body"),
            }
            length
        }
    };
    Ok(Some((answer, end + 4 + taken)))
}

/// Whether a stream has begun in these bytes: its head is there, and answers before it are whole.
pub fn lasts(mut bytes: &[u8]) -> bool {
    while let Ok(Some((answer, length))) = first(bytes, true, true) {
        if answer.lasts() {
            return true;
        }
        bytes = &bytes[length..];
    }
    false
}

fn head(bytes: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "a head that is no text".to_owned())?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| first.strip_prefix("HTTP/1.0 "))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| format!("no status: {first}"))?;
    let headers = lines
        .map(|line| {
            let (name, value) = line
                .split_once(": ")
                .ok_or_else(|| format!("no header: {line}"))?;
            Ok((name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect::<Result<_, String>>()?;
    Ok(Answer {
        status,
        headers,
        body: Vec::new(),
    })
}

/// What chunks hold, and where they end, if they do.
fn chunks(mut bytes: &[u8], must_end: bool) -> Result<(Vec<u8>, Option<usize>), String> {
    let (mut body, whole) = (Vec::new(), bytes.len());
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n");
        let length = line.and_then(|line| std::str::from_utf8(&bytes[..line]).ok());
        let Some((line, length)) = line.zip(length) else {
            break;
        };
        let length = usize::from_str_radix(length, 16).map_err(|_| format!("a chunk of {length}"))?;
        let Some(chunk) = bytes.get(line + 2..line + 2 + length) else {
            break;
        };
        let Some(rest) = bytes.get(line + 4 + length..) else {
            break;
        };
        body.extend_from_slice(chunk);
        bytes = rest;
        if length == 0 {
            return Ok((body, Some(whole - bytes.len())));
        }
    }
    if must_end {
        return Err("chunks without an end".to_owned());
    }
    Ok((body, None))
}

/// Whatever came over a connection that has ended: answers, each as it should be. `asked_for_heads`: the bodies of some are
/// left out, and nobody knows which; then only the first one is judged.
pub fn judge_all(came: &Came, asked_for_heads: bool) -> Result<Vec<Answer>, String> {
    let mut bytes = came.bytes.as_slice();
    let mut answers = Vec::new();
    while let Some((answer, length)) = first(bytes, !asked_for_heads, !came.was_cut)? {
        answer.judge(!asked_for_heads)?;
        answers.push(answer);
        bytes = &bytes[length..];
        if asked_for_heads {
            break;
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_known_by_the_head_of_the_answer_and_by_nothing_else() {
        const STREAM: &str =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        const OTHER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\ntext/event-stream";
        assert!(lasts(STREAM.as_bytes()));
        assert!(lasts(format!("{OTHER}{STREAM}3\r\nid:\r\n").as_bytes()));
        assert!(!lasts(OTHER.as_bytes()));
        assert!(!lasts(&STREAM.as_bytes()[..60]));
        assert!(!lasts(b""));
    }
}
