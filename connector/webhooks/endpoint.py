"""An address that is told of events, and which events it wants."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

NOUNS = (
    "contract", "customer", "invoice", "payment", "payment_method", "credit_note", "quote", "price", "product", "coupon", "catalogue",
    "usage",
)  # fmt: skip
"""What events of the books are about: the first half of every event's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address that is told of events: *events* are patterns, `*`, `invoice.*` or a whole name."""

    url: str = field(repr=False)
    secret: str = field(repr=False)
    events: tuple[str, ...] = ("*",)

    @property
    def id(self) -> str:
        """Its name in the database and in logs; the same URL has the same one."""
        return f"wh_{hashlib.blake2b(self.url.encode(), digest_size=6).hexdigest()}"

    @property
    def place(self) -> str:
        """The address without its path, which may hold a secret of the receiver's."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def wants(self, name: str) -> bool:
        """Whether it is told of events of this name."""
        return any(p in ("*", name) or (p.endswith(".*") and name.startswith(p[:-1])) for p in self.events)
