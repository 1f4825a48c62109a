"""A TCP proxy in front of a server that counts the bytes that it relays."""

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class CountingProxy:
    """Relays connections to `endpoint`. `received` is the number of bytes relayed from there, `sent` the number relayed to
    it."""

    def __init__(self, endpoint):
        there = urlsplit(endpoint)
        self._there = (there.hostname, there.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._sockets = []
        self.received = self.sent = 0
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._there)
                self._sockets += [near, far]
                threading.Thread(target=self._relay, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._relay, args=(far, near, True), daemon=True).start()

    def _relay(self, source, sink, coming):
        with contextlib.suppress(OSError):
            while data := source.recv(64 * 1024):
                with self._lock:
                    if coming:
                        self.received += len(data)
                    else:
                        self.sent += len(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        for each in (self._listener, *self._sockets):
            # shutdown wakes the thread that waits for the socket; close alone does not.
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
