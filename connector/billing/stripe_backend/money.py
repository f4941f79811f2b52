"""Minor units between us and Stripe: ours are ISO 4217's, Stripe has a table of its own (decision D-12). Pure.

| currency | ISO 4217 | Stripe's unit | so that |
|---|---|---|---|
| eur, usd and most | cents | cents | nothing changes |
| jpy, krw, xaf … | whole units | whole units | nothing changes |
| mga | hundredths | whole units | only whole amounts can be said |
| isk, ugx | whole units | hundredths, the last two digits 0 | 5 isk goes as 500 |
| bhd, jod, kwd, omr, tnd | thousandths | thousandths, the last digit 0 | 1.234 kwd cannot be said, 1.230 can |

A price of one unit may have twelve decimals of Stripe's unit, an amount none. What cannot be said is a RejectedError: never rounded
here, since the amount of a line is the engine's. Source: docs.stripe.com/currencies (zero-decimal, three-decimal, special cases).
"""

from __future__ import annotations

from decimal import Decimal

from connector.core.money import digits, major
from connector.errors import Problem, RejectedError

ZERO_DECIMAL = frozenset(["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"])
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
HUNDREDFOLD = frozenset(("isk", "ugx"))
HUNDREDTHS_UNSAID = frozenset(("mga",))
PRICE_DECIMALS = 12


def stripe_amount(minor: int, currency: str) -> int:
    """Return an amount in Stripe's unit; RejectedError where Stripe has no way to say it."""
    shift = _shift(currency)
    found = Decimal(minor).scaleb(shift)
    step = _step(currency)
    if found != int(found) or int(found) % step:
        raise _unsayable(minor, currency, step)
    return int(found)


def minor_amount(amount: int, currency: str) -> int:
    """Return an amount of Stripe's in our minor units; RejectedError for one that ISO 4217 cannot say (5.50 isk)."""
    found = Decimal(amount).scaleb(-_shift(currency))
    if found != int(found):
        message = f"Stripe says {amount} {currency}, which is no whole number of {currency.upper()}'s smallest unit."
        raise RejectedError(Problem(code="stripe-amount", message=message, hint="Look at the invoice in Stripe's dashboard, and correct it there."))
    return int(found)


def stripe_price(minor: Decimal, currency: str) -> Decimal:
    """Return the price of one unit in Stripe's unit, exactly; RejectedError where it needs more than twelve decimals."""
    found = minor.scaleb(_shift(currency))
    exponent = found.normalize().as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -PRICE_DECIMALS:
        message = f"The price {major_text(minor, currency)} has more decimals than can be billed."
        raise RejectedError(Problem(code="stripe-price", message=message, hint=f"Round it to {PRICE_DECIMALS} decimals of the smallest unit."))
    return found


def minor_price(price: Decimal, currency: str) -> Decimal:
    """Return a price of Stripe's in our minor units, exactly."""
    return price.scaleb(-_shift(currency))


def major_text(minor: Decimal, currency: str) -> str:
    """Return an amount for a message, with all decimals that it has: `1,000.00 EUR`, `0.125 EUR`."""
    amount = minor.scaleb(-digits(currency)).normalize()
    exponent = amount.as_tuple().exponent
    decimals = max(digits(currency), -exponent if isinstance(exponent, int) else 0)
    return f"{amount:,.{decimals}f} {currency.upper()}"


def _shift(currency: str) -> int:
    """Return the power of ten from our unit to Stripe's; RejectedError for a currency that Stripe does not know."""
    if currency in HUNDREDFOLD:
        return 2
    try:
        ours = digits(currency)
    except ValueError as error:
        raise _unknown(currency) from error
    theirs = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    if ours != theirs and currency not in HUNDREDTHS_UNSAID:
        raise _unknown(currency)
    return theirs - ours


def _step(currency: str) -> int:
    return 100 if currency in HUNDREDFOLD else 10 if currency in THREE_DECIMAL else 1


def _unsayable(minor: int, currency: str, step: int) -> RejectedError:
    amount = f"{major(minor, currency)} {currency.upper()}"
    least = "0.01" if step > 1 else "1"
    message = f"The amount {amount} cannot be billed: amounts in {currency.upper()} go in steps of {least} there."
    hint = "Correct price, quantity or discount so that the line comes out on such a step; it is tried again by itself."
    return RejectedError(Problem(code="stripe-amount", message=message, hint=hint))


def _unknown(currency: str) -> RejectedError:
    message = f"{currency.upper()} cannot be billed there."
    return RejectedError(Problem(code="stripe-currency", message=message, hint="Close the deal in another currency."))
