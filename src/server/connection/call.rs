//! One call on a connection: the request to the services, the response back.

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

/// How much of a response is handed to HTTP/2 at once, as far as the caller's window goes. What the caller cannot take yet
/// stays here, so that the call can still end with a status.
const AT_ONCE: usize = 256 * 1024;

/// Where the response goes.
pub(super) struct Respond {
    pub(super) stream: SendResponse<Piece>,
    pub(super) unsent: Arc<ConnectionUnsent>,
}

/// A response under way.
struct Sending {
    stream: SendStream<Piece>,
    unsent: Arc<ConnectionUnsent>,
    stalled: Stalled,
}

/// The caller reset the stream or closed the connection: the response cannot be delivered.
#[derive(Debug)]
pub(super) struct Gone;

/// Serves one call to its end. Dropped before, it resets the stream. With `stop`, a response that its caller does not read ends
/// when that is cancelled.
pub(super) async fn serve<S, Q, B>(
    mut service: S,
    request: Request<Q>,
    Respond { stream: mut respond, unsent }: Respond,
    stop: Option<CancellationToken>,
) -> Result<(), Gone>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Unpin,
{
    let response = {
        let mut responding = std::pin::pin!(service.call(request));
        // When the caller resets the stream, the call is dropped, and with it all that it is doing.
        poll_fn(|cx| match respond.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(Err(Gone)),
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
    // They hold memory that counts until the caller has the response.
    let _extensions = std::mem::take(&mut head.extensions);
    let head = Response::from_parts(head, ());
    let ended = body.is_end_stream();
    // It fails where the stream is not open any more.
    let stream = respond.send_response(head, ended).map_err(|_| Gone)?;
    if ended { Ok(()) } else { Sending { stream, unsent, stalled }.send(body).await }
}

impl Sending {
    async fn send<B>(mut self, mut body: B) -> Result<(), Gone>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            let frame = poll_fn(|cx| match self.stream.poll_reset(cx) {
                Poll::Ready(_) => Poll::Ready(Err(Gone)),
                Poll::Pending => Pin::new(&mut body).poll_frame(cx).map(Ok),
            });
            let frame = match frame.await? {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Err(Gone);
                }
                None => return self.stream.send_data(Piece::empty(), true).map_err(|_| Gone),
            };
            match frame.into_data() {
                Ok(data) => self.send_data(data).await?,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return self.stream.send_trailers(trailers).map_err(|_| Gone);
                }
            }
        }
    }

    /// Sends `data` as fast as the caller takes it. Where the call has to end before the caller has taken it, the rest is
    /// dropped: the body then says how the call ends.
    async fn send_data(&mut self, mut data: Bytes) -> Result<(), Gone> {
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len().min(AT_ONCE));
            let most = match self.stream.capacity().min(self.unsent.room()) {
                0 => match self.stalled.bound(wait(&mut self.stream, &self.unsent)).await {
                    Some(most) => most?,
                    None => return Ok(()),
                },
                most => most,
            };
            if most == 0 {
                // Another call may use the room.
                self.unsent.wake_one();
                continue;
            }
            let piece = data.split_to(most.min(data.len()));
            self.stream.send_data(self.unsent.piece(piece), false).map_err(|_| Gone)?;
        }
        Ok(())
    }
}

/// Waits until HTTP/2 takes some bytes, and says how many; none if that has changed meanwhile.
async fn wait(stream: &mut SendStream<Piece>, unsent: &ConnectionUnsent) -> Result<usize, Gone> {
    if stream.capacity() == 0 {
        poll_fn(|cx| poll_capacity(stream, cx)).await?;
    }
    let mut room = std::pin::pin!(unsent.wait_for_room());
    let room = poll_fn(|cx| match stream.poll_reset(cx) {
        Poll::Ready(_) => Poll::Ready(Err(Gone)),
        Poll::Pending => room.as_mut().poll(cx).map(Ok),
    });
    // Meanwhile the caller may have made its windows smaller.
    let room = room.await?;
    Ok(stream.capacity().min(room))
}

fn poll_capacity(stream: &mut SendStream<Piece>, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
    if stream.poll_reset(cx).is_ready() {
        return Poll::Ready(Err(Gone));
    }
    loop {
        match stream.poll_capacity(cx) {
            Poll::Ready(Some(Ok(0))) => {}
            Poll::Ready(Some(Ok(_))) => return Poll::Ready(Ok(())),
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Gone)),
            Poll::Pending => return Poll::Pending,
        }
    }
}
