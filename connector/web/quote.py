"""The quote behind its link: read, downloaded, accepted with name, title, time and address, or declined (decision D-20)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, StringConstraints

from connector.documents.texts import known_language, texts_in
from connector.documents.views import QuotePage
from connector.web.pages import Pages, is_token
from connector.web.public import download
from connector.web.views import QuoteAnswer, WebServices

_TONES = {"open": "open", "accepted": "paid", "draft": "draft", "expired": "void", "canceled": "void", "outdated": "draft", "replaced": "void"}
_Text = Annotated[str, StringConstraints(max_length=500)]


class _Given(BaseModel):
    """The fields of both forms."""

    revision: _Text = ""
    name: _Text = ""
    title: _Text = ""
    reason: _Text = ""
    agreed: _Text = ""


def quote_routes(services: WebServices, pages: Pages) -> APIRouter:
    """Return the routes of quotes, which need a token and no sign-in."""
    router = APIRouter()

    def shown(token: str, found: QuotePage, complaint: str = "") -> Response:
        language = known_language(found.language)
        view = {
            "page": found, "language": language, "text": texts_in(language), "address": f"/q/{token}", "complaint": complaint,
            "tone": _TONES[found.status],
        }  # fmt: skip
        return pages.page("quote.html", view, status=400 if complaint else 200, headers={"Content-Language": language})

    @router.api_route("/q/{token}.pdf", methods=["GET", "HEAD"])
    def quote_pdf(token: str, request: Request) -> Response:
        found = services.quote_pdf_by_token(token) if is_token(token) else None
        return pages.missing(request) if found is None else download(found)

    @router.api_route("/q/{token}", methods=["GET", "HEAD"])
    def quote(token: str, request: Request) -> Response:
        found = services.quote_by_token(token) if is_token(token) else None
        return pages.missing(request) if found is None else shown(token, found)

    @router.post("/q/{token}/{what}")
    def answered(token: str, what: str, request: Request, form: Annotated[_Given, Form()]) -> Response:
        if what not in ("accept", "decline") or not is_token(token):
            return pages.missing(request)
        given = QuoteAnswer(
            what=what, revision=form.revision, name=form.name, title=form.title, reason=form.reason, is_agreed=form.agreed == "yes",
            address=request.client.host if request.client else "",
        )  # fmt: skip
        reply = services.quote_answer(token, given)
        found = services.quote_by_token(token) if reply is not None else None
        if reply is None or found is None:
            return pages.missing(request)
        return RedirectResponse(f"/q/{token}", status_code=303) if reply.is_kept else shown(token, found, reply.complaint)

    return router
