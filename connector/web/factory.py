"""Puts the pages together: `create_app(services)`. Nothing is read, opened or started before it is called."""

from __future__ import annotations

import traceback

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.middleware.sessions import SessionMiddleware
from starlette.staticfiles import StaticFiles

from connector.documents.texts import language_of_request
from connector.errors import RetryableError
from connector.kit.observe import log
from connector.web.console import console_routes
from connector.web.hooks import hook_routes
from connector.web.invoices import invoice_routes
from connector.web.monitor import monitor_routes
from connector.web.pages import STATIC, Pages
from connector.web.portal import portal_routes
from connector.web.public import public_routes
from connector.web.quote import quote_routes
from connector.web.shield import Shield, headers_for
from connector.web.signin import SESSION_COOKIE, SESSION_S, session_key
from connector.web.views import WebServices


def create_app(services: WebServices) -> FastAPI:
    """Return the web application; its pages show what *services* return."""
    app = FastAPI(title="connector", openapi_url=None, docs_url=None, redoc_url=None)
    pages = Pages()
    app.include_router(monitor_routes(services))
    app.include_router(public_routes(services, pages))
    app.include_router(portal_routes(services, pages))
    app.include_router(quote_routes(services, pages))
    app.include_router(hook_routes(services, pages))
    app.include_router(console_routes(services, pages))
    app.include_router(invoice_routes(services, pages))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_api_route("/", _front_door, methods=["GET", "HEAD"], response_class=RedirectResponse)
    _answer_errors(app, pages, is_https=services.access.is_https)
    app.add_middleware(
        SessionMiddleware,
        secret_key=session_key(services.access),
        session_cookie=SESSION_COOKIE,
        max_age=SESSION_S,
        path="/console",
        same_site="lax",  # a link in a mail opens the console; forms are guarded by their token
        https_only=services.access.is_https,
    )
    app.add_middleware(Shield, is_https=services.access.is_https)
    return app


def _front_door() -> Response:
    return RedirectResponse("/console", status_code=303)


def _answer_errors(app: FastAPI, pages: Pages, *, is_https: bool) -> None:
    """Answer errors with pages in the reader's language; the words of an error itself are for the log only."""

    def language(request: Request) -> str:
        return language_of_request(request.headers.get("accept-language", ""))

    def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        key = "missing" if status == 404 else "refused"
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return pages.known_message(key, status=status, language=language(request), headers=headers)

    def busy(request: Request, error: Exception) -> Response:
        wait_s = error.retry_after_s if isinstance(error, RetryableError) else 60
        headers = {"Retry-After": str(wait_s)}
        return pages.known_message("busy", status=503, language=language(request), headers=headers)

    def failed(request: Request, error: Exception) -> Response:
        route = getattr(request.scope.get("route"), "path", "")  # the path itself may hold a token
        log("page.failed", page=route, error=repr(error), trace="".join(traceback.format_exception(error)))
        # made outside of every middleware, the shield too
        headers = headers_for(request.url.path, 500, is_https=is_https)
        return pages.known_message("failed", status=500, language=language(request), headers=headers)

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(RetryableError, busy)
    app.add_exception_handler(Exception, failed)
