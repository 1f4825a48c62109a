"""Keys that naive clients get wrong."""

import itertools

# Each is used at the start, in the middle and at the end of a key, as a segment, doubled, and next to every other one.
ODD = [
    "+", "@", " ", "%2F", "%", "%zz", "//", "/", "..", ".", "😀", "\x01", "\t", "\r", "\n", "\x7f", "\x1f", "\ufffe",
    "é", "e\u0301", "&", "<&>\"'", "&amp;", "?", "#", "=", ":", "\\", "*", "~", "SlowDown.txt", "<Error>", "漢", "\u202e",
    "\u00a0",
]

# Keys that exist side by side in S3, where a file system has either a file or a folder.
BESIDE = ["beside", "beside/inner", "beside/", "beside//inner", "beside.", "beside-"]

LONG = [
    "l" * 1024,
    "é" * 512,
    "/".join(["s" * 200] * 5) + "/" + "e" * 19,
    "😀" * 250 + "/" + "+" * 23,
]


def odd_keys():
    """Returns all odd keys without duplicates, the simplest first."""
    forms = [lambda odd: odd, lambda odd: f"k{odd}", lambda odd: f"{odd}k", lambda odd: f"k{odd}k",
             lambda odd: f"k/{odd}/k", lambda odd: f"k{odd}{odd}k"]
    singles = [form(odd) for form in forms for odd in ODD]
    pairs = [f"p{first}{second}" for first, second in itertools.permutations(ODD, 2)]
    return list(dict.fromkeys(BESIDE + LONG + singles + pairs))


assert all(1 <= len(key.encode()) <= 1024 for key in odd_keys())
assert any(len(key.encode()) == 1024 for key in odd_keys())
