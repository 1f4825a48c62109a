//! The codec of the generated services and clients.

use std::{fmt, marker::PhantomData};

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// The size of the buffer that a decoder allocates for each call before anything has arrived. tonic's default is 8 KiB,
/// almost half of what a call costs that waits for its request.
const DECODE_BUFFER: usize = 512;

/// tonic's codec for prost messages, with a small buffer for decoding.
pub struct ProstCodec<T, U>(PhantomData<fn(T) -> U>);

impl<T, U> Default for ProstCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> fmt::Debug for ProstCodec<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProstCodec")
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> Codec for ProstCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> ProstEncoder<T> {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        // The second number concerns only encoders.
        ProstDecoder::new(BufferSettings::new(DECODE_BUFFER, usize::MAX))
    }
}
