"""SOQL text -> syntax tree. What the grammar here does not know is MALFORMED_QUERY, as in a real org; nothing is skipped.

`SELECT Id, Account.Name FROM Opportunity WHERE IsWon = true AND (Amount > 100 OR Amount = null)` becomes a `Query` whose
`where` is `And(Compare(IsWon = true), Or(...))`. AND and OR may be mixed with parentheses only, and NOT stands first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal

from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.soql_tree import (
    Aliased,
    Call,
    Compare,
    Condition,
    Includes,
    Junction,
    Literal,
    Negation,
    Path,
    Query,
    SortKey,
    Token,
    Within,
)

MAX_LENGTH = 100_000
MAX_OFFSET = 2000
MAX_DEPTH = 50
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
    | (?P<day>\d{4}-\d\d-\d\d)(?![\dT])
    | (?P<money>[A-Za-z]{3}[+-]?\d+(?:\.\d+)?)(?![\w.])
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    | (?P<word>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::\d+)?)
    | (?P<sign><=|>=|!=|<>|[=<>(),])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "N": "\n", "r": "\r", "R": "\r", "t": "\t", "T": "\t", "b": "\b", "B": "\b", "f": "\f",
            "F": "\f", "%": "%", "_": "_"}  # fmt: skip
_OPERATORS = ("=", "!=", "<>", "<", "<=", ">", ">=")
_RESERVED = frozenset(
    [
        "select",
        "from",
        "where",
        "and",
        "or",
        "not",
        "in",
        "like",
        "includes",
        "excludes",
        "group",
        "having",
        "order",
        "by",
        "asc",
        "desc",
        "nulls",
        "limit",
        "offset",
        "for",
        "with",
        "using",
        "all",
        "update",
        "typeof",
        "end",
        "then",
        "when",
        "else",
        "null",
        "true",
        "false",
    ]
)


def complaint(soql: str, at: int, message: str, code: str = "MALFORMED_QUERY") -> Refusal:
    """Return the error of a query: an excerpt, a caret, row and column, and what is wrong."""
    line_start = soql.rfind("\n", 0, at) + 1
    row, column = soql.count("\n", 0, at) + 1, at - line_start + 1
    begin = max(line_start, at - 30)
    line_end = soql.find("\n", at)
    excerpt = soql[begin : min(line_end if line_end >= 0 else len(soql), at + 30)]
    return Refusal(code, f"\n{excerpt}\n{' ' * (at - begin)}^\nERROR at Row:{row}:Column:{column}\n{message}")


def parsed(soql: str) -> Query:
    """Return the syntax tree of a query. Raises: Refusal MALFORMED_QUERY with the place."""
    if len(soql) > MAX_LENGTH:
        raise Refusal("QUERY_TOO_COMPLICATED", f"SOQL statements cannot be longer than {MAX_LENGTH} characters")
    return _Parser(soql).statement()


def parsed_condition(text: str) -> Condition:
    """Return the syntax tree of a condition that stands alone. Raises: Refusal MALFORMED_QUERY with the place."""
    return _Parser(text).whole_condition()


def unescaped(soql: str, literal: Literal) -> str:
    """Return the text that a string literal stands for. Raises: Refusal for an escape that SOQL does not have."""
    return "".join(char for char, _ in characters(soql, literal))


def characters(soql: str, literal: Literal) -> list[tuple[str, bool]]:
    """Return the characters of a string literal, each with whether it was escaped (a literal % or _ in LIKE)."""
    out, text, at = [], literal.value, 0
    while at < len(text):
        if text[at] != "\\":
            out.append((text[at], False))
            at += 1
        elif text[at + 1] in _ESCAPES:
            out.append((_ESCAPES[text[at + 1]], True))
            at += 2
        elif text[at + 1] in "uU" and re.fullmatch(r"[0-9A-Fa-f]{4}", text[at + 2 : at + 6]):
            out.append((chr(int(text[at + 2 : at + 6], 16)), True))
            at += 6
        else:
            raise complaint(
                soql, literal.at, f"Illegal character sequence '\\{text[at + 1]}' in string literal '{text}'."
            )
    return out


@dataclass(slots=True)
class _Parser:
    soql: str
    tokens: list[Token] = field(default_factory=list)
    next: int = 0
    depth: int = 0

    def __post_init__(self) -> None:
        at = 0
        while at < len(self.soql):
            found = _TOKEN.match(self.soql, at)
            if found is None:
                rest = self.soql[at:]
                if not rest.strip():
                    break
                at += len(rest) - len(rest.lstrip())
                shown = "<EOF>" if self.soql[at] == "'" else f"'{self.soql[at]}'"
                raise complaint(self.soql, at, f"unexpected token: {shown}")
            kind = found.lastgroup or ""
            self.tokens.append(Token(kind=kind, text=found.group(kind), at=found.start(kind)))
            at = found.end()
        self.tokens.append(Token(kind="end", text="<EOF>", at=len(self.soql)))

    # -- words ------------------------------------------------------------------------------------------------------------

    @property
    def token(self) -> Token:
        return self.tokens[self.next]

    def unexpected(self, token: Token | None = None) -> Refusal:
        token = token or self.token
        shown = token.text if token.kind == "end" else f"'{token.text}'"
        return complaint(self.soql, token.at, f"unexpected token: {shown}")

    def take(self) -> Token:
        token = self.token
        self.next += 1
        return token

    def takes(self, *words: str) -> bool:
        """Consume the words if they come next, all of them."""
        if all(self.tokens[min(self.next + n, len(self.tokens) - 1)].low == word for n, word in enumerate(words)):
            self.next += len(words)
            return True
        return False

    def must(self, *words: str) -> None:
        for word in words:
            if self.token.low != word:
                raise self.unexpected()
            self.take()

    def name(self) -> Token:
        token = self.token
        if not self.is_name(token):
            raise self.unexpected()
        return self.take()

    @staticmethod
    def is_name(token: Token) -> bool:
        # `cnt1` looks like a currency literal to the tokenizer; where a name may stand it is one
        if token.kind == "money":
            return token.text.isalnum()
        return token.kind == "word" and ":" not in token.text and token.low not in _RESERVED

    def whole_number(self) -> int:
        token = self.take()
        if token.kind != "number" or not token.text.isdigit():
            raise self.unexpected(token)
        return int(token.text)

    # -- statements -------------------------------------------------------------------------------------------------------

    def statement(self) -> Query:
        query = self.query()
        if self.token.kind != "end":
            raise self.unexpected()
        return query

    def whole_condition(self) -> Condition:
        condition = self.condition()
        if self.token.kind != "end":
            raise self.unexpected()
        return condition

    def query(self) -> Query:
        at = self.token.at
        self.must("select")
        select = [self.selected()]
        while self.takes(","):
            select.append(self.selected())
        self.must("from")
        source = self.take() if self.token.low == "order" else self.name()  # a reserved word, and an object
        alias = self.name().text if self.is_name(self.token) else ""
        where = self.condition() if self.takes("where") else None
        group_by: list[Path] = []
        having = None
        if self.takes("group", "by"):
            group_by = self.paths()
            having = self.condition() if self.takes("having") else None
        order_by = self.sort_keys() if self.takes("order", "by") else ()
        limit = self.whole_number() if self.takes("limit") else None
        offset = self.offset() if self.takes("offset") else 0
        if self.takes("for") and not (self.takes("view") or self.takes("reference")):
            raise self.unexpected()
        return Query(
            select=tuple(select), source=source.text, alias=alias, at=source.at if at == 0 else at, where=where,
            group_by=tuple(group_by), having=having, order_by=order_by, limit=limit, offset=offset,
        )  # fmt: skip

    def offset(self) -> int:
        at = self.token.at
        rows = self.whole_number()
        if rows > MAX_OFFSET:
            raise complaint(self.soql, at, f"Maximum SOQL offset allowed is {MAX_OFFSET}", "NUMBER_OUTSIDE_VALID_RANGE")
        return rows

    def selected(self) -> Path | Call | Aliased | Query:
        if self.takes("("):
            query = self.query()
            self.must(")")
            return query
        expression = self.expression()
        if not self.is_name(self.token):
            return expression
        alias = self.name()
        if self.token.low not in (",", "from"):
            raise self.unexpected(alias)
        if isinstance(expression, Path):
            return Aliased(path=expression, alias=alias.text, at=alias.at)
        return Call(name=expression.name, argument=expression.argument, alias=alias.text, at=expression.at)

    def expression(self) -> Path | Call:
        token = self.name()
        if not self.takes("("):
            return Path(names=tuple(token.text.split(".")), at=token.at)
        argument = None if self.token.low == ")" else self.path()
        self.must(")")
        return Call(name=token.text, argument=argument, at=token.at)

    def path(self) -> Path:
        # FIELDS(ALL) is the one place where a reserved word stands for a field
        token = self.take() if self.token.low == "all" else self.name()
        return Path(names=tuple(token.text.split(".")), at=token.at)

    def paths(self) -> list[Path]:
        out = [self.path()]
        while self.takes(","):
            out.append(self.path())
        return out

    def sort_keys(self) -> tuple[SortKey, ...]:
        out = []
        while True:
            by = self.expression()
            is_descending = self.takes("desc")
            if not is_descending:
                self.takes("asc")
            nulls_last = self.takes("nulls", "last")
            if not nulls_last:
                self.takes("nulls", "first")
            out.append(SortKey(by=by, is_descending=is_descending, nulls_last=nulls_last))
            if not self.takes(","):
                return tuple(out)

    # -- conditions -------------------------------------------------------------------------------------------------------

    def condition(self) -> Condition:
        if self.takes("not"):
            part = Negation(part=self.simple())
            if self.token.low in ("and", "or"):
                raise self.unexpected()
            return part
        parts = [self.simple()]
        joint = self.token.low
        if joint not in ("and", "or"):
            return parts[0]
        while self.takes(joint):
            parts.append(self.simple())
        if self.token.low in ("and", "or"):
            raise complaint(self.soql, self.token.at, f"unexpected token: {self.token.text}")
        return Junction(is_and=joint == "and", parts=tuple(parts))

    def simple(self) -> Condition:
        if self.takes("("):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise complaint(self.soql, self.token.at, "too many levels of parentheses", "QUERY_TOO_COMPLICATED")
            condition = self.condition()
            self.must(")")
            self.depth -= 1
            return condition
        left = self.expression()
        token = self.take()
        if token.low in ("not", "in"):
            if token.low == "not":
                self.must("in")
            return self.within(left, token)
        if token.low in ("includes", "excludes"):
            return self.included(left, token)
        if token.low == "like":
            return Compare(left=left, operator="like", right=self.literal())
        if token.low not in _OPERATORS:
            raise self.unexpected(token)
        return Compare(left=left, operator="!=" if token.low == "<>" else token.low, right=self.literal())

    def within(self, left: Path | Call, token: Token) -> Within:
        if isinstance(left, Call):
            raise self.unexpected(token)
        self.must("(")
        values: tuple[Literal, ...] | Query
        if self.token.low == "select":
            values = self.query()
        else:
            found = [self.literal()]
            while self.takes(","):
                found.append(self.literal())
            values = tuple(found)
        self.must(")")
        return Within(left=left, is_negated=token.low == "not", values=values)

    def included(self, left: Path | Call, token: Token) -> Includes:
        if isinstance(left, Call):
            raise self.unexpected(token)
        self.must("(")
        values = [self.literal()]
        while self.takes(","):
            values.append(self.literal())
        self.must(")")
        return Includes(left=left, is_negated=token.low == "excludes", values=tuple(values))

    def literal(self) -> Literal:
        token = self.take()
        kind, value = token.kind, token.text
        if kind == "string":
            return Literal(kind="string", value=value[1:-1], at=token.at)
        if kind == "number":
            return Literal(kind="number", value=Decimal(value), at=token.at)
        if kind in ("day", "instant", "money"):
            return Literal(kind=kind, value=value, at=token.at)
        if token.low in ("true", "false"):
            return Literal(kind="bool", value=token.low == "true", at=token.at)
        if token.low == "null":
            return Literal(kind="null", value=None, at=token.at)
        if kind == "word" and "." not in value and token.low not in _RESERVED:
            return Literal(kind="range", value=value.upper(), at=token.at)
        raise self.unexpected(token)
