"""An S3 server that stores nothing and counts every request by itself, for tests of Longshore's usage counters.

Keys say what happens: `CALLER/get-1000-x` has 1000 bytes, `CALLER/stall-1000-x` sends 1000 bytes of a larger object and
then nothing, `CALLER/fail-…` fails once before it works, and `CALLER/none-…` does not exist.
"""

import asyncio
import collections
import json
import re
import sys
from urllib.parse import parse_qs, unquote, urlsplit

PAGE = 3
PLENTY = 64 * 1024


class Counts:
    """The requests of each caller by class of Amazon's price list, and the failures that Longshore must retry."""

    def __init__(self):
        self.requests = collections.Counter()
        self.failures = collections.Counter()
        self.failed = set()
        self.seen = set()


def price_class(method, query):
    if method in ("DELETE",) or (method == "POST" and "delete" in query):
        return "delete_and_cancel"
    if method in ("PUT", "POST") or "list-type" in query or "uploads" in query or ("uploadId" in query and method == "GET"):
        return "put_copy_post_list"
    return "get_and_others"


class Connection(asyncio.Protocol):
    def __init__(self, counts):
        self.counts = counts
        self.buffer = bytearray()
        self.head = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while True:
            if self.head is None:
                end = self.buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                self.head = bytes(self.buffer[:end]).decode("latin-1")
                del self.buffer[:end + 4]
                found = re.search(r"\r\ncontent-length: *(\d+)", self.head, re.IGNORECASE)
                self.missing = int(found[1]) if found else 0
            if len(self.buffer) < self.missing:
                return
            body = bytes(self.buffer[:self.missing])
            del self.buffer[:self.missing]
            head, self.head = self.head, None
            self.request(head, body)

    def request(self, head, body):
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        url = urlsplit(target)
        query = parse_qs(url.query, keep_blank_values=True)
        path = unquote(url.path).lstrip("/")
        if path == "_counts":
            found = {"requests": [[*key, count] for key, count in self.counts.requests.items()],
                     "failures": list(self.counts.failures.items())}
            return self.answer(200, json.dumps(found).encode())
        if path.startswith("_seen/"):
            return self.answer(200, b"1" if path.removeprefix("_seen/") in self.counts.seen else b"0")
        bucket, _, key = path.partition("/")
        self.serve(method, bucket, key, query, head, body)

    def serve(self, method, bucket, key, query, head, body):
        named = key or unquote(query.get("prefix", [""])[0])
        if method == "POST" and "delete" in query:
            named = re.search(rb"<Key>(.*?)</Key>", body)[1].decode()
        caller = f"{bucket}/{named.split('/', 1)[0]}"
        self.counts.requests[caller, price_class(method, query)] += 1
        what = named.split("/", 1)[-1]
        if what.startswith("fail-") and named not in self.counts.failed:
            self.counts.failed.add(named)
            self.counts.failures[caller] += 1
            return self.answer(500, b"<Error><Code>InternalError</Code></Error>")
        if what.startswith("none-") and method in ("GET", "HEAD"):
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>", head_only=method == "HEAD")
        if method in ("GET", "HEAD"):
            return self.read(method, key, what, query, head)
        return self.write(method, key, query, head, body)

    def read(self, method, key, what, query, head):
        if "list-type" in query:
            keys = "".join(f"<Contents><Key>{key or 'k'}{number}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                           f"<ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>" for number in range(PAGE))
            return self.answer(200, f"<ListBucketResult><KeyCount>{PAGE}</KeyCount><IsTruncated>false</IsTruncated>"
                                    f"{keys}</ListBucketResult>".encode())
        if "tagging" in query:
            return self.answer(200, b"<Tagging><TagSet></TagSet></Tagging>")
        found = re.match(r"(?:fail-)?(get|stall)-(\d+)-", what)
        size = int(found[2]) if found else 1
        stalls = found is not None and found[1] == "stall"
        total = size + 1 if stalls else size
        wanted = re.search(r"\r\nrange: *bytes=(\d+)-(\d*)", head, re.IGNORECASE)
        if wanted and method == "GET":
            start, end = int(wanted[1]), min(int(wanted[2] or total - 1), total - 1)
            return self.answer(206, b"x" * (end - start + 1), content_range=f"bytes {start}-{end}/{total}")
        if method == "HEAD" or not stalls:
            return self.answer(200, b"x" * total, head_only=method == "HEAD")
        self.transport.write(self.headers(200, total) + b"x" * size)

    def write(self, method, key, query, head, body):
        if method == "DELETE":
            return self.answer(204)
        if "delete" in query:
            keys = re.findall(rb"<Key>(.*?)</Key>", body)
            deleted = b"".join(b"<Deleted><Key>" + key + b"</Key></Deleted>" for key in keys)
            return self.answer(200, b"<DeleteResult>" + deleted + b"</DeleteResult>")
        if "uploads" in query:
            return self.answer(200, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        if "partNumber" in query:
            self.counts.seen.add(key)
        if method == "POST":
            return self.answer(200, b"<CompleteMultipartUploadResult><ETag>&quot;e&quot;</ETag></CompleteMultipartUploadResult>")
        if "x-amz-copy-source:" in head.lower():
            return self.answer(200, b"<CopyObjectResult><ETag>&quot;e&quot;</ETag>"
                                    b"<LastModified>2026-01-01T00:00:00.000Z</LastModified></CopyObjectResult>")
        return self.answer(200)

    def headers(self, status, length, content_range=None):
        more = f"Content-Range: {content_range}\r\n" if content_range else ""
        return (f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nETag: \"e\"\r\n{more}"
                "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n").encode()

    def answer(self, status, body=b"", content_range=None, head_only=False):
        if status == 204:
            return self.transport.write(b"HTTP/1.1 204 X\r\n\r\n")
        self.transport.write(self.headers(status, len(body), content_range) + (b"" if head_only else body))


async def main():
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counts), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
