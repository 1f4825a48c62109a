//! One call on a connection: passes the request to the services, and sends the response.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{Request, Response};
use http_body::Body;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    stalled::Stalled,
    unsent::{ConnectionUnsent, Piece},
};

/// How many bytes of a response are handed to HTTP/2 at a time, within the caller's window. Bytes that do not fit into
/// the window stay here, so that the call can still end with a status.
const MAX_RESERVED: usize = 256 * 1024;

/// The stream on which the response is sent.
pub(super) struct Respond {
    pub(super) stream: SendResponse<Piece>,
    pub(super) unsent: Arc<ConnectionUnsent>,
}

/// A response that is being sent.
struct Sending {
    stream: SendStream<Piece>,
    unsent: Arc<ConnectionUnsent>,
    stalled: Stalled,
}

/// The caller reset the stream or closed the connection: the response cannot be delivered.
#[derive(Debug)]
pub(super) struct CallerGone;

/// Serves one call to its end. Dropping the future resets the stream. If `stop` is given, cancelling it ends a response
/// that its caller does not read.
pub(super) async fn serve<S, Q, B>(
    mut service: S,
    request: Request<Q>,
    Respond { stream: mut respond, unsent }: Respond,
    stop: Option<CancellationToken>,
) -> Result<(), CallerGone>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Unpin,
{
    let response = {
        let mut responding = std::pin::pin!(service.call(request));
        // If the caller resets the stream, the call is dropped, which cancels its work.
        poll_fn(|cx| match respond.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(Err(CallerGone)),
            Poll::Pending => responding.as_mut().poll(cx).map(Ok),
        })
        .await?
    };
    let Ok(response) = response;
    let (mut head, body) = response.into_parts();
    let mut stalled = head.extensions.get::<Stalled>().cloned().unwrap_or_default();
    if let Some(stop) = stop {
        stalled.cut = stop;
    }
    // The extensions hold reserved memory: they must live until the response has been sent.
    let _extensions = std::mem::take(&mut head.extensions);
    let head = Response::from_parts(head, ());
    let ended = body.is_end_stream();
    // Fails if the stream is no longer open.
    let stream = respond.send_response(head, ended).map_err(|_| CallerGone)?;
    if ended { Ok(()) } else { Sending { stream, unsent, stalled }.send(body).await }
}

impl Sending {
    async fn send<B>(mut self, mut body: B) -> Result<(), CallerGone>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            let frame = poll_fn(|cx| match self.stream.poll_reset(cx) {
                Poll::Ready(_) => Poll::Ready(Err(CallerGone)),
                Poll::Pending => Pin::new(&mut body).poll_frame(cx).map(Ok),
            });
            let frame = match frame.await? {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Err(CallerGone);
                }
                None => return self.stream.send_data(Piece::empty(), true).map_err(|_| CallerGone),
            };
            match frame.into_data() {
                Ok(data) => self.send_data(data).await?,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return self.stream.send_trailers(trailers).map_err(|_| CallerGone);
                }
            }
        }
    }

    /// Sends `data` as fast as the caller reads it. If the call has to end first, the rest of `data` is dropped, and
    /// the body then returns the call's status.
    async fn send_data(&mut self, mut data: Bytes) -> Result<(), CallerGone> {
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len().min(MAX_RESERVED));
            let most = match self.stream.capacity().min(self.unsent.room()) {
                0 => match self.stalled.bound(wait(&mut self.stream, &self.unsent)).await {
                    Some(most) => most?,
                    None => return Ok(()),
                },
                most => most,
            };
            if most == 0 {
                // This call cannot use the room, but another call may.
                self.unsent.wake_one();
                continue;
            }
            let piece = data.split_to(most.min(data.len()));
            self.stream.send_data(self.unsent.piece(piece), false).map_err(|_| CallerGone)?;
        }
        Ok(())
    }
}

/// Waits until HTTP/2 accepts bytes, and returns how many; 0 if the window has shrunk in the meantime.
async fn wait(stream: &mut SendStream<Piece>, unsent: &ConnectionUnsent) -> Result<usize, CallerGone> {
    if stream.capacity() == 0 {
        poll_fn(|cx| poll_capacity(stream, cx)).await?;
    }
    let mut room = std::pin::pin!(unsent.wait_for_room());
    let room = poll_fn(|cx| match stream.poll_reset(cx) {
        Poll::Ready(_) => Poll::Ready(Err(CallerGone)),
        Poll::Pending => room.as_mut().poll(cx).map(Ok),
    });
    // The caller may have shrunk its windows in the meantime.
    let room = room.await?;
    Ok(stream.capacity().min(room))
}

fn poll_capacity(stream: &mut SendStream<Piece>, cx: &mut Context<'_>) -> Poll<Result<(), CallerGone>> {
    if stream.poll_reset(cx).is_ready() {
        return Poll::Ready(Err(CallerGone));
    }
    loop {
        match stream.poll_capacity(cx) {
            Poll::Ready(Some(Ok(0))) => {}
            Poll::Ready(Some(Ok(_))) => return Poll::Ready(Ok(())),
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(CallerGone)),
            Poll::Pending => return Poll::Pending,
        }
    }
}
