"""An S3 server that fails in the middle of an object. The key, `KIND/SIZE`, says how, and the object's size."""

import base64
import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ETAG = '"0123456789abcdef0123456789abcdef"'
# Eight zero bytes: the checksum of none of the objects that are requested here.
WRONG = base64.b64encode(bytes(8)).decode()


class Backend:
    """Serves the first bytes of `data`. `waiting` is the number of responses that are currently held back."""

    def __init__(self, data):
        backend = self
        self.waiting = 0
        self._lock = threading.Lock()

        class Handler(_Handler):
            source = backend

        self.data = data
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @contextlib.contextmanager
    def holding(self):
        with self._lock:
            self.waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self.waiting -= 1

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind, size = self.path.split("?")[0].split("/")[-2:]
        getattr(self, f"_{kind}")(self.source.data[:int(size)])

    def _damaged(self, data):
        """Sends all bytes, with a wrong checksum."""
        self._head(data, ("x-amz-checksum-crc64nvme", WRONG), ("x-amz-checksum-type", "FULL_OBJECT"))
        self.wfile.write(data)

    def _replaced(self, data):
        """Sends half of the bytes. When the rest is requested, the object has been replaced."""
        if self.headers["Range"]:
            self.send_response(412)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._head(data)
        self.wfile.write(data[:len(data) // 2])
        self.close_connection = True

    def _stalled(self, data):
        """Sends half of the bytes, then nothing until the other side closes the connection."""
        self._head(data)
        self.wfile.write(data[:len(data) // 2])
        with self.source.holding(), contextlib.suppress(OSError):
            self.connection.recv(1)
        self.close_connection = True

    def _head(self, data, *more):
        self.send_response(200)
        headers = [("Content-Length", str(len(data))), ("ETag", ETAG), ("Last-Modified", self.date_time_string()), *more]
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        """Logs nothing: the tests report failures."""
