"""Test cards: tokens with a fixed fate, so that every way a charge can end is tried without any money (`payments.methods: test`).

Worked example: `pm_test_declined_once` fails at the first try of an invoice and succeeds at the second, as after a retry.
"""

from __future__ import annotations

from types import MappingProxyType

from connector.charging import Charge, ChargeResult
from connector.errors import Problem, RejectedError

_PREFIX = "pm_test_"
_DECLINED = "The card was declined."

# (code, message, whether another try of the same card is useless, how many tries it fails) by the name people set it under.
_FATES = MappingProxyType(
    {
        "ok": ("", "", False, 0),
        "declined": ("card_declined", _DECLINED, False, -1),
        "declined_once": ("card_declined", _DECLINED, False, 1),
        "insufficient_funds": ("insufficient_funds", "The card has not enough funds.", False, -1),
        "expired": ("expired_card", "The card has expired.", True, -1),
        "requires_action": ("authentication_required", "The bank asks the customer to confirm the payment.", True, -1),
    }
)


class TestCards:
    """The method `test`: nothing outside is asked, so that the same key always has the same outcome."""

    __test__ = False  # a class of the program, not a case of pytest

    def token(self, name: str) -> str:
        """Return the token of a test card by the name it is set under, such as ok or pm_test_ok. Raises: RejectedError."""
        short = name.removeprefix(_PREFIX)
        if short not in _FATES:
            known = ", ".join(f"test:{n}" for n in _FATES)
            raise RejectedError(Problem(code="unknown-method", message=f"There is no test card {name!r}.", hint=f"Known: {known}."))
        return _PREFIX + short

    def label(self, token: str) -> str:
        """Return how people read a test card."""
        return f"test card {token.removeprefix(_PREFIX).replace('_', ' ')}"

    def names(self) -> tuple[str, ...]:
        """Return the names of all test cards."""
        return tuple(_FATES)

    def charge(self, charge: Charge) -> ChargeResult:
        """Return the outcome that the card's token stands for."""
        code, message, is_final, failures = _FATES[charge.token.removeprefix(_PREFIX)]
        if failures < 0 or charge.attempt <= failures:
            return ChargeResult(is_paid=False, code=code, message=message, is_final=is_final)
        return ChargeResult(is_paid=True, reference=f"test_{charge.key}")
