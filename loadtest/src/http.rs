//! The little of HTTP/1.1 that a load generator needs: requests as bytes, and the head of a response.

use anyhow::{Context, Result, bail};
use memchr::memmem;

/// The key that the service accepts on loopback while no other is configured.
pub const API_KEY: &str = "neuRealities_assessment";

/// In a request that goes out again and again, the place of a number that is another one each time.
pub const FRESH: &[u8] = b"################";

/// A GET as bytes.
pub fn get(path: &str) -> Vec<u8> {
    get_with(path, "")
}

/// A GET with these headers, each with its line's end, as bytes.
pub fn get_with(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n").into_bytes()
}

/// A POST of a JSON body with the key, as bytes.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    post_with(path, &format!("x-api-key: {API_KEY}\r\n"), body)
}

/// A POST of a JSON body with these headers, each with its line's end, as bytes.
pub fn post_with(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A message as the body of a POST.
pub fn message(role: &str, text: &str) -> String {
    serde_json::json!({ "text": text, "role": role }).to_string()
}

/// What the generator wants to know of a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Where the body begins.
    pub body_at: usize,
    /// Bytes of the body.
    pub body_len: usize,
}

impl Head {
    /// Bytes of head and body.
    pub fn total(&self) -> usize {
        self.body_at + self.body_len
    }

    /// Whether the status says success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Reads a head; `None` while it is not complete.
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = &bytes[..end + 2];
    let status = head
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u16>().ok())
        .context("the response has no status line")?;
    let body_len = match header(head, b"content-length") {
        Some(digits) => std::str::from_utf8(digits)?.trim().parse()?,
        None if status == 204 || status == 304 => 0,
        None => bail!("a response without content-length (status {status})"),
    };
    Ok(Some(Head {
        status,
        body_at: end + 4,
        body_len,
    }))
}

/// Where the body of a request begins, and how long it is; `None` while its head is not complete.
pub fn parse_request_head(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let length = header(&bytes[..end + 2], b"content-length").context("a request without content-length")?;
    Ok(Some((end + 4, std::str::from_utf8(length)?.trim().parse()?)))
}

/// Whether a head has this header.
pub fn has_header(head: &[u8], name: &[u8]) -> bool {
    header(head, name).is_some()
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = head;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = &rest[..end];
        if line.len() > name.len()
            && line[name.len()] == b':'
            && line[..name.len()].eq_ignore_ascii_case(name)
        {
            return Some(&line[name.len() + 1..]);
        }
        rest = &rest[end + 1..];
    }
    None
}

/// The headers of a raw response, without those that every server writes by itself.
pub fn copied_headers(raw: &[u8], head: Head) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(&raw[..head.body_at]);
    text.lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .filter(|(name, _)| !matches!(name.as_str(), "content-length" | "date" | "connection"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() -> Result<()> {
        let raw = b"HTTP/1.1 201 Created\r\nLocation: /x\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        for cut in 0..raw.len() - 7 {
            assert_eq!(parse_head(&raw[..cut])?, None);
        }
        let head = parse_head(raw)?.context("complete")?;
        assert_eq!((head.status, head.body_len, head.total()), (201, 7, raw.len()));
        assert_eq!(
            copied_headers(raw, head),
            [("location".to_owned(), "/x".to_owned())]
        );
        Ok(())
    }

    #[test]
    fn only_bodiless_statuses_may_lack_a_length() {
        assert!(parse_head(b"HTTP/1.1 204 No Content\r\n\r\n").is_ok());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(parse_head(b"nonsense\r\n\r\n").is_err());
    }
}
