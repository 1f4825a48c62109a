"""Requests as a program without credentials makes them: with a URL or a form that it was given."""

import http.client
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes


def send(method, url, headers=None, body=None):
    """Sends a request to a URL exactly as it is."""
    there = urlsplit(url)
    connection = http.client.HTTPConnection(there.hostname, there.port, timeout=60)
    try:
        target = there.path + (f"?{there.query}" if there.query else "")
        connection.request(method, target, body, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def post_form(url, fields, data, filename="photo.png", after=()):
    """Sends a form as a browser does. `fields` are (name, value) pairs; the file comes after them."""
    boundary = uuid.uuid4().hex

    def part(name, value):
        value = value.encode() if isinstance(value, str) else value
        return (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n').encode() + value + b"\r\n"

    file = (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n").encode() + data + b"\r\n"
    body = (b"".join(part(*each) for each in fields) + file + b"".join(part(*each) for each in after)
            + f"--{boundary}--\r\n".encode())
    return send("POST", url, {"content-type": f"multipart/form-data; boundary={boundary}"}, body)
