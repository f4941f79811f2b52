"""Record ids: 15 case-sensitive characters, and the 18-character form whose last three say which letters are capital.

`70130000001tcyI` is `70130000001tcyIAAQ`: each of the three check characters encodes which of five letters are upper case.
"""

from __future__ import annotations

import re

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHAPE = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")
_POD = "5g"


def check_characters(id15: str) -> str:
    """Return the three characters that make *id15* case-safe."""
    out = ""
    for start in (0, 5, 10):
        bits = sum(1 << n for n, char in enumerate(id15[start : start + 5]) if "A" <= char <= "Z")
        out += _CHECK[bits]
    return out


def id18(text: str) -> str | None:
    """Return the 18-character form of an id of 15 or 18 characters; None if *text* is no id."""
    if not _SHAPE.fullmatch(text):
        return None
    full = text[:15] + check_characters(text[:15])
    return full if len(text) == 15 or full == text else None


def minted(prefix: str, number: int) -> str:
    """Return the id of the *number*-th record of the object with that three-character prefix; ids rise with the number."""
    digits = ""
    rest = number
    for _ in range(10):
        rest, digit = divmod(rest, 62)
        digits = _DIGITS[digit] + digits
    id15 = prefix + _POD + digits
    return id15 + check_characters(id15)
