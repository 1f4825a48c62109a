"""Connections stay usable when a request is rejected before its body is sent.

RFC 9110, 10.1.1 and RFC 9112, 9.3 and 9.6: the server sends `Connection: close`, or accepts the next request.
"""

from comparing.cases import case
from comparing.expecting import Connection

GIB = 1024 ** 3
REFUSED = {
    "existing key": ("k", {"if-none-match": "*"}, 412),
    "not implemented": ("k", {"if-none-match": '"x"'}, 501),
    "too long a key": ("k" * 1025, {}, 400),
    "invalid digest": ("k", {"content-md5": "x"}, 400),
}


# moto's server closes every connection.
@case(judges=("versitygw",))
def test_rejected_before_the_body(on):
    on.put_object("put", Key="k", Body=b"harbour")
    for size in (1, 100, 1_000_000):
        for step, (key, headers, status) in REFUSED.items():
            connection = Connection(on.server, on.bucket)
            try:
                found, _ = connection.request("PUT", key, b"x" * size, headers)
                on.note(f"{step}, {size} bytes", answered=found).says(answered=status)
                after = "closed as announced" if connection.closed else connection.request("GET", "k")[0]
                on.note(f"{step}, {size} bytes: next", well=after in (200, "closed as announced")).says(well=True)
            except ConnectionError as error:
                on.note(f"{step}, {size} bytes: next", well=str(error)).says(well=True)
            finally:
                connection.close()
    on.get_object("unchanged", Key="k").says(Body=b"harbour")


@case(judges=())
def test_too_large(on):
    """One PUT can have at most 5 GiB. moto and versitygw read the body before they check.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    """
    for step, length, answer in (("5 GiB", 5 * GIB, 100), ("one byte more", 5 * GIB + 1, 400)):
        connection = Connection(on.server, on.bucket)
        try:
            # The body's hash is not known before the body is sent.
            status, _ = connection.request("PUT", "k", length=length, sha256="UNSIGNED-PAYLOAD")
            on.note(step, answered=status).says(answered=answer)
        finally:
            connection.close()
    on.head_object("nothing was stored", Key="k").refuses(404, "404")


@case(judges=("versitygw",))
def test_an_empty_body(on):
    """After a response without `100 Continue`, version 1 of the AWS CLI misreads the next response on the connection.

    Its next PutObject on the connection waits for the response until it times out, so `s3 sync` of an empty file among
    others fails now and then. RFC 9110, 10.1.1 allows a server to omit the 100 if there is no body. A server that omits
    it must therefore announce that it closes the connection, and close it.
    """
    connection = Connection(on.server, on.bucket)
    try:
        status, asked = connection.request("PUT", "k")
        on.note("put", status=status, well=asked or connection.closed).says(status=200, well=True)
    finally:
        connection.close()
    on.head_object("head", Key="k").says(status=200, ContentLength=0)


# versitygw then closes the connection without announcing it.
@case(judges=())
def test_accepted_with_the_body(on):
    connection = Connection(on.server, on.bucket)
    try:
        status, asked = connection.request("PUT", "k", b"harbour")
        on.note("put", status=status, asked=asked).says(status=200, asked=True)
        status, _ = connection.request("GET", "k")
        on.note("get on the same connection", status=status).says(status=200)
    finally:
        connection.close()
