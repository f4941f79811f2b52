"""Rendering: one template environment, the message page, and the stylesheet under an address that changes with its content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from connector.documents.texts import language_of_request, texts_in

STATIC = Path(__file__).parent / "static"


# 128 bits take 22 characters of base64url or 32 of hex; nothing else is worth a look-up
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")


def is_token(text: str) -> bool:
    """Whether a part of an address can be the token of a link at all."""
    return _TOKEN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A page that only says something: title, text, what to do next."""

    title: str
    text: str
    hint: str = ""


class Pages:
    """Renders views; autoescape is on for every template, and a name that a view lacks is an error."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("connector.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["style_version"] = hashlib.sha256((STATIC / "style.css").read_bytes()).hexdigest()[
            :12
        ]

    def page(
        self,
        template: str,
        view: Mapping[str, object],
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> HTMLResponse:
        """Return a rendered page."""
        html = self._environment.get_template(template).render(view)
        return HTMLResponse(html, status_code=status, headers=dict(headers or {}))

    def message(
        self, message: Message, *, status: int, language: str = "en", headers: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        """Return a page that only says something."""
        return self.page("message.html", {"message": message, "language": language}, status=status, headers=headers)

    def known_message(
        self, key: str, *, status: int, language: str, headers: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        """Return one of the message pages of the table of texts: missing, busy, failed, refused."""
        texts = texts_in(language)
        message = Message(title=texts[f"{key}_title"], text=texts[f"{key}_text"], hint=texts[f"{key}_hint"])
        return self.message(message, status=status, language=language, headers=headers)

    def missing(self, request: Request) -> HTMLResponse:
        """Return the one friendly page of every link that leads nowhere, in the reader's language."""
        language = language_of_request(request.headers.get("accept-language", ""))
        return self.known_message("missing", status=404, language=language)
