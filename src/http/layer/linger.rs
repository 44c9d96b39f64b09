//! Reads on what a refusal left unread. A connection that is closed over unread bytes is reset, and a
//! reset can reach the client before the answer does; so an early answer lets the upload run out first,
//! within bounds.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::header,
};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::{http::Http, shutdown::Shutdown};

/// An upload that goes on for longer, or brings more, is cut off after all.
const LONGEST: Duration = Duration::from_secs(5);
const MOST: usize = 16 * 1024 * 1024;

/// Makes the body of a request, if it has one, linger when it is dropped unread.
pub(super) fn over(http: &Http, request: Request) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    // A client that waits for a "100 Continue" sends nothing after a refusal; reading would ask it to.
    let began = !request.headers().contains_key(header::EXPECT);
    let shutdown = http.shutdown.clone();
    request.map(|body| {
        Body::new(Lingering {
            rest: Some(body),
            began,
            shutdown,
        })
    })
}

struct Lingering {
    rest: Option<Body>,
    /// Whether the client sends, asked or unasked.
    began: bool,
    shutdown: Shutdown,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.began = true;
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(rest).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) || self.rest.as_ref().is_some_and(HttpBody::is_end_stream) {
            self.rest = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take()
            && self.began
        {
            self.shutdown.spawn(async move {
                // Whether it ran out or was cut off is the same to us.
                let _ = timeout(LONGEST, drain(rest)).await;
            });
        }
    }
}

async fn drain(mut body: Body) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MOST {
            return;
        }
    }
}
