"""Plain HTTP requests, signed here if at all, so that a case controls every header and the form of the body."""

import http.client
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from . import signing


@dataclass
class HttpAnswer:
    status: int
    headers: dict
    body: bytes

    def error_code(self):
        found = re.search(rb"<Error>.*?<Code>(.*?)</Code>", self.body, re.DOTALL)
        return found[1].decode() if found else None


def send(server, method, bucket, key="", query=None, headers=None, body=b"", sign=True, form="signed", trailer=None,
         **signed):
    """Sends a request for `key`. `form` is the form of the body (see signing.FORMS). `trailer` is a (name, value) pair."""
    path = quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/-_.~")
    query = query or {}
    headers = {name.lower(): value for name, value in (headers or {}).items()}
    there = urlsplit(server.endpoint)
    headers.setdefault("host", there.netloc)
    if sign:
        body = signing.sign(server, method, path, query, headers, body, form, trailer, **signed)
    target = path + ("?" + signing.canonical_query(query) if query else "")
    return _exchange(there, method, target, headers, body)


def fetch(method, url, headers=None, body=b""):
    """Sends a request to a URL as it is, without adding a signature."""
    there = urlsplit(url)
    target = there.path + (f"?{there.query}" if there.query else "")
    return _exchange(there, method, target, {"host": there.netloc, **(headers or {})}, body)


def _exchange(there, method, target, headers, body):
    connection = http.client.HTTPConnection(there.hostname, there.port, timeout=60)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        if "content-length" not in headers and (body or method in ("PUT", "POST")):
            headers = {**headers, "content-length": str(len(body))}
        for name, value in headers.items():
            connection.putheader(name, value.encode() if isinstance(value, str) else value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return HttpAnswer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()
