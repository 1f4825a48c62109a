"""A stand-in for the AWS services that credentials come from. The access key id of what they return shows where it comes
from."""

import json
import os
import re
from urllib.parse import parse_qs, urlsplit

import botocore.credentials
import botocore.session
import botocore.tokens

from support.http_server import Handler, start

LATER = "2199-01-01T00:00:00Z"
LATER_MILLIS = 7226582400000


class World:
    """An S3 server, an STS, an instance metadata service, a container's endpoint and an IAM Identity Center in one.

    It records the access key id, the token and the scope of each S3 request, and the tokens that other services get. The
    credentials of a role show which role was assumed, and with which credentials."""

    def __init__(self):
        self.ids, self.keys, self.tokens, self.scopes = [], [], [], []
        world = self

        class Requests(Handler):
            def signer(self):
                found = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
                return found.group(1) if found else "TOKEN"

            def json(self, status, **body):
                self.answer(status, json.dumps(body).encode(), **{"Content-Type": "application/json"})

            def keys(self, name):
                self.json(200, Code="Success", AccessKeyId=name, SecretAccessKey="s", Token="t", Expiration=LATER)

            def do_HEAD(self):
                world.ids.append(self.signer())
                world.keys.append((self.signer(), self.headers.get("x-amz-security-token")))
                scope = re.search(r"Credential=[^/]+/\d+/([^/]+/[^/]+)/", self.headers.get("Authorization", ""))
                world.scopes.append((self.path, scope and scope.group(1)))
                self.answer(200, ETag='"e"')

            def do_PUT(self):
                assert self.path == "/latest/api/token"
                self.answer(200, b"session")

            def do_GET(self):
                path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
                if path == "/latest/meta-data/iam/security-credentials/":
                    return self.answer(200, b"instance")
                if path == "/latest/meta-data/iam/security-credentials/instance":
                    return self.keys("INSTANCE")
                if path == "/container":
                    world.tokens.append(self.headers["Authorization"])
                    return self.keys("CONTAINER")
                if path == "/federation/credentials":
                    return self.portal(query["account_id"][0], query["role_name"][0])
                return self.answer(404)

            def portal(self, account, role):
                token = self.headers["x-amz-sso_bearer_token"]
                world.tokens.append(token)
                if token.startswith("revoked"):
                    return self.answer(401, b'{"message": "Session token not found or invalid"}',
                                       **{"x-amzn-ErrorType": "UnauthorizedException"})
                return self.json(200, roleCredentials={
                    "accessKeyId": f"SSO{role}{account}BY{token}", "secretAccessKey": "s", "sessionToken": "t",
                    "expiration": LATER_MILLIS})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/token":
                    assert json.loads(body)["refreshToken"] == "refresh"
                    return self.json(200, accessToken="renewed", tokenType="Bearer", expiresIn=28800,
                                     refreshToken="next")
                form = parse_qs(body.decode())
                action, role = form["Action"][0], form["RoleArn"][0].rsplit("/", 1)[1]
                external = form.get("ExternalId", [""])[0]
                name = f"{role}{external}BY{self.signer()}"
                if form["RoleSessionName"][0] == "my-session":
                    name += form["RoleSessionName"][0]
                body = (f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
                        f"<AccessKeyId>{name}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
                        f"<Expiration>{LATER}</Expiration></Credentials></{action}Result></{action}Response>")
                self.answer(200, body.encode())

        self.server, self.url = start(Requests)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def no_code(_prompt):
    raise EOFError("no MFA code can be entered")


def botocore_keys(monkeypatch, environment, profile=None):
    """The access key id and the token that botocore finds in this environment; None if it finds none."""
    with monkeypatch.context() as only:
        for name in list(os.environ):
            if name.startswith(("AWS_", "BOTO_")):
                only.delenv(name)
        for name, value in environment.items():
            only.setenv(name, value)
        # botocore looks up the home directory when it is imported.
        cache = f"{environment['HOME']}/.aws/sso/cache"
        only.setattr(botocore.credentials.SSOProvider, "_SSO_TOKEN_CACHE_DIR", cache)
        only.setattr(botocore.tokens.SSOTokenProvider, "_SSO_TOKEN_CACHE_DIR", cache)
        # It would ask for an MFA code at the terminal.
        only.setattr(botocore.credentials.AssumeRoleProvider.__init__, "__defaults__", (no_code, None, None))
        try:
            found = botocore.session.Session(profile=profile).get_credentials()
            found = found and found.get_frozen_credentials()
            return found and (found.access_key, found.token or None)
        except Exception:  # noqa: BLE001: botocore raises many types, KeyError and TypeError among them
            return None
