"""Prints the keys and tokens of src/auth/jwt/tests/tokens.json, which joserfc makes.

Run it with tests/.tools/venv/bin/python, and replace the file with its output. The keys are new each time."""

import base64
import hashlib
import hmac
import json
import warnings

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwk, jws

ISSUER, AUDIENCE = "https://issuer.example", "longshore"
LATER, EARLIER = 4_102_444_800, 1_600_000_000
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]

warnings.simplefilter("ignore")


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes):
    """The claims of a pod's token, with changes; `None` removes a claim."""
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "system:serviceaccount:billing:pod", "iat": EARLIER, "exp": LATER,
             "kubernetes.io": {"namespace": "billing"}, "groups": ["writers", "readers"], **changes}
    return {name: value for name, value in whole.items() if value is not None}


def signed(key, header, payload):
    if not isinstance(payload, bytes):
        payload = json.dumps(payload).encode()
    return jws.serialize_compact(header, payload, key, algorithms=ALGORITHMS)


def by_hand(header, payload, signature=b""):
    """A token with a header that no library makes."""
    message = ".".join(encoded(json.dumps(part).encode()) for part in (header, payload))
    signature = signature(message.encode()) if callable(signature) else signature
    return f"{message}.{encoded(signature)}"


def public(key, **members):
    return {**key.as_dict(private=False), **members}


rsa, other_rsa, only_rs256 = (jwk.RSAKey.generate_key(2048) for _ in range(3))
for_encryption, short = jwk.RSAKey.generate_key(2048), jwk.RSAKey.generate_key(1024)
p256, p384 = (jwk.ECKey.generate_key(curve) for curve in ("P-256", "P-384"))
ed25519 = jwk.OKPKey.generate_key("Ed25519")
shared = jwk.OctKey.generate_key(256)

JWKS = {"keys": [
    public(rsa, kid="rsa"),
    public(only_rs256, kid="only-rs256", alg="RS256", use="sig", key_ops=["verify"]),
    public(for_encryption, kid="for-encryption", use="enc"),
    public(short, kid="short"),
    public(p256, kid="p256", alg="ES256"),
    public(p384, kid="p384"),
    public(ed25519, kid="ed25519"),
    {**shared.as_dict(), "kid": "shared"},
    {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "unknown-curve"},
    "not an object",
]}

pem = rsa.as_pem(private=False)
der = rsa.as_der(private=False)


def hs256(secret):
    return lambda message: hmac.new(secret, message, hashlib.sha256).digest()


def rs256(message):
    return rsa.private_key.sign(message, padding.PKCS1v15(), SHA256())


def rs(header, payload):
    return signed(rsa, {"alg": "RS256", "kid": "rsa", **header}, payload)


good = rs({}, claims())
ACCEPTED = {
    "RS256": good,
    **{name: signed(rsa, {"alg": name, "kid": "rsa"}, claims()) for name in ALGORITHMS[1:6]},
    "RS256 of a key with alg": signed(only_rs256, {"alg": "RS256", "kid": "only-rs256"}, claims()),
    "ES256": signed(p256, {"alg": "ES256", "kid": "p256"}, claims()),
    "ES384": signed(p384, {"alg": "ES384", "kid": "p384"}, claims()),
    "EdDSA": signed(ed25519, {"alg": "EdDSA", "kid": "ed25519"}, claims()),
    "without kid": signed(p384, {"alg": "ES384"}, claims()),
    "typ JWT": rs({"typ": "JWT"}, claims()),
    "typ at+jwt": rs({"typ": "application/AT+JWT"}, claims()),
    "a list of audiences": rs({}, claims(aud=["other", AUDIENCE])),
    "fractions of seconds": rs({}, claims(exp=LATER + 0.5, nbf=EARLIER + 0.25)),
    "jku and x5u of an attacker": rs({"jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"}, claims()),
}

