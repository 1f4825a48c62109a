"""Waiting for something to become true, with a bound."""

import time


def eventually(what, check, within, every=0.02):
    """Polls `check` until it returns a true value, and returns that value. Fails after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within} s: {what} (last seen: {found!r})"
        time.sleep(every)


def settled(what, read, still, within, every=0.05):
    """Polls `read` until its value has not changed for `still` seconds, and returns that value."""
    last, since = read(), time.monotonic()

    def unchanged():
        nonlocal last, since
        now = read()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since >= still

    eventually(f"{what} stops changing", unchanged, within, every)
    return last
