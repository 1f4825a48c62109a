"""An S3 server with synthetic objects and listings. It never reads or answers requests to the bucket `silent`. In the
bucket `creating`, it answers only the requests that create uploads."""

import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SMALL, LARGE = 4096, 1 << 30
KEYS = 1_000_000
PAGE = 1000
BLOCK = bytes(1 << 16)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def _head(self, status, length, **headers):
        self.send_response(status)
        for name, value in {"ETag": '"made-up"', "Last-Modified": "Tue, 24 Nov 2026 10:00:00 GMT", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _any(self):
        path = urllib.parse.urlsplit(self.path)
        if path.path.startswith("/creating/") and self.command == "POST":
            self._document("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        elif path.path.startswith(("/silent", "/creating")):
            time.sleep(3600)
        elif self.command == "GET" and path.path.count("/") < 2 or path.path == "/bucket/":
            self._list(dict(urllib.parse.parse_qsl(path.query)))
        else:
            self._object(LARGE if path.path.endswith("large") else SMALL)

    do_GET = do_HEAD = do_PUT = do_POST = _any

    def _object(self, size):
        first, last, headers, status = 0, size - 1, {}, 200
        if wanted := self.headers.get("Range"):
            low, high = wanted.removeprefix("bytes=").split("-")
            first, last = int(low), min(last, int(high or last))
            headers, status = {"Content_Range": f"bytes {first}-{last}/{size}"}, 206
        left = last - first + 1
        self._head(status, left, **headers)
        while self.command == "GET" and left > 0:
            self.wfile.write(BLOCK[:left])
            left -= len(BLOCK)

    def _list(self, query):
        first = int(query.get("continuation-token", 0))
        end = min(KEYS, first + int(query.get("max-keys", PAGE)))
        keys = "".join(
            f"<Contents><Key>a-key-of-some-length-{key:09}</Key><LastModified>2026-11-24T10:00:00.000Z</LastModified>"
            f'<ETag>"{key:032x}"</ETag><Size>1</Size></Contents>' for key in range(first, end))
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{end}</NextContinuationToken>"
        self._document(f"<ListBucketResult>{more if end < KEYS else '<IsTruncated>false</IsTruncated>'}{keys}</ListBucketResult>")

    def _document(self, body):
        self._head(200, len(body), Content_Type="application/xml")
        self.wfile.write(body.encode())


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Ignores errors: in some cases, the gateway is meant to close a connection early."""


def start():
    """Starts the server and returns its endpoint."""
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
