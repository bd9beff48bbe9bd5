"""Where something stands in `domicile.yaml`: keys → line. For refusals, and for saying where a rule is written."""

from __future__ import annotations

from collections.abc import Sequence

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq


def line_of(tree: object, keys: Sequence[str]) -> tuple[int, int]:
    """The line of the last of `keys` that the tree has, and how many of them it has."""
    node, line, found = tree, 1, 0
    for key in keys:
        if isinstance(node, CommentedMap) and key in node:
            line = node.lc.key(key)[0] + 1
            node = node[key]
        elif isinstance(node, CommentedSeq) and key.isdigit() and int(key) < len(node):
            line = node.lc.item(int(key))[0] + 1
            node = node[int(key)]
        else:
            break
        found += 1
    return int(line), found


class Places:
    """The places of one file, which was read before and so is known to be YAML."""

    def __init__(self, data: bytes, *, origin: str) -> None:
        self._tree: object = YAML(typ="rt", pure=True).load(data.decode())
        self._origin = origin

    def of(self, *keys: str) -> str | None:
        """`file:line` of what stands under exactly these keys, or None where the file doesn't say it."""
        line, found = line_of(self._tree, keys)
        return f"{self._origin}:{line}" if found == len(keys) else None

    def near(self, *keys: str) -> str:
        """`file:line` of these keys, or of the last of them that the file has."""
        return f"{self._origin}:{line_of(self._tree, keys)[0]}"
