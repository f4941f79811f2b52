"""Parameters as the pinned SDK types them: what it does not know is refused, what a form sends as text gets its type.

`typed("PriceCreateParams", {"unit_amount": "500", ...})` walks the annotations of `stripe.params.PriceCreateParams`. The SDK is asked
for its types alone. Where it types `Literal["a", "b"] | str` it leaves room for words of later versions; here the words are strict.
"""

from __future__ import annotations

import functools
import importlib
import operator
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NoReturn

import typing_extensions
from stripe._request_options import RequestOptions
from stripe._stripe_object import UntypedStripeObject

from connector.lookalike.stripe.account import Refused

_OPTIONS = frozenset(RequestOptions.__annotations__)
_METADATA_KEYS, _METADATA_KEY, _METADATA_VALUE = 50, 40, 500
_LONGEST_TEXT = 5000
_INTEGER = re.compile(r"[+-]?\d{1,19}")
_DECIMAL = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,12})?")

Reader = Callable[[Any, str], Any]
"""(what was sent, path of the parameter) -> its typed value. Raises: Refused."""


def typed(name: str, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters *sent* (nested texts of a form) as the SDK's class *name* types them. Raises: Refused (400)."""
    return dict(_reader(name)(sent, ""))


def known(name: str) -> frozenset[str]:
    """Return the names of the top-level parameters of a class."""
    return frozenset(_fields(_class(name))[0])


@functools.cache
def _reader(name: str) -> Reader:
    return _of_fields(_class(name))


def _class(name: str) -> Any:
    """Return a class below `stripe.params`; `billing.MeterCreateParams` for one of a sub-package."""
    room, _, word = name.rpartition(".")
    module = importlib.import_module(f"stripe.params.{room}" if room else "stripe.params")
    return getattr(module, word)


@functools.cache
def _fields(cls: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return (annotation by name, names that must be there) of a TypedDict of the SDK."""
    room = {**vars(typing), **vars(sys.modules[cls.__module__])}
    found, needed = {}, set()
    for name, said in cls.__annotations__.items():
        if name in _OPTIONS:
            continue
        meant = _evaluated(said, room)
        if typing.get_origin(meant) is typing_extensions.NotRequired:
            meant = _evaluated(typing.get_args(meant)[0], room)
        else:
            needed.add(name)
        found[name] = meant
    return found, frozenset(needed)


def _evaluated(said: Any, room: dict[str, Any]) -> Any:
    """Return an annotation without any name in it that waits to be looked up."""
    if isinstance(said, typing.ForwardRef):
        said = said.__forward_arg__
    if isinstance(said, str):
        return _evaluated(eval(said, room), room)  # noqa: S307 - an annotation of the SDK, nobody else's text
    args = typing.get_args(said)
    if typing.get_origin(said) is typing.Literal or not args:
        return said
    whole = tuple(_evaluated(one, room) for one in args)
    if isinstance(said, types.UnionType):
        return functools.reduce(operator.or_, whole)
    return said.copy_with(whole) if hasattr(said, "copy_with") else types.GenericAlias(typing.get_origin(said), whole)


# -- readers ------------------------------------------------------------------------------------------------------------------


def _of(meant: Any) -> Reader:
    """Return what reads a value of an annotation."""
    origin, args = typing.get_origin(meant), typing.get_args(meant)
    if meant in _PLAIN:
        return _PLAIN[meant]
    if origin is typing.Literal:
        return _one_of(tuple(args))
    if origin is typing.Union or isinstance(meant, types.UnionType):
        return _any_of(args)
    if origin is list:
        return _list_of(_of(args[0]))
    if origin is dict:
        return _table_of(_of(args[1]))
    if typing_extensions.is_typeddict(meant):
        return _of_fields(meant)
    raise TypeError(f"the SDK types a parameter as {meant!r}")


def _of_fields(cls: Any) -> Reader:
    said, needed = _fields(cls)
    readers: dict[str, Reader] = {}  # made when first asked for: the largest classes hold a thousand of them

    def read(sent: Any, path: str) -> dict[str, Any]:
        if not isinstance(sent, dict):
            _refuse("Invalid object", path)
        strange = [name for name in sent if name not in said]
        if strange:
            named = ", ".join(_below(path, name) for name in strange)
            word = "parameter" if len(strange) == 1 else "parameters"
            _refuse(f"Received unknown {word}: {named}", _below(path, strange[0]), "parameter_unknown")
        lacking = sorted(needed - sent.keys())
        if lacking:
            _refuse(
                f"Missing required param: {_below(path, lacking[0])}.", _below(path, lacking[0]), "parameter_missing"
            )
        made = {}
        for name, value in sent.items():
            if name not in readers:
                readers[name] = _of(said[name])
            made[name] = readers[name](value, _below(path, name))
        if isinstance(made.get("metadata"), dict):
            _check_metadata(made["metadata"], _below(path, "metadata"))
        return made

    return read


def _any_of(args: tuple[Any, ...]) -> Reader:
    """Return what reads one of several: words beside `str` leave no room for other words."""
    words = tuple(word for one in args if typing.get_origin(one) is typing.Literal for word in typing.get_args(one))
    arms = [
        one
        for one in args
        if typing.get_origin(one) is not typing.Literal
        and typing.get_origin(one) is not UntypedStripeObject
        and not (one is str and any(words))
    ]
    shaped = [_of(one) for one in arms if one not in _PLAIN]
    plain = [_of(one) for one in arms if one in _PLAIN]
    chosen = _one_of(words)

    def read(sent: Any, path: str) -> Any:
        if isinstance(sent, dict):
            return (shaped or plain or [chosen])[0](sent, path)
        if sent in words:
            return sent
        if sent == "" and shaped:
            return shaped[0](sent, path)
        for place, arm in enumerate(plain, 1):
            try:
                return arm(sent, path)
            except Refused:
                if place == len(plain):
                    raise
        return (chosen if any(words) else shaped[0])(sent, path)

    return read


def _one_of(words: tuple[Any, ...]) -> Reader:
    said = [str(word) for word in words if word != ""]
    listed = (
        said[0] if len(said) == 1 else f"one of {', '.join(said[:-1])}, or {said[-1]}" if said else "an empty string"
    )

    def read(sent: Any, path: str) -> Any:
        for word in words:
            if sent == word or (isinstance(word, bool) and sent == str(word).lower()):
                return word
        return _refuse(f"Invalid {_last(path)}: must be {listed}", path, "")

    return read


def _list_of(one: Reader) -> Reader:
    def read(sent: Any, path: str) -> list[Any]:
        if not isinstance(sent, dict) or not all(name.isdigit() for name in sent):
            _refuse("Invalid array", path)
        ordered = sorted(sent, key=int)
        return [one(sent[name], f"{path}[{place}]") for place, name in enumerate(ordered)]

    return read


def _table_of(one: Reader) -> Reader:
    def read(sent: Any, path: str) -> dict[str, Any]:
        if not isinstance(sent, dict):
            _refuse("Invalid object", path)
        is_metadata = _last(path) in ("metadata", "payload")  # an empty value takes a key away
        return {
            name: "" if is_metadata and value == "" else one(value, _below(path, name)) for name, value in sent.items()
        }

    return read


_UNSET = ("description", "email")
"""Plain texts that an empty value unsets. Source: docs.stripe.com/changelog/2013-08-12/allows-description-email-fields-null."""


def _text(sent: Any, path: str) -> str:
    if not isinstance(sent, str):
        _refuse(f"Invalid string: {sent}", path)
    if sent == "" and path not in _UNSET:
        _refuse(
            f"You passed an empty string for '{path}'. We assume empty values are an attempt to unset a parameter; however "
            f"'{path}' cannot be unset. You should remove '{path}' from your request or supply a non-empty value.",
            path,
            "parameter_invalid_empty",
        )
    if len(sent) > _LONGEST_TEXT:
        _refuse(
            f"Invalid string: {sent[:20]}...; must be at most {_LONGEST_TEXT} characters",
            path,
            "parameter_invalid_string",
        )
    return str(sent)


def _whole(sent: Any, path: str) -> int:
    if not isinstance(sent, str) or not _INTEGER.fullmatch(sent):
        _refuse(f"Invalid integer: {sent}", path, "parameter_invalid_integer")
    return int(sent)


def _decimal(sent: Any, path: str) -> Decimal:
    if not isinstance(sent, str) or not _DECIMAL.fullmatch(sent):
        _refuse(f"Invalid decimal: {sent}; must contain at maximum 12 decimal places.", path)
    return Decimal(sent)


def _share(sent: Any, path: str) -> float:
    if not isinstance(sent, str) or not _DECIMAL.fullmatch(sent):
        _refuse(f"Invalid decimal: {sent}", path)
    return float(sent)


def _flag(sent: Any, path: str) -> bool:
    if sent not in ("true", "false"):
        _refuse(f"Invalid boolean: {sent}", path)
    return bool(sent == "true")


_PLAIN: dict[Any, Reader] = {str: _text, int: _whole, Decimal: _decimal, float: _share, bool: _flag}


def _check_metadata(metadata: dict[str, str], path: str) -> None:
    if len(metadata) > _METADATA_KEYS:
        _refuse(f"Metadata can have up to {_METADATA_KEYS} keys, but you passed in {len(metadata)}.", path)
    for key, value in metadata.items():
        if len(key) > _METADATA_KEY:
            _refuse(
                f"Metadata keys can have up to {_METADATA_KEY} characters, but you passed in a key that is {len(key)} characters. Invalid key: {key}",
                path,
            )
        if len(value) > _METADATA_VALUE:
            _refuse(
                f"Metadata values can have up to {_METADATA_VALUE} characters, but you passed in a value that is {len(value)} characters. Invalid value: {value}",
                f"{path}[{key}]",
            )


def _below(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name


def _last(path: str) -> str:
    """Return the last name in a path that is no place in a list: `phases[0][items][1]` gives items."""
    names = [name for name in path.replace("]", "").split("[") if not name.isdigit()]
    return names[-1] if names else path


def _refuse(message: str, path: str, code: str = "") -> NoReturn:
    raise Refused(message, code=code, param=path)
