"""Requests that wait for `100 Continue` before they send the body, as boto3's PutObject does.

RFC 9110, 10.1.1: a server that responds with a final status instead does not receive the body, unless it says that it
continues reading.
"""

import socket
from urllib.parse import quote, urlsplit

from . import signing


class Connection:
    """One connection, used for one request after another for as long as the server keeps it open."""

    def __init__(self, server, bucket):
        self._server, self._bucket = server, bucket
        there = urlsplit(server.endpoint)
        self._host = there.netloc
        self._socket = socket.create_connection((there.hostname, there.port), timeout=30)
        self._read = self._socket.makefile("rb")
        self.closed = False

    def request(self, method, key, body=b"", headers=None, length=None, **signed):
        """Returns the status, and whether the server asked for the body, which is sent only in that case.

        `length` replaces the body's length in the header. The body is then not sent at all.
        """
        path = quote(f"/{self._bucket}/{key}")
        headers = {"host": self._host, **(headers or {})}
        signing.sign(self._server, method, path, {}, headers, body, "signed", **signed)
        if method == "PUT":
            headers |= {"content-length": str(length or len(body)), "expect": "100-continue"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode())
        status, answered = self._answer()
        asked = status == 100
        if asked and not length:
            self._socket.sendall(body)
            status, answered = self._answer()
        self._read.read(int(answered.get("content-length", 0)))
        self.closed = answered.get("connection", "").lower() == "close"
        return status, asked

    def _answer(self):
        line = self._read.readline()
        if not line:
            raise ConnectionError("the server closed the connection without announcing it")
        headers = {}
        while (header := self._read.readline().strip()):
            name, value = header.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        return int(line.split()[1]), headers

    def close(self):
        self._read.close()
        self._socket.close()
