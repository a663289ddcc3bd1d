"""Reads lines of a graph's text, token by token and in time linear in their length.

Every pattern here is possessive: no character is ever looked at again, whatever follows it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from graphcnn.errors import ParseError
from graphcnn.ir.graph import Graph, Value
from graphcnn.ir.types import TensorType

MAX_NESTING = 8
LONGEST_NUMBER = 30
LONGEST_STRING = 2**14
"""Characters of a name, a label or a path."""

STRING = r'"(?:[^"\\]++|\\.)*+"'
TOKEN = re.compile(
    rf"""[ \t]*+(?:
        (?P<value>%[0-9]{{1,9}}+(?:\.[0-9]{{1,3}}+)?+)
      | (?P<number>-?+(?:inf|nan|[0-9]++(?:\.[0-9]*+)?+(?:[eE][-+]?+[0-9]++)?+)(?!\w))
      | (?P<string>{STRING})
      | (?P<word>[^\W\d]\w*+)
      | (?P<mark>[\[\](),:=])
    )""",
    re.VERBOSE,
)
SOURCE = re.compile(rf'source[ ]++(?P<alias>{STRING}[ ]*+|[^"=]++)=[ ]*+(?P<file>{STRING})[ ]*+')
FIELD = re.compile(rf'[ ]*+(?P<text>{STRING}|[^|"]*+)[ ]*+(?P<end>\||\Z)')
LINE = re.compile(r"[0-9]{1,9}")
FORWARD = re.compile(r"of %([0-9]{1,9})")
MOST_FIELDS = 4


class Scanner:
    """Reads one line token by token."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._position = 0
        self._token: re.Match[str] | None = None

    def _match(self) -> re.Match[str]:
        """Return the token at the position, which is looked for once."""
        if self._token is None:
            self._token = TOKEN.match(self._line, self._position)
        if self._token is None:
            raise ParseError(f"column {self._position + 1} cannot be read")
        return self._token

    def _pass(self, token: re.Match[str]) -> None:
        self._position, self._token = token.end(), None

    def peek(self) -> str:
        return self._match().lastgroup or ""

    def take(self, kind: str) -> str:
        token = self._match()
        if token.lastgroup != kind:
            raise ParseError(
                f"column {self._position + 1}: expected a {kind}, found {token[0].strip()!r:.80}"
            )
        self._pass(token)
        return token[kind]

    def skip(self, mark: str) -> bool:
        token = self._token or TOKEN.match(self._line, self._position)
        if token is None or token["mark"] != mark:
            self._token = token
            return False
        self._pass(token)
        return True

    def expect(self, mark: str) -> None:
        if not self.skip(mark):
            raise ParseError(f"column {self._position + 1}: expected {mark!r}")

    def string(self) -> str:
        return unquoted(self.take("string"))

    def value(self, graph: Graph) -> Value:
        key, _, index = self.take("value")[1:].partition(".")
        if int(key) >= len(graph):
            raise ParseError(f"%{key} is used before it is computed")
        results = graph.results(int(key))
        if int(index or 0) >= len(results):
            raise ParseError(f"%{key} has no result {index}")
        return results[int(index or 0)]

    def type(self) -> TensorType:
        dtype = self.take("word")
        self.expect("[")
        shape: list[Any] = []
        while not self.skip("]"):
            shape.append(self.take("word") if self.peek() == "word" else self._number())
            if not self.skip(","):
                self.expect("]")
                break
        return TensorType(tuple(shape), dtype)  # type: ignore[arg-type]

    def attribute(self, depth: int = 0) -> object:
        if depth > MAX_NESTING:
            raise ParseError(f"tuples are nested more than {MAX_NESTING} deep")
        kind = self.peek()
        if kind == "number":
            return self._number()
        if kind == "string":
            return self.string()
        if kind == "word":
            word = self.take("word")
            if word not in ("True", "False"):
                raise ParseError(f"{word!r:.80} is not a value")
            return word == "True"
        self.expect("(")
        items = []
        while not self.skip(")"):
            items.append(self.attribute(depth + 1))
            if not self.skip(","):
                self.expect(")")
                break
        return tuple(items)

    def _number(self) -> int | float:
        text = self.take("number")
        if len(text) > LONGEST_NUMBER:
            raise ParseError(f"a number has more than {LONGEST_NUMBER} characters")
        return int(text) if text.lstrip("-").isdecimal() else float(text)

    def rest(self) -> str:
        return self._line[self._position :]

    def end(self) -> None:
        if self.rest().strip():
            raise ParseError(f"column {self._position + 1}: nothing more may stand here")


def origin_fields(text: str) -> list[str]:
    """Return the four fields of `| layer | place | rule | of %key`; those that are left out are empty."""
    fields: list[str] = []
    position = text.index("|") + 1
    while len(fields) < MOST_FIELDS:
        match = FIELD.match(text, position)
        if match is None:
            raise ParseError("the origin is not of the form `| layer | place | rule | of %key`")
        fields.append(unquoted(match["text"]))
        position = match.end()
        if not match["end"]:
            return [*fields, "", "", ""][:MOST_FIELDS]
    raise ParseError("the origin has more than four fields")


def unquoted(text: str) -> str:
    """Return what a string says, which is quoted or bare."""
    if not text.startswith('"'):
        result = text.strip()
    else:
        try:
            result = str(json.loads(text))
        except ValueError:
            raise ParseError(f"{text:.80} is not a quoted string") from None
    if len(result) > LONGEST_STRING:
        raise ParseError(f"a name of {len(result)} characters is longer than {LONGEST_STRING}")
    return result
