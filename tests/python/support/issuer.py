"""An issuer of JWTs: its keys, its JWKS at a URL, and the requests for it."""

import base64
import json
import threading
import time
import warnings

from joserfc import jwk, jws

from support.http_server import Handler, start

# joserfc warns of the name EdDSA, which issuers still use.
warnings.filterwarnings("ignore", module="joserfc")

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
NAME, AUDIENCE = "https://issuer.example", "longshore"
LONGEST_HANG = 60


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pod(namespace="billing", **changes):
    """The claims of a pod's ServiceAccount token, with changes; `None` removes a claim."""
    now = int(time.time())
    claims = {"iss": NAME, "aud": [AUDIENCE], "sub": f"system:serviceaccount:{namespace}:default", "iat": now, "nbf": now,
              "exp": now + 3600, "kubernetes.io": {"namespace": namespace}, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def signed(key, claims, **header):
    header = {"alg": "RS256", "kid": key.kid, **header}
    return jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=ALGORITHMS)


class Issuer:
    """A server whose answer to requests for the JWKS can be changed."""

    def __init__(self):
        self.key = self.new_key("first")
        self.other = self.new_key("second")
        self.requests = []
        self.hanging = threading.Event()
        self.publish(self.key)
        issuer = self

        class Requests(Handler):
            def do_GET(self):
                issuer.requests.append((self.path, self.headers.get("Authorization")))
                if self.path != "/keys":
                    return self.answer(404)
                if issuer.hanging.is_set():
                    time.sleep(LONGEST_HANG)
                status, body, headers = issuer.answer
                try:
                    self.answer(status, body, **headers)
                except OSError:
                    # The server does not read more than it accepts.
                    self.close_connection = True

        self.server, self.address = start(Requests)
        self.url = f"{self.address}/keys"

    def new_key(self, kid):
        return jwk.RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})

    def answers(self, status, body=b"", **headers):
        self.answer = status, body, headers

    def publish(self, *keys):
        jwks = {"keys": [key.as_dict(private=False) for key in keys]}
        self.answers(200, json.dumps(jwks).encode(), **{"Content-Type": "application/json"})

    def token(self, key=None, **claims):
        return signed(key or self.key, pod(**claims))

    def close(self):
        self.server.shutdown()
        self.server.server_close()
