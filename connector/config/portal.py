"""The block `portal:` of the configuration: what customers may do behind their link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from connector.kit.yamlpos import Path as At

PORTAL = ("pay", "download", "details", "payment_method", "quantity", "cancel")
"""What the customer portal can allow; the last two change a contract and are off by default."""
CHANGES = PORTAL[4:]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalConfig:
    """What customers may do behind their portal link; seeing their invoices and contracts needs no word here."""

    allow: tuple[str, ...] = PORTAL[:4]


class Reader(Protocol):
    """What is used of the configuration's reader."""

    def raw(self, path: At) -> Any:
        """Return a value as written, None where there is none."""

    def add(self, code: str, path: At, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem."""


def read_portal(reader: Reader) -> PortalConfig:
    """Return the block; what is wrong with it is noted with the reader."""
    allow, hint = reader.raw(("portal", "allow")), f"Choose some of: {', '.join(PORTAL)}."
    if allow is None:
        return PortalConfig()
    if not isinstance(allow, list):
        reader.add("bad-type", ("portal", "allow"), "`allow` is a list of words.", hint)
        return PortalConfig()
    for n, word in enumerate(allow):
        if word not in PORTAL:
            reader.add("bad-value", ("portal", "allow", n), f"A portal cannot allow {word!r}.", hint)
    return PortalConfig(allow=tuple(w for w in PORTAL if w in allow))
