"""What Stripe's answers mean for us, other than "done": an error of ours, with words for the person who can do something. Pure.

| answer | error | the push then |
|---|---|---|
| no connection came about (refused, no such name, connect time-out) | RetryableError, 30 s | sends again, same key |
| the connection was lost, or time ran out, after sending | Unanswered | asks again under the same key, then looks up |
| 429 (too many calls; an object locked), 409 (the same key is at work) | RetryableError, a few seconds | sends again, same key |
| 5xx of Stripe's, stored under the key | Unanswered, `is_stored` | looks up, then another key |
| 5xx or anything else of a machine in between | Unanswered | asks again under the same key |
| 400 idempotency_error: the key was used with other parameters | InvariantError | parks: a bug of ours |
| 401, 403, wrong mode or account | HaltError | stops; a person looks at the key |
| 402, a declined card | Refusal, code `card-declined` | a definite no |
| other 400, 404 | Refusal, code `stripe-...` | a definite no |

Of calls that only read, what is unanswered is a RetryableError: nothing can have happened. What a rep reads is a whole sentence in
plain words without Stripe's terms; Stripe's own text stands in the hint alone, for the people who run billing. English and French
(`documents.refused.told`). Example: `resource_missing` of a coupon is "A discount of this deal no longer exists where it is billed."
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.billing.stripe_backend.refusal_words import ACTIONS, DECLINES, DEFAULT, PATTERNS, WORDS
from connector.billing.stripe_backend.rights import right_named
from connector.errors import ConnectorError, HaltError, InvariantError, Problem, RejectedError, RetryableError

BUSY_S = 5
LOCKED_S = 2
AWAY_S = 30
LONGEST_TEXT = 400  # of Stripe's own words

_SECRET = re.compile(r"\b(?:sk|rk|pk|whsec|ek)_[A-Za-z0-9_*]{4,}")
_WRONG_KEY = frozenset({
    "account_closed", "account_invalid", "api_key_expired", "livemode_mismatch", "platform_api_key_expired", "secret_key_required", "testmode_charges_only",
})  # fmt: skip
_FINAL = frozenset({
    "authentication_required", "currency_not_supported", "expired_card", "fraudulent", "invalid_account", "lost_card", "merchant_blacklist",
    "new_account_information_available", "no_action_taken", "pickup_card", "restricted_card", "revocation_of_all_authorizations",
    "revocation_of_authorization", "security_violation", "stolen_card", "stop_payment_order", "transaction_not_allowed",
})  # fmt: skip


class Unanswered(RetryableError):  # noqa: N818 - the name says what happened
    """Nobody knows whether the call was carried out. *status* - HTTP's, 0 where no answer came at all; *is_stored* - Stripe
    answered a failure that it keeps under the key, so that the same key gives the same failure again."""

    def __init__(self, message: str, *, hint: str = "", retry_after_s: int = AWAY_S, status: int = 0, is_stored: bool = False) -> None:
        self.status = status
        self.is_stored = is_stored
        super().__init__(message, hint=hint, retry_after_s=retry_after_s)


class Refusal(RejectedError):  # noqa: N818 - what Stripe said
    """A definite no; *code*, *decline_code*, *param* and *message* are Stripe's own, *status* is HTTP's."""

    def __init__(self, problem: Problem, answer: Answer) -> None:
        self.code = answer.code
        self.decline_code = str(answer.error.get("decline_code") or "")
        self.param = str(answer.error.get("param") or "")
        self.message = answer.message
        self.status = answer.status
        super().__init__(problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is not a success: HTTP status, Stripe's `error` object ({} where a stranger answered), headers in lower case."""

    status: int
    error: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """Return Stripe's code, "" for none."""
        return str(self.error.get("code") or "")

    @property
    def message(self) -> str:
        """Return Stripe's own words, shortened, secrets blanked."""
        return without_secrets(str(self.error.get("message") or ""))[:LONGEST_TEXT]

    @property
    def seconds(self) -> int | None:
        """Return how long Stripe asks us to wait; None where it does not say."""
        said = self.headers.get("retry-after", "")
        return int(said) if said.isdigit() else None


def without_secrets(text: str) -> str:
    """Return *text* with every key and signing secret blanked."""
    return _SECRET.sub("[hidden]", text)


def meant(answer: Answer, call: str, *, is_read: bool = False) -> ConnectorError:
    """Return the error of ours that an answer to *call* means (the table above)."""
    if answer.status == 429 or answer.code == "rate_limit":
        return _busy(answer, call)
    if answer.status >= 500 or answer.status < 400 or answer.status == 424:
        return _failed(answer, call, is_read=is_read)
    if not answer.error:
        text = f"Something between here and Stripe answered {call} with HTTP {answer.status}; it did not come from Stripe."
        return RetryableError(text, hint="Check the proxy or firewall, and stripe.api_base; it is tried again by itself.", retry_after_s=AWAY_S)
    if answer.status == 409:
        text = f"The same request is still being carried out at Stripe ({call})."
        return RetryableError(text, hint=_own_words(answer, "Nothing to do: it is tried again by itself."), retry_after_s=answer.seconds or BUSY_S)
    if answer.error.get("type") == "idempotency_error":
        return InvariantError(f"an idempotency key stands for one request only ({call}): {answer.message}")
    if answer.status in (401, 403) or answer.code in _WRONG_KEY or "Invalid Stripe API version" in answer.message:
        return _halted(answer, call)
    if answer.status == 402:
        return Refusal(_declined(answer), answer)
    return Refusal(_refused(answer), answer)


