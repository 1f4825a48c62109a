"""Connections stay in step when a request is refused before its body was sent.

RFC 9110, 10.1.1 and RFC 9112, 9.3 and 9.6: the server says `Connection: close`, or takes the next request.
"""

from comparing.cases import case
from comparing.expecting import Connection

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
