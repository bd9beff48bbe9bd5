r"""References inside a column: `tags[]`, `payload->actor->id`, `body->items[]->user`, `cache_key ~ ^user:(\d+)$`.

One spelling serves `via:` and the keys of `edges:`. A column that is really called like that is meant first.
"""

from __future__ import annotations

import re
from dataclasses import replace

from domicile.catalogue import FOLDED, PLAIN, Column, Comparison, Table
from domicile.errors import BadFile
from domicile.model import EACH, Holds, KeyKind, Reading

TEXT = ("pg_catalog", "text")
PATTERN_SIGN = " ~ "
WHOLE_TEXT = f"{PATTERN_SIGN}^(.+)$"
"""After a text column: its whole text is the reference, compared by the key's own type."""
PATTERN_LENGTH_MAX = 500
STEP = re.compile(r"\[\]|->((?:(?!->|\[\]).)+)")
TEXTS = ("text", "character varying")
INTEGERS = ("smallint", "integer", "bigint")


def is_reading(text: str, table: Table) -> bool:
    """Whether the text is more than a column's name."""
    return table.column(text) is None and (EACH in text or "->" in text or PATTERN_SIGN in text)


def parse_reading(text: str, table: Table, *, refers_to: Column, where: str, fold: bool = False) -> Reading:
    """Read the spelling against the table's columns; `refers_to` is the column whose values are read.

    Raises BadFile naming `where` when there is no such column, or it can't hold what the spelling says.
    """
    column, rest = _column(text, table, where)
    path, sign, pattern = rest.partition(PATTERN_SIGN)
    steps = tuple(match[1] or EACH for match in STEP.finditer(path))
    if "".join(step if step == EACH else f"->{step}" for step in steps) != path:
        raise BadFile(f"{where}: {text!r} can't be read; write column[], column->key->key, or column ~ pattern")
    if sign:
        check_pattern(pattern, where)
    kind, comparison = (KeyKind.TEXT, FOLDED) if fold else _compared(refers_to)
    return Reading(
        column=column.name, holds=_holds(column, steps, where), steps=steps, pattern=pattern if sign else None,
        kind=kind, comparison=comparison,
    )  # fmt: skip


def _column(text: str, table: Table, where: str) -> tuple[Column, str]:
    for column in sorted(table.columns, key=lambda item: -len(item.name)):
        rest = text.removeprefix(column.name)
        if rest != text and rest.startswith((EACH, "->", PATTERN_SIGN)):
            return column, rest
    raise BadFile(f"{where}: {text!r} names no column of {table.name}")


def _holds(column: Column, steps: tuple[str, ...], where: str) -> Holds:
    if column.category == "A":
        if steps[:1] != (EACH,) or len(steps) > 1:
            raise BadFile(f"{where}: {column.name} is an array ({column.type}); write {column.name}[]")
        return Holds.ARRAY
    if not steps:
        return Holds.TEXT
    if column.base == "jsonb":
        return Holds.JSONB
    if column.base == "json" or column.category == "S":
        return Holds.JSON
    raise BadFile(f"{where}: {column.name} ({column.type}) holds neither an array nor JSON")


def check_pattern(pattern: str, where: str) -> None:
    """Refuse what has not exactly one group; the server's own dialect is asked when the closure is computed."""
    if len(pattern) > PATTERN_LENGTH_MAX:
        raise BadFile(f"{where}: the pattern is longer than {PATTERN_LENGTH_MAX} characters")
    try:
        groups = re.compile(pattern).groups
    except re.error as fault:
        raise BadFile(f"{where}: the pattern can't be read: {fault}") from None
    if groups != 1:
        raise BadFile(f"{where}: the pattern needs exactly one group ( ) around the reference")


def _compared(key: Column) -> tuple[KeyKind, Comparison]:
    """How a text that was read is compared with the key: as what it is, by the key's own equality where it has one."""
    if key.base in INTEGERS:
        return KeyKind.INTEGER, PLAIN
    if key.base == "uuid":
        return KeyKind.UUID, PLAIN
    own = key.equality or PLAIN
    if own.operator != PLAIN.operator and key.category == "S":
        return KeyKind.TEXT, replace(own, right=own.right or TEXT)
    return (KeyKind.TEXT if key.base in TEXTS else KeyKind.OTHER), PLAIN