def lost(call: str, why: str, *, is_sent: bool, is_read: bool) -> RetryableError:
    """Return the error for a connection that did not come about, or was lost after sending (*is_sent*)."""
    if not is_sent:
        hint = "Check the network and stripe.api_base; it is tried again by itself."
        return RetryableError(f"Stripe cannot be reached: {without_secrets(why)}.", hint=hint, retry_after_s=AWAY_S)
    text = f"Stripe did not answer {call}: {without_secrets(why)}."
    hint = "Nothing to do: it is asked again by itself, and done once."
    if is_read:
        return RetryableError(text, hint=hint, retry_after_s=AWAY_S)
    return Unanswered(text, hint=hint)


def _busy(answer: Answer, call: str) -> RetryableError:
    hint = _own_words(answer, "Nothing to do: it is tried again by itself.")
    if answer.code == "lock_timeout":
        text = f"Stripe is busy with the same object ({call})."
        return RetryableError(text, hint=hint, retry_after_s=answer.seconds or LOCKED_S)
    reason = answer.headers.get("stripe-rate-limited-reason", "")
    text = f"Stripe takes no more calls at the moment ({call}{', ' + reason if reason else ''})."
    return RetryableError(text, hint=hint, retry_after_s=answer.seconds or BUSY_S)


def _failed(answer: Answer, call: str, *, is_read: bool) -> RetryableError:
    text = f"Stripe failed with HTTP {answer.status} ({call})."
    hint = _own_words(answer, "Nothing to do: it is looked up and tried again by itself. If it lasts, look at status.stripe.com.")
    after = answer.seconds or AWAY_S
    if is_read:
        return RetryableError(text, hint=hint, retry_after_s=after)
    is_stored = bool(answer.error) and answer.status >= 400 and answer.headers.get("stripe-should-retry") != "true"
    return Unanswered(text, hint=hint, retry_after_s=after, status=answer.status, is_stored=is_stored)


def _halted(answer: Answer, call: str) -> HaltError:
    if answer.status == 403:
        named = right_named(answer.message, call)
        hint = f"Give the restricted key the right {named} (docs/stripe.md lists all of them), then start again." if named else (
            "Check what the key may do and which account it belongs to (docs/stripe.md)."
        )  # fmt: skip
        return HaltError(f"The Stripe key may not do this ({call}).", hint=_own_words(answer, hint), code="stripe-right")
    if answer.status == 401 or answer.code in _WRONG_KEY:
        hint = "Check stripe.api_key: whole, not revoked, of the right account and mode."
        return HaltError("Stripe does not accept the key.", hint=_own_words(answer, hint), code="stripe-key")
    hint = "Take a release of the connector that knows a version of Stripe's API which is still served."
    return HaltError("Stripe no longer serves the version of its API that this release speaks.", hint=_own_words(answer, hint), code="stripe-version")


def _own_words(answer: Answer, hint: str) -> str:
    """Return *hint* with Stripe's own words behind it, for the people who run billing."""
    facts = [f'Stripe: "{answer.message}"'] if answer.message else []
    facts += [str(answer.error[k]) for k in ("code", "param", "decline_code") if answer.error.get(k)]
    facts += [request] if (request := answer.headers.get("request-id")) else []
    return f"{hint} ({', '.join(facts)})" if facts else hint


def _declined(answer: Answer) -> Problem:
    return Problem(
        code="card-declined",
        message=decline_words(str(answer.error.get("decline_code") or ""), answer.code),
        hint=_own_words(answer, ACTIONS["payment-method"]),
    )


def decline_words(decline_code: str, code: str = "") -> str:
    """Return why a charge failed in plain words, from Stripe's `decline_code` and `code` ("" where there is none)."""
    return DECLINES.get(decline_code) or DECLINES.get(code) or DECLINES["card_declined"]


def is_final_decline(decline_code: str, code: str = "") -> bool:
    """Whether another try with the same payment method is in vain: the customer must act."""
    return decline_code in _FINAL or code in _FINAL


def _refused(answer: Answer) -> Problem:
    code = _known(answer)
    message, action = WORDS.get(code, DEFAULT)
    return Problem(code="stripe-" + (code or "refused").replace("_", "-"), message=message, hint=_own_words(answer, ACTIONS[action]))


def _known(answer: Answer) -> str:
    """Return the code that names a refusal best: by Stripe's words where its code says less, else Stripe's code."""
    text, param = answer.message.lower(), str(answer.error.get("param") or "").lower()
    for code, needs, words in PATTERNS:
        if (not needs or needs == answer.code) and (re.search(words, text) or (needs == "resource_missing" and re.search(words, param))):
            return code
    return answer.code
