"""The mail server: one connection for a batch, and what its answers mean.

| the server | the mail |
|---|---|
| takes it | sent |
| refuses it for good (5xx for this recipient or text) | failed, with the server's words |
| refuses it for now (4xx) | later |
| cannot be reached, or goes away | RetryableError; what was not settled is tried later |
| refuses login or sender | HaltError: the configuration is wrong, and no mail is to blame |
"""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Literal
from urllib.parse import unquote, urlsplit

from connector.errors import HaltError, RetryableError

TIMEOUT_S = 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TOO_LARGE = 552
_ADDRESS = re.compile(r"^[^@\s<>\"]+@[^@\s<>\"]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that goes with a mail; *kind* such as application/pdf."""

    name: str
    kind: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A mail ready to leave; *id* names it for good, *recipients* as the CRM has them, separated by comma or semicolon."""

    id: str
    recipients: str
    subject: str
    text: str
    html: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of one mail: *recipient* is who it really went to."""

    id: str
    state: Literal["sent", "failed", "later"]
    recipient: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postman:
    """Sends by the server of *url*, smtp[s]://user:password@host:port. test_to - gets every mail instead."""

    url: str = field(repr=False)
    sender: str
    reply_to: str = ""
    test_to: str = ""

    def deliver(self, mails: Sequence[Outgoing], now: datetime) -> Iterator[Delivery]:
        """Send mails one after the other and say of each what became of it, before the next one is touched.

        Raises: RetryableError, HaltError.
        """
        if not mails:
            return
        server = self._connected()
        try:
            for mail in mails:
                yield self._sent(server, mail, now)
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            raise _away(error) from error
        finally:
            try:
                server.quit()
            except (smtplib.SMTPException, OSError):
                server.close()

    def check(self) -> str:
        """Reach the server and log in, send nothing; return where that was. Raises: RetryableError, HaltError."""
        server = self._connected()
        server.close()
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or (465 if parts.scheme == 'smtps' else 25)}"

    def _connected(self) -> smtplib.SMTP:
        parts = urlsplit(self.url)
        host, is_tls = parts.hostname or "", parts.scheme == "smtps"
        context = ssl.create_default_context()
        try:
            server: smtplib.SMTP
            if is_tls:
                server = smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT_S, context=context)
            else:
                server = smtplib.SMTP(host, parts.port or 25, timeout=TIMEOUT_S)
            self._greet(server, context, is_open=is_tls or host in _LOOPBACK)
        except smtplib.SMTPAuthenticationError as error:
            raise HaltError(
                f"The mail server refuses the login: {_words(error.smtp_error)}", hint="Check user and password in `mail.url`.", code="mail-login"
            ) from error
        except (smtplib.SMTPException, OSError) as error:
            raise _away(error) from error
        return server

    def _greet(self, server: smtplib.SMTP, context: ssl.SSLContext, *, is_open: bool) -> None:
        """Say hello, over TLS where the server knows it, and log in; no password goes out in clear."""
        parts = urlsplit(self.url)
        try:
            server.ehlo_or_helo_if_needed()
            if not is_open and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
                is_open = True
            if parts.username:
                if not is_open:
                    hint = "Use smtps://, or a server that offers STARTTLS."
                    raise HaltError("The mail server would read the password in clear.", hint=hint, code="mail-clear")
                server.login(unquote(parts.username), unquote(parts.password or ""))
        except BaseException:
            server.close()
            raise

    def _sent(self, server: smtplib.SMTP, mail: Outgoing, now: datetime) -> Delivery:
        found = [address for part in re.split(r"[;,]", self.test_to or mail.recipients) if (address := parseaddr(part)[1])]
        recipient = ", ".join(found)

        def ended(state: Literal["sent", "failed", "later"], error: str = "") -> Delivery:
            return Delivery(id=mail.id, state=state, recipient=recipient, error=error)

        if not found or not all(_ADDRESS.match(address) for address in found):
            return ended("failed", f"{mail.recipients!r} is no mail address." if mail.recipients else "The customer has no billing e-mail.")
        try:
            message = self._message(mail, found, now)
            refused = server.send_message(message, from_addr=parseaddr(self.sender)[1], to_addrs=found)
        except smtplib.SMTPSenderRefused as error:
            server.rset()
            if error.smtp_code == _TOO_LARGE:
                return ended("failed", _said(error.smtp_code, error.smtp_error))
            if error.smtp_code < 500:
                return ended("later", _said(error.smtp_code, error.smtp_error))
            raise HaltError(
                f"The mail server refuses the sender {self.sender}: {_said(error.smtp_code, error.smtp_error)}",
                hint="Check `mail.from`; the server may send for some addresses only.",
                code="mail-sender",
            ) from error
        except smtplib.SMTPRecipientsRefused as error:
            return _refused(error.recipients, ended)
        except smtplib.SMTPDataError as error:
            return ended("failed" if error.smtp_code >= 500 else "later", _said(error.smtp_code, error.smtp_error))
        except (smtplib.SMTPNotSupportedError, MessageError, ValueError) as error:
            return ended("failed", f"The mail cannot be written so that the server takes it: {error}")
        if refused:
            return ended("sent", "Not to " + "; ".join(f"{who}: {_said(*answer)}" for who, answer in refused.items()))
        return ended("sent")

    def _message(self, mail: Outgoing, recipients: Sequence[str], now: datetime) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = ", ".join(recipients)
        if self.reply_to:
            message["Reply-To"] = self.reply_to
        message["Subject"] = f"{mail.subject} (for {mail.recipients or 'nobody'})" if self.test_to else mail.subject
        message["Date"] = format_datetime(now)
        message["Message-ID"] = f"<{mail.id}@{parseaddr(self.sender)[1].rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        message.add_alternative(mail.html, subtype="html")
        for attachment in mail.attachments:
            main, _, sub = attachment.kind.partition("/")
            message.add_attachment(attachment.content, maintype=main, subtype=sub, filename=attachment.name)
        return message


def _refused(recipients: dict[str, tuple[int, bytes]], ended: Callable[..., Delivery]) -> Delivery:
    answers = list(recipients.values())
    text = "; ".join(_said(*answer) for answer in answers)
    return ended("failed" if all(code >= 500 for code, _ in answers) else "later", text)


def _away(error: Exception) -> RetryableError:
    text = "The mail server cannot be reached, or went away"
    return RetryableError(f"{text}: {error}.", hint="Mails wait and are sent by themselves; check `mail.url` if it stays so.", retry_after_s=60)


def _said(code: int, words: bytes | str) -> str:
    return f"{code} {_words(words)}"


def _words(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return " ".join(text.split())[:300]
