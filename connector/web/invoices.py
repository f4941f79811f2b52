"""The console's pages of invoices: the list, one invoice, and the form that records a payment.

The form carries the session's token, because a browser sends the session by itself; it is answered with the page again, so that a
reload sends nothing twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, StringConstraints

from connector.documents.texts import texts_in
from connector.web.console import refusal
from connector.web.pages import Message, Pages
from connector.web.signin import form_token, is_own_form
from connector.web.views import ConsoleInvoice, PaymentForm, WebServices

_Text = Annotated[str, StringConstraints(max_length=200)]
_LOOK_AGAIN_S = "5"
_MISSING = Message(title="No such invoice", text="The books have no invoice of this number.", hint="Look for it under /console/invoices.")
_OLD_FORM = "This form was too old. Please try again."


class _Payment(BaseModel):
    """The fields of the form."""

    form_token: _Text = ""
    entry: _Text = ""
    amount: _Text = ""
    on: _Text = ""
    method: _Text = ""
    reference: _Text = ""


def invoice_routes(services: WebServices, pages: Pages) -> APIRouter:
    """Return the routes of the console's invoices."""
    router = APIRouter()
    shown = _Shown(services, pages)

    @router.api_route("/console/invoices", methods=["GET", "HEAD"])
    def invoices(request: Request, status: str = "open", search: str = "", before: str = "") -> Response:
        return refusal(services, pages, request) or shown.listed(request, status, search, before)

    @router.api_route("/console/invoices/{name:path}", methods=["GET", "HEAD"])
    def invoice(name: str, request: Request) -> Response:
        return refusal(services, pages, request) or shown.page(services.console_invoice(name), request)

    @router.post("/console/invoices/{name:path}")
    def pay(name: str, request: Request, form: Annotated[_Payment, Form()]) -> Response:
        return refusal(services, pages, request) or shown.paid(name, request, form)

    return router


class _Shown:
    """The pages, for who may see them."""

    def __init__(self, services: WebServices, pages: Pages) -> None:
        self._services = services
        self._pages = pages

    def listed(self, request: Request, status: str, search: str, before: str) -> Response:
        """Return the list, or the way to the one invoice whose number was searched for."""
        view = self._services.console_invoices(status, search, before)
        if view.number:
            return RedirectResponse(_address(view.number), status_code=303)
        return self._pages.page("console_invoices.html", {"view": view, "language": "en", "form_token": self._sign_out_token(request)})

    def page(self, view: ConsoleInvoice | None, request: Request, *, status: int = 200) -> Response:
        """Return the page of an invoice; while a payment waits it looks again by itself."""
        if view is None:
            return self._pages.message(_MISSING, status=404)
        values = {"view": view, "text": texts_in("en"), "language": "en", "address": _address(view.name)}
        both = {"form_token": self._sign_out_token(request), "own_token": form_token(request)}
        headers = {"Refresh": _LOOK_AGAIN_S} if view.is_waiting else None
        return self._pages.page("console_invoice.html", values | both, status=status, headers=headers)

    def paid(self, name: str, request: Request, form: _Payment) -> Response:
        """Keep a payment and lead back to the page, or show it again with what is wrong and what was typed."""
        reference = " ".join(form.reference.split())
        typed = PaymentForm(entry=form.entry, amount=form.amount, on=form.on, method=form.method, reference=reference)
        complaint = self._services.console_pay(name, typed) if is_own_form(request, form.form_token) else _OLD_FORM
        if complaint == "":
            return RedirectResponse(f"{_address(name)}#payments", status_code=303)
        view = self._services.console_invoice(name) if complaint is not None else None
        if view is not None and view.form is not None:
            kept = replace(view.form, amount=typed.amount, on=typed.on, method=typed.method, reference=reference, complaint=complaint or "")
            view = replace(view, form=kept)
        return self.page(view, request, status=400)

    def _sign_out_token(self, request: Request) -> str:
        """Return the token of the form that signs out; empty where nobody signs in."""
        return form_token(request) if self._services.access.password else ""


def _address(name: str) -> str:
    return f"/console/invoices/{quote(name, safe='/')}"
