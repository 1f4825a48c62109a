"""Connections stay in step when a request is refused before its body was sent.

RFC 9110, 10.1.1 and RFC 9112, 9.3 and 9.6: the server says `Connection: close`, or takes the next request.
"""

from comparing.cases import case
from comparing.expecting import Connection

GIB = 1024 ** 3
REFUSED = {
    "taken": ("k", {"if-none-match": "*"}, 412),
    "not implemented": ("k", {"if-none-match": '"x"'}, 501),
    "too long a key": ("k" * 1025, {}, 400),
    "no such digest": ("k", {"content-md5": "x"}, 400),
}


# moto's server closes every connection.
@case(judges=("versitygw",))
def test_refused_before_the_body(on):
    on.put_object("put", Key="k", Body=b"harbour")
    for size in (1, 100, 1_000_000):
        for step, (key, headers, status) in REFUSED.items():
            connection = Connection(on.server, on.bucket)
            try:
                found, _ = connection.request("PUT", key, b"x" * size, headers)
                on.note(f"{step}, {size} bytes", answered=found).says(answered=status)
                after = "closed, and said so" if connection.closed else connection.request("GET", "k")[0]
                on.note(f"{step}, {size} bytes: next", well=after in (200, "closed, and said so")).says(well=True)
            except ConnectionError as error:
                on.note(f"{step}, {size} bytes: next", well=str(error)).says(well=True)
            finally:
                connection.close()
    on.get_object("unchanged", Key="k").says(Body=b"harbour")


@case(judges=())
def test_too_large(on):
    """5 GiB are the most that one call can bring; moto and versitygw want to see them first.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    """
    for step, length, answer in (("5 GiB", 5 * GIB, 100), ("a byte more", 5 * GIB + 1, 400)):
        connection = Connection(on.server, on.bucket)
        try:
            # The body's hash is not known before it has come.
            status, _ = connection.request("PUT", "k", length=length, sha256="UNSIGNED-PAYLOAD")
            on.note(step, answered=status).says(answered=answer)
        finally:
            connection.close()
    on.head_object("nothing came of it", Key="k").refuses(404, "404")


@case(judges=("versitygw",))
def test_an_empty_body(on):
    """Version 1 of the AWS CLI reads nothing rightly after an answer that came without `100 Continue`.

    Its next PutObject by the same connection waits for its answer until it gives up, so `s3 sync` of an empty file
    beside others fails now and then. RFC 9110, 10.1.1 lets a server leave the 100 out where there is no body, so it has
    to end the connection then, and to say so.
    """
    connection = Connection(on.server, on.bucket)
    try:
        status, asked = connection.request("PUT", "k")
        on.note("put", status=status, well=asked or connection.closed).says(status=200, well=True)
    finally:
        connection.close()
    on.head_object("head", Key="k").says(status=200, ContentLength=0)


# versitygw closes the connection after it, and does not say so.
@case(judges=())
def test_taken_with_its_body(on):
    connection = Connection(on.server, on.bucket)
    try:
        status, asked = connection.request("PUT", "k", b"harbour")
        on.note("put", status=status, asked=asked).says(status=200, asked=True)
        status, _ = connection.request("GET", "k")
        on.note("get by the same connection", status=status).says(status=200)
    finally:
        connection.close()
