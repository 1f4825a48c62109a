"""A caller in a process of its own: ADDRESS TENANT KEY MIB. Uploads so many MiB (0: without end) and never finishes."""

import itertools
import sys

from support.client import MIB, Client, upload_messages


def chunks(count):
    data = bytes(MIB)
    yield from itertools.repeat(data, count) if count else itertools.repeat(data)
    print("sent", flush=True)
    # Until somebody ends it: nothing comes on standard input.
    sys.stdin.read()


if __name__ == "__main__":
    address, tenant, key, count = sys.argv[1:]
    Client(address, tenant).objects.Upload(upload_messages(key, chunks(int(count))))
