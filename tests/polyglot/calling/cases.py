"""The cases, shared by all languages: the call that a client makes, and the result that it must see.

A client receives a case as JSON. `call`, `address`, `metadata`, `store` and `key` define the call; `get`, `get_ranges` and
`upload` below explain the other fields. The client returns what it saw as JSON too, with the field names of `expect`.
"""

import random
from dataclasses import dataclass, field, replace

from support.client import MIB, crc32c

KIB = 1024
# The deadline of a call that should not reach it.
TIMEOUT_MS = 30_000
# The deadline of a call that should reach it: long enough for the server to send everything that it can.
SHORT_MS = 1_000
# The largest message that the server accepts from a caller by default (LONGSHORE_MAX_MESSAGE_BYTES).
LARGEST_MESSAGE = 4 * MIB


def contents(size=24 * MIB):
    """Returns the bytes that every object begins with. Each block of 64 random bytes occurs four times in a row, so that
    gzip compresses them well and quickly. The whole repeats at an odd length, so that misplaced bytes are detected."""
    some = random.Random(1).randbytes(MIB // 4)
    piece = b"odd" + b"".join(some[start:start + 64] * 4 for start in range(0, len(some), 64))
    return (piece * (size // len(piece) + 1))[:size]


DATA = contents()


@dataclass(frozen=True)
class Case:
    """One call of one client."""

    name: str
    # Sent to the client.
    call: str
    key: str
    fields: dict
    # The values that the client must see, by name.
    expect: dict
    # The server to call: `demo`, or `broken` with its token.
    server: str = "demo"
    # The statuses that the server may log, if they are not the one that the client sees. Several if the client may give up
    # first.
    logged: tuple = ()
    # The size of the object that must exist afterwards, or None if none may exist.
    stored: int | None = None
    metadata: dict = field(default_factory=dict)

    @property
    def given_up(self):
        return self.fields.get("ending", "close") != "close"

    @property
    def writes(self):
        return self.call in ("Upload", "WriteUpload", "WriteUploadWithProgress")


def failing(code, reason):
    return {"code": code, "reason": reason, "domain": "longshore"}


def get(name, key, size=None, expect=None, **more):
    """`size` is the object's size. With `cancel`, the client cancels when it has received the first bytes."""
    cancel, timeout = more.pop("cancel", False), more.pop("timeout_ms", TIMEOUT_MS)
    fields = {"cancel": cancel, "timeout_ms": timeout, "store": more.pop("store", "")}
    expect = expect or {"code": "OK", "bytes": size, "size": size, "key": key}
    return Case(name, "Get", key, fields, expect, **more)


def get_ranges(name, ranges, expect=None, coalesce=None, key="there", **more):
    """`ranges` are pairs of a start and an exclusive end. `coalesce` is `coalesce_bytes`."""
    fields = {"ranges": ranges, "coalesce": coalesce, "timeout_ms": TIMEOUT_MS, "store": ""}
    expect = expect or {"code": "OK", "bytes": sum(end - start for start, end in ranges)}
    return Case(name, "GetRanges", key, fields, expect, **more)


def upload(name, chunks, expect=None, call="Upload", **more):
    """`chunks` are the sizes of the chunks, which are consecutive pieces of DATA. Each has a checksum unless `bare` is set;
    that of the chunk with the index `damaged` is wrong. `size` is the size that UploadSpec announces, `finish` is what
    UploadFinish or FinishUpload claims, and `offset` is the offset at which WriteUpload begins. After the last chunk, the
    client does what `ending` says: it closes its side (`close`), cancels after a pause (`cancel`), or waits for its
    deadline (`wait`)."""
    size = sum(chunks)
    fields = {
        "chunks": chunks,
        "size": more.pop("size", None),
        "finish": more.pop("finish", {"size": size}),
        "bare": more.pop("bare", False),
        "damaged": more.pop("damaged", -1),
        "offset": more.pop("offset", 0),
        "ending": more.pop("ending", "close"),
        "timeout_ms": more.pop("timeout_ms", TIMEOUT_MS),
        "store": more.pop("store", ""),
    }
    if expect is None:
        expect, more["stored"] = {"code": "OK", "size": size, **more.pop("also", {})}, size
    key = more.pop("key", f"{call} {name}")
    return Case(f"{call}, {name}", call, key, fields, expect, **more)


def write(name, chunks, expect=None, **more):
    return upload(name, chunks, expect, call="WriteUpload", **more)


def write_with_progress(name, chunks, expect=None, **more):
    """The reported progress must grow, and end with the size that was written. Go sends everything before it reads."""
    return upload(name, chunks, expect, call="WriteUploadWithProgress", **more)


def messages(size, each):
    """Splits `size` bytes into messages of `each` bytes."""
    return [min(each, size - start) for start in range(0, size, each)]


# The size of an upload in one part, and of one in several parts: the threshold is 8 MiB.
SOME, MUCH = 3 * MIB + 3, 8 * MIB + 5
# Around the sizes up to which Longshore sends data in one frame with the message's head (8 KiB), and in one message with
# the info (64 KiB).
SIZES = [0, 1, 4 * KIB, 8 * KIB - 1, 8 * KIB, 8 * KIB + 1, 64 * KIB, 64 * KIB + 1, SOME]
# The size of calls that fail whatever their size.
LITTLE = 100_000
WHOLE = {"size": SOME, "crc32c": crc32c(DATA[:SOME])}

CANCELLED = {"code": "CANCELLED"}
TOO_LATE = {"code": "DEADLINE_EXCEEDED"}
# Both the client and the server give up at the deadline, and either may be first.
LATE = ("DEADLINE_EXCEEDED", "CANCELLED")
DAMAGED = failing("DATA_LOSS", "CHECKSUM_MISMATCH")
DAMAGED_IN_S3 = failing("DATA_LOSS", "BYTES_DAMAGED")
INVALID = failing("INVALID_ARGUMENT", "INVALID_FIELD")
MISSING = failing("NOT_FOUND", "OBJECT_NOT_FOUND")
NO_TOKEN = failing("UNAUTHENTICATED", "TOKEN_MISSING")
UNKNOWN_TOKEN = failing("UNAUTHENTICATED", "TOKEN_UNKNOWN")
TOO_LARGE = failing("RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")
ANONYMOUS = {"server": "broken", "metadata": {"x-longshore-tenant": "acme"}}
STRANGER = {"server": "broken", "metadata": {"authorization": "Bearer nobody's"}}

READS = [
    *(get(f"Get, {size} bytes", f"sizes/{size}", size) for size in SIZES),
    get("Get, a missing key", "missing", expect=MISSING),
    get("Get, an unknown store", "there", store="гавань", expect=failing("NOT_FOUND", "STORE_NOT_FOUND")),
    get("Get, an empty key", "", expect=INVALID),
    get("Get, no token", "damaged/1", expect=NO_TOKEN, **ANONYMOUS),
    get("Get, an unknown token", "damaged/1", expect=UNKNOWN_TOKEN, **STRANGER),
    # Detected before the first message, and after all bytes have arrived.
    get("Get, a small damaged object", f"damaged/{KIB}", expect=DAMAGED_IN_S3 | {"bytes": 0}, server="broken"),
    get("Get, a damaged object", f"damaged/{MIB}", expect=DAMAGED_IN_S3 | {"bytes": MIB}, server="broken"),
    get("Get, an object that is replaced during the read", f"replaced/{MIB}",
        expect=failing("ABORTED", "OBJECT_CHANGED") | {"bytes": MIB // 2}, server="broken"),
    get("Get, cancelled", "large", cancel=True, expect=CANCELLED, logged=("CANCELLED",)),
    get("Get, cancelled while S3 is silent", f"stalled/{MIB}", cancel=True, expect=CANCELLED, logged=("CANCELLED",),
        server="broken"),
    get("Get, a deadline in the middle of the object", f"stalled/{MIB}", expect=TOO_LATE | {"bytes": MIB // 2}, logged=LATE,
        timeout_ms=SHORT_MS, server="broken"),
    get("Get, a deadline before the first message", f"stalled/{KIB}", expect=TOO_LATE | {"bytes": 0}, logged=LATE,
        timeout_ms=SHORT_MS, server="broken"),
    *(get_ranges(f"GetRanges, {what}", ranges, coalesce=coalesce)
      for what, coalesce in [("fetched together", None), ("fetched one by one", 0)]
      for ranges in [[(10, 20), (MIB, 3 * MIB), (0, 64 * KIB + 1), (15, 30), (5, 5), (8192, 16385)]]),
    get_ranges("GetRanges, an empty range", [(7, 7)]),
    get_ranges("GetRanges, beyond the end", [(0, 1), (SOME, SOME + 1)],
               expect=failing("OUT_OF_RANGE", "RANGE_NOT_SATISFIABLE")),
    get_ranges("GetRanges, no ranges", [], expect=INVALID),
    get_ranges("GetRanges, a missing key", [(0, 1)], key="missing", expect=MISSING),
    get_ranges("GetRanges, no token", [(0, 1)], expect=NO_TOKEN, **ANONYMOUS),
]

UPLOADS = [
    upload("no chunk", []),
    upload("an empty chunk", [0]),
    upload("empty chunks between others", [0, 3, 0, 0, 70_000, 0]),
    upload("messages of 7 bytes", messages(5_000, 7)),
    upload("messages of 16 KiB", messages(SOME, 16 * KIB), finish=WHOLE, also={"parts": 0}),
    upload("messages of 1 MiB", messages(SOME, MIB), finish=WHOLE, also={"parts": 0}),
    upload("messages without checksums", messages(LITTLE, 16 * KIB), bare=True),
    upload("several parts", messages(MUCH, MIB), also={"parts": 2}),
    # 64 bytes are left for the fields in front of the data.
    upload("the largest message", [LARGEST_MESSAGE - 64]),
    upload("a message that is too large", [LARGEST_MESSAGE + 1], expect=TOO_LARGE),
    upload("a damaged first chunk", messages(SOME, MIB), damaged=0, expect=DAMAGED),
    upload("a damaged last chunk", messages(LITTLE, 16 * KIB), damaged=6, expect=DAMAGED),
    upload("a wrong size at the end", [1000], finish={"size": 999},
           expect=failing("INVALID_ARGUMENT", "SIZE_MISMATCH")),
    upload("a wrong checksum at the end", [1000], finish={"crc32c": 1}, expect=DAMAGED),
    upload("an empty key", messages(SOME, 16 * KIB), key="", expect=INVALID),
    upload("an unknown store", [1], store="гавань", expect=failing("NOT_FOUND", "STORE_NOT_FOUND")),
    upload("no token", messages(SOME, 16 * KIB), expect=NO_TOKEN, **ANONYMOUS),
    upload("cancelled", messages(LITTLE, 16 * KIB), size=SOME, ending="cancel", expect=CANCELLED, logged=("CANCELLED",)),
    upload("cancelled with parts in flight", messages(MUCH, MIB), size=2 * MUCH, ending="cancel", expect=CANCELLED,
           logged=("CANCELLED",)),
    upload("cancelled, of unknown size", messages(LITTLE, 16 * KIB), ending="cancel", expect=CANCELLED,
           logged=("CANCELLED",)),
    upload("a deadline", messages(LITTLE, 16 * KIB), size=SOME, ending="wait", timeout_ms=SHORT_MS, expect=TOO_LATE,
           logged=LATE),
    upload("a deadline, of unknown size", messages(LITTLE, 16 * KIB), ending="wait", timeout_ms=SHORT_MS, expect=TOO_LATE,
           logged=LATE),
]

WRITES = [
    write("no chunk", []),
    write("messages of 7 bytes", messages(5_000, 7)),
    write("messages of 16 KiB", messages(SOME, 16 * KIB)),
    write("messages of 1 MiB", messages(SOME, MIB)),
    write("messages without checksums", messages(LITTLE, 16 * KIB), bare=True),
    write("several parts", messages(MUCH, MIB)),
    write("a message that is too large", [LARGEST_MESSAGE + 1], expect=TOO_LARGE),
    write("a damaged first chunk", messages(SOME, MIB), damaged=0, expect=DAMAGED),
    write("a wrong offset", messages(SOME, 16 * KIB), offset=1, expect=failing("OUT_OF_RANGE", "UPLOAD_OFFSET_MISMATCH")),
    write("cancelled", messages(LITTLE, 16 * KIB), ending="cancel", expect=CANCELLED, logged=("CANCELLED",)),
    write("a deadline", messages(LITTLE, 16 * KIB), ending="wait", timeout_ms=SHORT_MS, expect=TOO_LATE, logged=LATE),
]

WRITES_WITH_PROGRESS = [
    write_with_progress("no chunk", []),
    write_with_progress("messages of 16 KiB", messages(SOME, 16 * KIB)),
    write_with_progress("several parts", messages(2 * MUCH, MIB)),
    write_with_progress("a message that is too large", [LARGEST_MESSAGE + 1], expect=TOO_LARGE),
    write_with_progress("a damaged last chunk", messages(MUCH, MIB), damaged=8, expect=DAMAGED),
    write_with_progress("a wrong offset", messages(LITTLE, 16 * KIB), offset=1,
                        expect=failing("OUT_OF_RANGE", "UPLOAD_OFFSET_MISMATCH")),
    write_with_progress("cancelled", messages(LITTLE, 16 * KIB), ending="cancel", expect=CANCELLED,
                        logged=("CANCELLED",)),
    write_with_progress("a deadline", messages(LITTLE, 16 * KIB), ending="wait", timeout_ms=SHORT_MS, expect=TOO_LATE,
                        logged=LATE),
]

SINGLES = READS + UPLOADS + WRITES + WRITES_WITH_PROGRESS
COMPRESSED = ", compressed"


def twin(case):
    """Returns the same call with compressed messages."""
    key = case.key + COMPRESSED if case.writes and case.key else case.key
    return replace(case, name=case.name + COMPRESSED, key=key, fields=case.fields | {"gzip": True})


CASES = {case.name: case for single in SINGLES for case in (single, twin(single))}
NUMBERS = {name: number for number, name in enumerate(CASES)}
WRITTEN = [case.key for case in CASES.values() if case.writes and case.key]
assert len(set(WRITTEN)) == len(WRITTEN), "two cases write the same key"


def request_id(language, name):
    return f"{language}-{NUMBERS[name]}"


def key_of(case, language):
    """Each language writes its own keys. All languages read the same keys."""
    return f"{language}/{case.key}" if case.writes and case.key else case.key


def told(case, language, servers):
    """Returns a case in the form that a client receives."""
    server = servers[case.server]
    gzip = case.fields.get("gzip", False)
    return {
        "name": case.name, "call": case.call, "key": key_of(case, language), **case.fields, "gzip": gzip,
        "address": server.compressed if gzip else server.address,
        "metadata": (case.metadata or server.metadata) | {"x-request-id": request_id(language, case.name)},
    }
