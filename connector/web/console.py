"""The console: what ops look at. One page so far: counts, last runs, last polls, and the deals that need a person."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from connector.web.pages import Message, Pages
from connector.web.signin import (
    FAILURES_WITHIN,
    PASSWORD_CHARACTERS,
    Throttle,
    form_token,
    is_own_form,
    is_same,
    is_signed_in,
    is_this_machine,
    sign_in,
)
from connector.web.views import WebServices

_NO_PASSWORD = Message(
    title="The console is closed",
    text="It has no password yet, so it only opens on the machine it runs on.",
    hint="Set web.admin_password in config.yaml and restart, or open it there under http://127.0.0.1.",
)
_OLD_FORM = "This form was too old. Please try again."
_WRONG = "That is not the password."
_TOO_MANY = "Too many attempts. Please wait a minute."


def console_routes(services: WebServices, pages: Pages) -> APIRouter:
    """Return the console's routes: the page, the sign-in and the sign-out."""
    router = APIRouter()
    password = services.access.password

    @router.api_route("/console", methods=["GET", "HEAD"])
    def console(request: Request) -> Response:
        refused = refusal(services, pages, request)
        if refused is not None:
            return refused
        view = {"view": services.console(), "form_token": form_token(request) if password else "", "language": "en"}
        return pages.page("console.html", view)

    _add_sign_in(router, services, pages)
    return router


def refusal(services: WebServices, pages: Pages, request: Request) -> Response | None:
    """Return what somebody sees who may not open the console; None: who may."""
    password = services.access.password
    if not password and not is_this_machine(request):
        return pages.message(_NO_PASSWORD, status=403)
    if password and not is_signed_in(request):
        return _sign_in_form(pages, request, "", status=401)
    return None


def _add_sign_in(router: APIRouter, services: WebServices, pages: Pages) -> None:
    throttle = Throttle()
    password = services.access.password

    @router.post("/console/sign-in")
    def enter(
        request: Request,
        given: Annotated[str, Form(alias="password", max_length=PASSWORD_CHARACTERS)] = "",
        token: Annotated[str, Form(alias="form_token", max_length=100)] = "",
    ) -> Response:
        if not password:
            return RedirectResponse("/console", status_code=303)
        if not is_own_form(request, token):
            return _sign_in_form(pages, request, _OLD_FORM, status=400)
        address = request.client.host if request.client else ""
        if not throttle.is_open(address, services.now()):
            return _sign_in_form(pages, request, _TOO_MANY, status=429)
        if not is_same(password, given):
            throttle.failed(address, services.now())
            return _sign_in_form(pages, request, _WRONG, status=401)
        sign_in(request)
        return RedirectResponse("/console", status_code=303)

    @router.post("/console/sign-out")
    def leave(request: Request, token: Annotated[str, Form(alias="form_token", max_length=100)] = "") -> Response:
        if is_own_form(request, token):
            request.session.clear()
        return RedirectResponse("/console", status_code=303)


def _sign_in_form(pages: Pages, request: Request, complaint: str, *, status: int) -> Response:
    view = {"form_token": form_token(request), "complaint": complaint, "language": "en"}
    headers = {"Retry-After": str(int(FAILURES_WITHIN.total_seconds()))} if status == 429 else None
    return pages.page("signin.html", view, status=status, headers=headers)
