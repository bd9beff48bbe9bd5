"""YAML bytes → plain values and back to the line: bounded in bytes, depth and nodes; nothing but BadFile comes out.

An alias is expanded where it stands, so the number of nodes is counted after that: ten lines of YAML can mean a
thousand million values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from domicile.config.places import line_of
from domicile.errors import BadFile

FILE_BYTES_MAX = 4 * 1024 * 1024
DEPTH_MAX = 32
NODES_MAX = 1_000_000
ERRORS_SHOWN_MAX = 20

Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A parsed file: its name, its lines, and its values without them."""

    origin: str
    root: CommentedMap
    plain: object

    def model(self, shape: type[Shape], *, hint: str) -> Shape:
        """Check the values against a model; raise BadFile with line and key. `hint` says where keys are listed."""
        try:
            return shape.model_validate(self.plain)
        except ValidationError as fault:
            shown = fault.errors()[:ERRORS_SHOWN_MAX]
            raise BadFile("\n".join(self._explain(error, hint) for error in shown)) from None

    def _explain(self, error: ErrorDetails, hint: str) -> str:
        keys = list(_keys(self.plain, error["loc"]))
        where = ".".join(keys) or "the file"
        message = str(error["msg"]).removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            message = f"no such key here; see {hint}"
        return f"{self.origin}:{line_of(self.root, keys)[0]}: {where}: {message}"


def _keys(plain: object, location: Sequence[int | str]) -> Iterator[str]:
    """The keys of a place as the file has them: without the words for validators, or for one of several kinds."""
    node = plain
    for part in location:
        is_kind = isinstance(node, Mapping) and part not in node and part == node.get("kind")
        if is_kind or part in {"function-after", "function-before"}:
            continue
        yield str(part)
        if isinstance(node, Mapping):
            node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]


def load_tree(data: bytes, *, origin: str, remedy: str) -> Tree:
    """Parse the bytes of a file whose root is a mapping; `remedy` says how a good one is made.

    Raises BadFile: too large, no YAML, too deep, too many values.
    """
    if len(data) > FILE_BYTES_MAX:
        raise BadFile(f"{origin} is larger than {FILE_BYTES_MAX} bytes; split it")
    reader = YAML(typ="rt", pure=True)
    reader.allow_duplicate_keys = False
    try:
        text = data.decode()
        if "&" in text and "*" in text:
            _refuse_cycles(text, origin)
        root = reader.load(text)
    except (YAMLError, UnicodeDecodeError, ValueError, RecursionError) as fault:
        raise BadFile(f"{origin} is not YAML: {_first_line(fault)}") from None
    if not isinstance(root, CommentedMap):
        raise BadFile(f"{origin} holds no mapping; {remedy}")
    return Tree(origin=origin, root=root, plain=_Expansion(origin=origin).of(root, 0))


def _refuse_cycles(text: str, origin: str) -> None:
    """Refuse a value that holds itself: the reader would make it null, and nobody would know."""
    open_anchors: list[str | None] = []
    for event in YAML(pure=True).parse(text):
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            open_anchors.append(event.anchor)
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            open_anchors.pop()
        elif isinstance(event, AliasEvent) and event.anchor in open_anchors:
            line = event.start_mark.line + 1
            raise BadFile(f"{origin}:{line}: *{event.anchor} stands inside of what it names; write the value out")


def read_bytes(path: Path, *, remedy: str) -> bytes:
    """Read a file, but never more than one byte over the limit."""
    try:
        with path.open("rb") as handle:
            return handle.read(FILE_BYTES_MAX + 1)
    except OSError as fault:
        raise BadFile(f"{path} can't be read ({fault.strerror}); {remedy}") from None


@dataclass(slots=True, kw_only=True)
class _Expansion:
    origin: str
    nodes: int = field(default=0)

    def of(self, node: object, depth: int) -> object:
        self.nodes += 1
        if depth > DEPTH_MAX:
            raise BadFile(f"{self.origin} nests deeper than {DEPTH_MAX} levels")
        if self.nodes > NODES_MAX:
            raise BadFile(f"{self.origin} holds more than {NODES_MAX} values once its aliases are expanded; split it")
        if isinstance(node, Mapping):
            return {_text(key): self.of(value, depth + 1) for key, value in node.items()}
        if isinstance(node, list):
            return [self.of(value, depth + 1) for value in node]
        return node


def _text(key: object) -> str:
    return key if isinstance(key, str) else str(key)


def _first_line(fault: Exception) -> str:
    mark = getattr(fault, "problem_mark", None)
    problem = getattr(fault, "problem", None) or type(fault).__name__
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)
