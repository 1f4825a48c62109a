"""ADDRESS TENANT KEY MIB: a caller in its own process. Uploads MIB MiB (0: without end) and never finishes."""

import itertools
import sys

from support.client import MIB, Client, upload_messages


def chunks(count):
    data = bytes(MIB)
    yield from itertools.repeat(data, count) if count else itertools.repeat(data)
    print("sent", flush=True)
    # Waits until the process is killed: standard input stays open.
    sys.stdin.read()


if __name__ == "__main__":
    address, tenant, key, count = sys.argv[1:]
    Client(address, tenant).objects.Upload(upload_messages(key, chunks(int(count))))
