"""The list `webhooks:` of the configuration: which addresses are told of what happens to the books."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, Protocol
from urllib.parse import urlsplit

from connector.kit.yamlpos import Path as At
from connector.webhooks.endpoint import NOUNS, Endpoint

_KEYS = ("url", "secret", "events")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SAMPLE = "Write {url: https://HOST/PATH, secret: ${NAME}, events: [invoice.*]}."
_SHORTEST = 16
_PATTERN = re.compile(r"\*|([a-z_]+)\.(\*|[a-z_]+)")


class Reader(Protocol):
    """What is used of the configuration's reader: values by path, and a place for problems."""

    def raw(self, path: At) -> Any:
        """Return a value as written, None where there is none."""

    def text(self, path: At, default: str, *, is_secret: bool = False) -> str:
        """Return a text with its variables filled in."""

    def add(self, code: str, path: At, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem."""


def read_webhooks(reader: Reader) -> tuple[Endpoint, ...]:
    """Return the list; what is wrong with it is noted with the reader."""
    listed = reader.raw(("webhooks",))
    if listed is None:
        return ()
    if not isinstance(listed, list):
        reader.add("bad-type", ("webhooks",), "`webhooks` is a list.", _SAMPLE)
        return ()
    found: list[Endpoint] = []
    for number, node in enumerate(listed):
        at: At = ("webhooks", number)
        if not isinstance(node, dict) or not node.get("url") or not node.get("secret"):
            reader.add("missing-key", at, "A webhook has a `url` and a `secret`.", _SAMPLE)
            continue
        for key in node:
            if key not in _KEYS:
                reader.add("unknown-key", (*at, key), f"There is no key `{key}` here.", f"Known: {', '.join(_KEYS)}.", at_key=True)
        endpoint = Endpoint(url=_url(reader, at), secret=_secret(reader, at), events=_events(reader, at, node.get("events")))
        if endpoint.url in {e.url for e in found}:
            reader.add("duplicate-webhook", (*at, "url"), "This address is listed twice.", "Put all of its events into one entry.")
        found.append(endpoint)
    return tuple(found)


def _url(reader: Reader, at: At) -> str:
    url = reader.text((*at, "url"), "")
    if not url:
        return url  # a variable that is not set was noted already
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # raises where it is no number
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or parts.scheme not in ("https", "http"):
        reader.add("bad-url", (*at, "url"), "`url` is no address.", "Write https://HOST/PATH.")
    elif parts.scheme == "http" and host not in _LOOPBACK:
        reader.add("bad-url", (*at, "url"), f"The address at {host} is not https.", "http:// is accepted for loopback hosts only.")
    elif parts.username or parts.password:
        hint = "Leave it out; the receiver checks the signature instead."
        reader.add("bad-url", (*at, "url"), f"The address at {host} holds a user name.", hint)
    return url


def _secret(reader: Reader, at: At) -> str:
    secret = reader.text((*at, "secret"), "", is_secret=True)
    if secret and len(secret) < _SHORTEST:
        hint = "Make one such as `openssl rand -hex 32` prints, and give it to the receiver."
        reader.add("bad-value", (*at, "secret"), f"`secret` is shorter than {_SHORTEST} signs.", hint)
    return secret


def _events(reader: Reader, at: At, written: Any) -> tuple[str, ...]:
    if written is None:
        return ("*",)
    if not isinstance(written, list) or not written or not all(isinstance(p, str) for p in written):
        reader.add("bad-type", (*at, "events"), "`events` is a list of names.", "Write [invoice.*, payment.recorded], or leave it out for all.")
        return ("*",)
    for number, pattern in enumerate(written):
        match = _PATTERN.fullmatch(pattern)
        if match is None:
            text = f"{pattern!r} is no name of events."
            reader.add("bad-value", (*at, "events", number), text, "Write invoice.finalized, invoice.* or *.")
        elif match[1] and match[1] not in NOUNS:
            near = get_close_matches(match[1], NOUNS, 1)
            hint = f"Did you mean `{near[0]}.{match[2]}`?" if near else f"Events are about: {', '.join(NOUNS)}."
            reader.add("bad-value", (*at, "events", number), f"There are no events about {match[1]!r}.", hint)
    return tuple(written)
