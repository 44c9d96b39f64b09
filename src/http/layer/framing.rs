//! Where a body ends, if it is not said in one way only. hyper reads a body to the end that the last word of `Transfer-Encoding`
//! gives it, whatever stands before that; a proxy in front that reads it otherwise would take a part of it for another request.

use axum::{
    extract::Request,
    http::{HeaderValue, header},
};

use crate::http::problem::Problem;

/// Lets a request pass whose body is sent as it is, or in chunks and nothing else.
pub(super) fn judge(request: &Request) -> Result<(), Problem> {
    let mut encodings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(encoding), None) if encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => {
            let problem = Problem::bad_request("The only Transfer-Encoding is chunked, once.");
            Err(problem.with_header(header::CONNECTION, HeaderValue::from_static("close")))
        }
    }
}
