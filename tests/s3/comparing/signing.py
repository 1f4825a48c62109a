"""Signature Version 4 with every form of body, written after AWS's description, so that each part can be made invalid.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

import datetime
import hashlib
import hmac
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()

# The forms of a body, with the value of x-amz-content-sha256 (None: the body's hash).
FORMS = {
    "signed": None,
    "unsigned": UNSIGNED,
    "chunks": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "chunks, trailer": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "unsigned, trailer": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
}
CHUNK = 64 * 1024


def canonical_query(query):
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(str(value), safe='-_.~')}"
                           for name, value in query.items()))


def sign(server, method, path, query, headers, body, form, trailer=None, at=None, sha256=None, spoil=None):
    """Adds the signature to `headers` and returns the body as it is sent.

    `at` is the signer's time. `sha256` replaces the body's hash. `spoil` names the signature that is made invalid:
    "signature" (the request's), "chunk" or "trailer signature".
    """
    at = at or datetime.datetime.now(datetime.timezone.utc)
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{server.region}/s3/aws4_request"
    content = sha256 or FORMS[form] or hashlib.sha256(body).hexdigest()
    headers |= {"x-amz-date": stamp, "x-amz-content-sha256": content}
    chunked = form in ("chunks", "chunks, trailer", "unsigned, trailer")
    if chunked:
        headers["x-amz-decoded-content-length"] = str(len(body))
        headers["content-encoding"] = ",".join(["aws-chunked", *filter(None, [headers.get("content-encoding")])])
    if trailer:
        headers["x-amz-trailer"] = trailer[0]

    names = ";".join(sorted(headers))
    canonical = "\n".join([method, path, canonical_query(query),
                           *(f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers)), "",
                           names, content])
    key = _key(server.secret_access_key, scope)
    signature = _hmac(key, "\n".join(["AWS4-HMAC-SHA256", stamp, scope, _sha256(canonical.encode())])).hex()
    shown = _spoilt(signature) if spoil == "signature" else signature
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={server.access_key_id}/{scope}, "
                                f"SignedHeaders={names}, Signature={shown}")
    return _chunks(body, form, trailer, key, stamp, scope, signature, spoil) if chunked else body


def of_url(server, method, path, query, scope):
    """Returns the signature of a presigned URL whose only signed header is Host."""
    host = server.endpoint.split("//")[1]
    canonical = "\n".join([method, path, canonical_query(query), f"host:{host}", "", "host", UNSIGNED])
    text = "\n".join(["AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, _sha256(canonical.encode())])
    return _hmac(_key(server.secret_access_key, scope), text).hex()


def _chunks(body, form, trailer, key, stamp, scope, signature, spoil):
    signed = form != "unsigned, trailer"
    pieces = [body[start:start + CHUNK] for start in range(0, len(body), CHUNK)] + [b""]
    wire = b""
    for piece in pieces:
        extension = ""
        if signed:
            signature = _hmac(key, "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, signature, EMPTY,
                                              _sha256(piece)])).hex()
            extension = f";chunk-signature={_spoilt(signature) if spoil == 'chunk' else signature}"
        # The empty chunk is the last. The trailer or the empty line that ends the body follows it.
        wire += f"{len(piece):x}{extension}\r\n".encode() + piece + (b"\r\n" if piece else b"")
    if trailer:
        name, value = trailer
        wire += f"{name}:{value}\r\n".encode()
        if signed:
            said = f"{name}:{value}\n".encode()
            signature = _hmac(key, "\n".join(["AWS4-HMAC-SHA256-TRAILER", stamp, scope, signature,
                                              _sha256(said)])).hex()
            shown = _spoilt(signature) if spoil == "trailer signature" else signature
            wire += f"x-amz-trailer-signature:{shown}\r\n".encode()
    return wire + b"\r\n"


def _spoilt(signature):
    return ("1" if signature[0] == "0" else "0") + signature[1:]


def _key(secret, scope):
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _sha256(data):
    return hashlib.sha256(data).hexdigest()
