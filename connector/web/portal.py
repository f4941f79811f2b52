"""The customer portal: one page behind a link, and the forms on it.

The link is the only key, so a form needs no token of its own: who can send it knows the link already, and no other site can know it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, StringConstraints

from connector.documents.texts import known_language, texts_in
from connector.web.pages import Pages, is_token
from connector.web.views import PortalAsk, PortalDoor, WebServices

_ASKED = ("details", "cancel", "quantity", "pay", "payment_method")
_Text = Annotated[str | None, StringConstraints(max_length=500)]


class _Asked(BaseModel):
    """The fields of all forms of the portal; one that a form does not have is None."""

    contract: _Text = None
    item: _Text = None
    quantity: _Text = None
    agreed: _Text = None
    invoice: _Text = None
    method: _Text = None
    name: _Text = None
    email: _Text = None
    line1: _Text = None
    city: _Text = None
    postal_code: _Text = None
    state: _Text = None
    country: _Text = None
    tax_id: _Text = None
    language: _Text = None


def portal_routes(services: WebServices, pages: Pages) -> APIRouter:
    """Return the portal's routes."""
    router = APIRouter()

    @router.api_route("/portal/{token}", methods=["GET", "HEAD"])
    def portal(token: str, request: Request) -> Response:
        found = services.portal_by_token(token) if is_token(token) else None
        if found is None:
            return pages.missing(request)
        language = known_language(found.language)
        if isinstance(found, PortalDoor):
            return _elsewhere(found, language, pages)
        view = {"page": found, "language": language, "text": texts_in(language), "address": f"/portal/{token}"}
        return pages.page("portal.html", view, headers={"Content-Language": language})

    @router.post("/portal/{token}/{what}")
    def asked(token: str, what: str, request: Request, form: Annotated[_Asked, Form()]) -> Response:
        if what not in _ASKED or not is_token(token):
            return pages.missing(request)
        values = {name: value for name, value in form.model_dump(exclude_none=True).items() if name != "agreed"}
        answer = services.portal_ask(token, PortalAsk(what=what, values=values, is_agreed=form.agreed == "yes"))
        if answer is None:
            return pages.missing(request)
        if answer.is_kept:
            return RedirectResponse(f"/portal/{token}#requests", status_code=303)
        language = known_language(answer.language)
        view = {"answer": answer, "language": language, "text": texts_in(language), "address": f"/portal/{token}"}
        return pages.page("portal_answer.html", view, status=400 if answer.complaint else 200)

    return router


def _elsewhere(door: PortalDoor, language: str, pages: Pages) -> Response:
    """Return the way to a page outside, which nobody may keep: the next visit gets a fresh one; or a page that says why there is none."""
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    if door.url:
        return RedirectResponse(door.url, status_code=303, headers=headers)
    status, wait = {"early": (404, ""), "often": (429, "60"), "closed": (503, "60")}[door.why]
    return pages.known_message(f"portal_{door.why}", status=status, language=language, headers=headers | ({"Retry-After": wait} if wait else {}))
