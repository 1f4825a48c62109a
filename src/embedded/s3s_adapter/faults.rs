//! Applies the faults that a test has injected.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use s3s::{Body, StdError};

use super::{
    super::{
        connection::{Break, Broken, Connection},
        fault::{Effect, InjectedError},
    },
    S3sAdapter,
    answer::Asked,
    refusal::Refusal,
};

pub(super) async fn show(
    effect: Effect,
    front: &S3sAdapter,
    request: Request<Body>,
    connection: &Connection,
) -> Result<Response<Body>, Broken> {
    match effect {
        Effect::Answer(failure) => {
            let asked = Asked::of(&request);
            read(request.into_body()).await;
            Ok(answer(&asked, failure))
        }
        Effect::AnswerAfterwards(failure) => {
            let asked = Asked::of(&request);
            // Some operations run only while their response is being read.
            read(front.serve(request).await.into_body()).await;
            Ok(answer(&asked, failure))
        }
        Effect::Delay(time) => {
            tokio::time::sleep(time).await;
            Ok(front.serve(request).await)
        }
        Effect::Truncate { after } => {
            Ok(front.serve(request).await.map(|body| Cut::after(after, body, connection, Break::Close)))
        }
        Effect::ResetAfter { bytes } => {
            Ok(front.serve(request).await.map(|body| Cut::after(bytes, body, connection, Break::Reset)))
        }
        Effect::Reset => {
            connection.end(Break::Reset);
            Err(Broken)
        }
    }
}

fn answer(asked: &Asked, failure: InjectedError) -> Response<Body> {
    asked.finish(Refusal::from(failure).answer())
}

/// Reads a body to its end, or until it fails.
async fn read(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// A response body that breaks its connection in the middle.
struct Cut {
    body: Body,
    left: u64,
    /// Whether the body has more data than may be sent, as far as is known.
    more: bool,
    connection: Connection,
    how: Break,
}

impl Cut {
    fn after(left: u64, body: Body, connection: &Connection, how: Break) -> Body {
        Body::http_body(Self { body, left, more: false, connection: connection.clone(), how })
    }

    /// Takes as much of the data as may still be sent.
    fn take(&mut self, mut data: Bytes) -> Bytes {
        if data.len() as u64 > self.left {
            data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.more = true;
        }
        self.left -= data.len() as u64;
        data
    }
}

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        while !self.more {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
            let frame = frame.map_data(|data| self.take(data));
            if !self.more || frame.data_ref().is_some_and(|data| !data.is_empty()) {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
        // hyper now flushes what it has and finds the connection broken. If this returned an error, hyper would discard
        // what it has not written yet.
        self.connection.end(self.how);
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        !self.more && self.body.is_end_stream()
    }

    /// The size of the whole body, so that the headers announce all of it.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
