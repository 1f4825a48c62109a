"""A server that plays every source of AWS credentials, and S3. Each secret that it returns, and each one that it is sent,
contains a name of its own, so that a test can search for it."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

EXPIRY = "2199-01-01T00:00:00Z"


class Handler(BaseHTTPRequestHandler):
    """Answers with a body of known length, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256


def start(handler):
    """Starts a server with this handler on a free port. Returns it and its URL."""
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


def secret(name):
    """A secret that cannot be part of anything else, and changes when it is percent-encoded."""
    return f"{name}/Secret+That=IsNever/Shown0123"


class Identity:
    """The server. While `broken`, each answer about credentials is an error that repeats what it was sent. While
    `rejecting`, S3 rejects all credentials in the same way."""

    def __init__(self):
        self.secrets, self.sources = set(), set()
        self.broken = self.rejecting = False
        identity = self

        class Requests(Handler):
            def credentials(self, source, sent, answer):
                identity.sources.add(source)
                if identity.broken:
                    error = f"<Error><Code>InvalidIdentityToken</Code><Message>{sent}</Message></Error>"
                    return self.answer(400, f"<ErrorResponse>{error}</ErrorResponse>".encode())
                secrets = [identity.made(f"{source}-key"), identity.made(f"{source}-token")]
                self.answer(200, answer(*secrets).encode())

            def do_PUT(self):
                if self.path == "/latest/api/token":
                    return self.answer(200, identity.made("imds-session").encode())
                self.s3()

            def do_GET(self):
                def document(key, token):
                    return json.dumps({"Code": "Success", "AccessKeyId": "AKID", "SecretAccessKey": key, "Token": token,
                                       "Expiration": EXPIRY})
                if self.path == "/latest/meta-data/iam/security-credentials/":
                    return self.answer(200, b"role")
                if self.path.startswith("/latest/meta-data/"):
                    return self.credentials("imds", self.headers["x-aws-ec2-metadata-token"], document)
                if self.path == "/container":
                    return self.credentials("container", self.headers["Authorization"], document)
                self.s3()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                action = parse_qs(body)["Action"][0]

                def response(key, token):
                    return (f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
                            f"<Credentials><AccessKeyId>AKID</AccessKeyId><SecretAccessKey>{key}</SecretAccessKey>"
                            f"<SessionToken>{token}</SessionToken><Expiration>{EXPIRY}</Expiration></Credentials>"
                            f"</{action}Result></{action}Response>")
                sent = body + str(dict(self.headers)).replace("<", "&lt;")
                self.credentials(action, sent, response)

            def s3(self):
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                if identity.rejecting:
                    sent = re.sub("[<>&]", "", str(dict(self.headers)))
                    error = f"<Error><Code>InvalidAccessKeyId</Code><Message>{sent}</Message></Error>"
                    return self.answer(403, error.encode())
                self.answer(200, b"", ETag='"e"')

            def do_HEAD(self):
                self.answer(403 if identity.rejecting else 200, ETag='"e"')

        self.server, self.url = start(Requests)

    def made(self, name):
        """A secret that a test searches for."""
        made = secret(name)
        self.secrets.add(made)
        return made

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
