"""YAML and JSON with positions: values, places, and every complaint at its place."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import ConfigError, Problem
from connector.kit import yamlpos


def complaint(text: str) -> str:
    """Return what is said about *text*."""
    with pytest.raises(ConfigError) as caught:
        yamlpos.loads(text, "f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1_000", 1000),
        ("0x1f", 31),
        ("012", 12),
        ("1.50", Decimal("1.50")),
        ("1e3", Decimal("1E+3")),
        (".inf", ".inf"),
        ("true", True),
        ("on", "on"),
        ("yes", "yes"),
        ("~", None),
        ("", None),
        ("2026-01-31", "2026-01-31"),
        ("12:30:45", "12:30:45"),
        ("'7'", "7"),
        ("9" * 5000, "9" * 5000),
        ("!!python/object:os.system x", "x"),
    ],
)
def test_a_scalar_is_read(written: str, read: object) -> None:
    """Numbers with a point are Decimal, dates and YAML 1.1 booleans stay text, tags run nothing."""
    found = yamlpos.loads(f"key: {written}", "f.yaml").value["key"]
    assert found == read
    assert type(found) is type(read)


def test_every_key_and_value_knows_its_place() -> None:
    """Positions count lines and columns from 1, for keys, values and list elements; a missing path gives its ancestor."""
    located = yamlpos.loads("deal:\n  lines:\n    - {price: 1.5}\n    - two\n", "f.yaml")
    assert located.key_position(("deal", "lines")) == (2, 3)
    assert located.position(("deal", "lines", 0, "price")) == (3, 15)
    assert located.position(("deal", "lines", 1)) == (4, 7)
    assert located.position(("deal", "nothing", "here")) == located.position(("deal",)) == (2, 3)


def test_a_problem_shows_the_line_with_carets() -> None:
    """A problem stands in the layout of file, line, column, code, excerpt, message and hint."""
    located = yamlpos.loads("line:\n  quantity: Quantitty\n", "m.yaml")
    problem = located.problem("unknown-field", ("line", "quantity"), 'No field "Quantitty".', 'Did you mean "Quantity"?')
    assert problem.text() == (
        "m.yaml:2:13: unknown-field\n"
        "2 |   quantity: Quantitty\n"
        "  |             ^^^^^^^^^\n"
        'No field "Quantitty". Did you mean "Quantity"?'
    )


def test_all_duplicate_keys_are_named_at_once() -> None:
    """Every key that stands twice is a problem with the line of the first one."""
    with pytest.raises(ConfigError) as caught:
        yamlpos.loads("a: 1\nb: {c: 1, c: 2}\na: 3\n", "f.yaml")
    assert [(p.code, p.where.line, p.where.column) for p in caught.value.problems] == [
        ("duplicate-key", 2, 11),
        ("duplicate-key", 3, 1),
    ]
    assert "the first is in line 1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1,", "f.yaml:1:7: bad-yaml"),
        ("\ta: 1", "f.yaml:1:1: bad-yaml"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: bad-yaml"),
        ("a: 1\nb: \x00", "f.yaml:2:4: bad-yaml"),
        ("? [1, 2]\n: 3", "f.yaml:1:3: bad-yaml"),
        ("a: &x {b: *x}", "f.yaml:1:1: too-deep"),
        ("[" * 20_000, "f.yaml:1:1: too-deep"),
        ("a: &a [x,x,x,x,x,x,x,x]\n" + "".join(f"b{n}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 8)}]\n" for n in range(9)), "too-deep"),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_its_place(text: str, place: str) -> None:
    """Broken syntax, foreign characters, endless nesting and bombs of aliases end in one clear problem."""
    assert place in complaint(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_", min_size=1, max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
def test_json_is_read_as_it_is(tree: object) -> None:
    """JSON is YAML: any tree comes back as it was, and every position lies in the file."""
    text = json.dumps(tree, indent=1)
    located = yamlpos.loads(text, "f.json")
    assert located.value == tree
    lines = text.splitlines()
    for line, column in [*located.values_at.values(), *located.keys_at.values()]:
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1])


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever stands in a file, it is read or refused with a problem that lies in the file."""
    problems: tuple[Problem, ...] = ()
    try:
        yamlpos.loads(text, "f.yaml")
    except ConfigError as error:
        problems = error.problems
    assert all((p.where.line or 0) >= 1 and (p.where.column or 0) >= 1 for p in problems)