# Why they are rejected: the variants of JwtRejection in src/auth/jwt/rejection.rs.
REJECTED = {
    "alg none": ("format", by_hand({"alg": "none", "kid": "rsa"}, claims())),
    "alg None": ("format", by_hand({"alg": "None", "kid": "rsa"}, claims())),
    "no alg": ("format", by_hand({"kid": "rsa"}, claims())),
    "HS256 with the PEM of the public key": ("format", by_hand({"alg": "HS256", "kid": "rsa"}, claims(), hs256(pem))),
    "HS256 with the DER of the public key": ("format", by_hand({"alg": "HS256", "kid": "rsa"}, claims(), hs256(der))),
    "HS256 with the JWK's modulus": ("format", by_hand(
        {"alg": "HS256", "kid": "rsa"}, claims(), hs256(rsa.as_dict(private=False)["n"].encode()))),
    "HS256 with an oct key of the JWKS": ("format", by_hand({"alg": "HS256", "kid": "shared"}, claims(), hs256(shared.raw_value))),
    "RS256 header over an ES256 signature": ("key", by_hand(
        {"alg": "RS256", "kid": "p256"}, claims(), base64.urlsafe_b64decode(ACCEPTED["ES256"].split(".")[2] + "=="))),
    "another key with the same kid": ("signature", signed(other_rsa, {"alg": "RS256", "kid": "rsa"}, claims())),
    "a key of the JWKS under the kid of another": ("signature", signed(only_rs256, {"alg": "RS256", "kid": "rsa"}, claims())),
    "an algorithm that the key is not for": ("key", signed(only_rs256, {"alg": "RS512", "kid": "only-rs256"}, claims())),
    "a key for encryption": ("key", signed(for_encryption, {"alg": "RS256", "kid": "for-encryption"}, claims())),
    "a key that is too short": ("key", signed(short, {"alg": "RS256", "kid": "short"}, claims())),
    "without kid, with two possible keys": ("key", signed(rsa, {"alg": "RS256"}, claims())),
    "an unknown kid": ("key", signed(rsa, {"alg": "RS256", "kid": "other"}, claims())),
    "a kid that is not a string": ("format", by_hand({"alg": "RS256", "kid": ["rsa"]}, claims(), rs256)),
    "a key in the header": ("signature", signed(
        other_rsa, {"alg": "RS256", "kid": "rsa", "jwk": other_rsa.as_dict(private=False)}, claims())),
    "duplicate names in the header": (
        "format", ".".join([encoded(b'{"alg": "RS256", "kid": "other", "kid": "rsa"}'), *good.split(".")[1:]])),
    "crit": ("format", by_hand({"alg": "RS256", "kid": "rsa", "crit": ["exp"], "exp": LATER}, claims(), rs256)),
    "b64": ("format", by_hand({"alg": "RS256", "kid": "rsa", "b64": True}, claims(), rs256)),
    "typ of a logout token": ("format", rs({"typ": "logout+jwt"}, claims())),
    "expired": ("expired", rs({}, claims(exp=EARLIER + 60))),
    "exp in milliseconds as a string": ("format", rs({}, claims(exp=str(LATER)))),
    "exp null": ("format", rs({}, json.dumps({**claims(), "exp": None}).encode())),
    "no exp": ("format", rs({}, claims(exp=None))),
    "from the future": ("not yet", rs({}, claims(nbf=LATER - 60))),
    "issued in the future": ("not yet", rs({}, claims(iat=LATER - 60))),
    "nbf as a string": ("format", rs({}, claims(nbf="0"))),
    "another issuer": ("caller", rs({}, claims(iss="https://other.example"))),
    "an issuer with a slash": ("caller", rs({}, claims(iss=ISSUER + "/"))),
    "a list of issuers": ("caller", rs({}, claims(iss=[ISSUER]))),
    "no issuer": ("caller", rs({}, claims(iss=None))),
    "another audience": ("caller", rs({}, claims(aud="other"))),
    "a longer audience": ("caller", rs({}, claims(aud=AUDIENCE + "2"))),
    "a list of other audiences": ("caller", rs({}, claims(aud=["a", "b"]))),
    "no audience": ("caller", rs({}, claims(aud=None))),
    "an audience as a name": ("caller", rs({}, claims(aud={AUDIENCE: True}))),
    "another claim": ("caller", rs({}, claims(**{"kubernetes.io": {"namespace": "billing2"}}))),
    "a claim at another depth": ("caller", rs({}, claims(**{"kubernetes.io": None, "namespace": "billing"}))),
    "a claim that is not a string": ("caller", rs({}, claims(**{"kubernetes.io": {"namespace": {"billing": 1}}}))),
    "no claim": ("caller", rs({}, claims(**{"kubernetes.io": None}))),
    "duplicate claims": ("format", rs({}, json.dumps(claims()).replace('"aud"', '"aud": "other", "aud"').encode())),
    "duplicate claims, one of them escaped": ("format", rs(
        {}, json.dumps(claims()).replace('"aud"', '"\\u0061ud": "other", "aud"').encode())),
    "claims that are a list": ("format", rs({}, json.dumps([claims()]).encode())),
    "claims that are no JSON": ("format", rs({}, b"\xff\xfe")),
    "an empty signature": ("signature", good.rsplit(".", 1)[0] + "."),
    "a changed signature": ("signature", good[:-6] + ("AAAAAA" if good[-6:] != "AAAAAA" else "BBBBBB")),
    "a truncated signature": ("signature", good[:-4]),
    "changed claims": ("signature", ".".join([good.split(".")[0], rs({}, claims(sub="other")).split(".")[1], good.split(".")[2]])),
    "changed header": ("signature", ".".join([ACCEPTED["RS512"].split(".")[0], *good.split(".")[1:]])),
    "a signature of another token": ("signature", ".".join([*good.split(".")[:2], rs({}, claims(sub="x")).split(".")[2]])),
}

print(json.dumps({"jwks": JWKS, "accepted": ACCEPTED, "rejected": REJECTED}, indent=1))
