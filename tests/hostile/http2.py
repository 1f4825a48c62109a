"""A minimal HTTP/2 client (RFC 9113), for frames that no client library sends."""

import asyncio
import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INITIAL_WINDOW_SIZE, FIRST_WINDOW, LARGEST_WINDOW = 4, 65_535, 2**31 - 1
ENHANCE_YOUR_CALM = 11


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def header(name, value):
    """Encodes a header field without indexing and without Huffman coding (RFC 7541, section 6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def _text(text):
    """Encodes a string literal (RFC 7541, section 5.2)."""
    raw = text.encode()
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, length = len(raw) - 127, b"\x7f"
    while rest >= 128:
        length += bytes([rest % 128 + 128])
        rest //= 128
    return length + bytes([rest]) + raw


def request(path, token=None, **more):
    """Returns the header block of a gRPC call."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "te": "trailers",
              "content-type": "application/grpc"}
    if token:
        fields["authorization"] = f"Bearer {token}"
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(header(name, value) for name, value in fields.items())


def message(payload, length=None, compressed=False):
    """Returns a gRPC message. `length` replaces the true length in its prefix."""
    return bytes([compressed]) + struct.pack(">I", len(payload) if length is None else length) + payload


class Connection(asyncio.Protocol):
    """A connection that acknowledges SETTINGS and PING frames, and keeps track of the other frames."""

    def __init__(self, acknowledges=True):
        self.acknowledges = acknowledges
        self.rest = b""
        self.initial, self.window, self.streams = FIRST_WINDOW, FIRST_WINDOW, {}
        self.ended, self.goaway, self.closed = set(), None, False
        self.writable, self.changed = asyncio.Event(), asyncio.Event()
        self.writable.set()

    @classmethod
    async def open(cls, port, first=b"", **options):
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: cls(**options), "127.0.0.1", port)
        connection.send(PREFACE + frame(SETTINGS, 0, 0) + first)
        return connection

    def send(self, data):
        if not self.closed:
            self.transport.write(data)

    async def flush(self):
        await self.writable.wait()

    def begin(self, stream, block, flags=END_HEADERS):
        self.streams[stream] = self.initial
        self.send(frame(HEADERS, flags, stream, block))

    def room(self, stream):
        """Returns how many bytes the server's windows allow on the stream, at most 16 KiB."""
        return max(0, min(self.window, self.streams.get(stream, 0), 16_384))

    def data(self, stream, payload, flags=0):
        self.window -= len(payload)
        self.streams[stream] -= len(payload)
        self.send(frame(DATA, flags, stream, payload))

    def close(self):
        self.transport.abort()

    # Called by asyncio.

    def connection_made(self, transport):
        self.transport = transport

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    def connection_lost(self, error):
        self.closed = True
        self.writable.set()
        self.changed.set()

    def data_received(self, data):
        self.rest += data
        at = 0
        while len(self.rest) - at >= 9:
            length = int.from_bytes(self.rest[at:at + 3], "big")
            if len(self.rest) - at < 9 + length:
                break
            kind, flags = self.rest[at + 3], self.rest[at + 4]
            stream = int.from_bytes(self.rest[at + 5:at + 9], "big") & 0x7FFFFFFF
            self._read(kind, flags, stream, self.rest[at + 9:at + 9 + length])
            at += 9 + length
        self.rest = self.rest[at:]
        self.changed.set()

    def _read(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind == PING and not flags & ACK and self.acknowledges:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            increment = int.from_bytes(payload, "big")
            if stream == 0:
                self.window += increment
            elif stream in self.streams:
                self.streams[stream] += increment
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM):
            self.ended.add(stream)

    def _settings(self, payload):
        for at in range(0, len(payload), 6):
            name, value = struct.unpack(">HI", payload[at:at + 6])
            if name == INITIAL_WINDOW_SIZE:
                for stream in self.streams:
                    self.streams[stream] += value - self.initial
                self.initial = value
        if self.acknowledges:
            self.send(frame(SETTINGS, ACK, 0))
