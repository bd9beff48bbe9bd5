"""Ranges of sequences that cannot meet: share 0 stays with the source, each home has one of the others.

The values left are read once, at the freeze, and kept with the manifest, so that every share is cut from the same
cloth, whenever it is given. Nothing cycles afterwards: a sequence that reaches its end fails, and says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql
from pydantic import TypeAdapter

from domicile.catalogue import Catalogue, Sequence
from domicile.errors import Refused
from domicile.stores.postgres.names import STAGING, relation
from domicile.stores.postgres.session import run

WIDTHS = {"smallint": 15, "integer": 31, "bigint": 63}
SEQUENCES = TypeAdapter(tuple[Sequence, ...])
TABLE = sql.Identifier(STAGING, "sequences")


def within_columns(catalogue: Catalogue) -> tuple[Sequence, ...]:
    """The sequences, each bounded by the type of the column that draws from it, which may be narrower."""
    return tuple(_within(sequence, catalogue) for sequence in catalogue.sequences)


def _within(sequence: Sequence, catalogue: Catalogue) -> Sequence:
    table = catalogue.table(sequence.owner[0]) if sequence.owner else None
    column = table.column(sequence.owner[1]) if table and sequence.owner else None
    bits = WIDTHS.get(column.base, 63) if column else 63
    return replace(sequence, maximum=min(sequence.maximum, 2**bits - 1), minimum=max(sequence.minimum, -(2**bits)))


def freeze(connection: psycopg.Connection[Any], found: tuple[Sequence, ...]) -> None:
    """Keep the sequences as they are now."""
    body = SEQUENCES.dump_json(found).decode()
    run(connection, sql.SQL("CREATE TABLE {} AS SELECT {}::text AS body").format(TABLE, sql.Literal(body)))


def frozen(connection: psycopg.Connection[Any]) -> tuple[Sequence, ...]:
    """The sequences as they were at the freeze."""
    row = run(connection, sql.SQL("SELECT body FROM {}").format(TABLE)).fetchone()
    return SEQUENCES.validate_json(row[0]) if row else ()


def give_home(connection: psycopg.Connection[Any], found: tuple[Sequence, ...], *, share: int, shares: int) -> None:
    """Let the sequences of a home draw from its share, from its beginning on."""
    for sequence in found:
        low, high = bounds(sequence, share, shares)
        start = low if sequence.increment > 0 else high
        run(
            connection,
            sql.SQL("ALTER SEQUENCE {} MINVALUE {} MAXVALUE {} START {} RESTART {} NO CYCLE").format(
                relation(sequence.name), sql.Literal(low), sql.Literal(high), sql.Literal(start), sql.Literal(start)
            ),
        )


def limit_source(connection: psycopg.Connection[Any], *, sequence: Sequence, shares: int) -> None:
    """Keep a sequence of the source within share 0; where it stands is left alone."""
    low, high = bounds(sequence, 0, shares)
    end = ("MAXVALUE", high) if sequence.increment > 0 else ("MINVALUE", low)
    _alter(connection, sequence, end, cycles=False)


def unlimit_source(connection: psycopg.Connection[Any], *, sequence: Sequence) -> None:
    """Give a sequence of the source back what it had (a run that is given up)."""
    end = ("MAXVALUE", sequence.maximum) if sequence.increment > 0 else ("MINVALUE", sequence.minimum)
    _alter(connection, sequence, end, cycles=sequence.cycles)


def _alter(connection: psycopg.Connection[Any], sequence: Sequence, end: tuple[str, int], *, cycles: bool) -> None:
    word, value = end
    run(
        connection,
        sql.SQL("ALTER SEQUENCE {} {} {} {}").format(
            relation(sequence.name),
            sql.SQL("MAXVALUE" if word == "MAXVALUE" else "MINVALUE"),
            sql.Literal(value),
            sql.SQL("CYCLE" if cycles else "NO CYCLE"),
        ),
    )


def bounds(sequence: Sequence, share: int, shares: int) -> tuple[int, int]:
    """The inclusive bounds of a share of what the sequence has left.

    Raises Refused when less than one value a share is left.
    """
    if sequence.increment > 0:
        used = sequence.minimum - 1 if sequence.last_value is None else max(sequence.last_value, sequence.minimum - 1)
        left = sequence.maximum - used
    else:
        used = sequence.maximum + 1 if sequence.last_value is None else min(sequence.last_value, sequence.maximum + 1)
        left = used - sequence.minimum
    width = left // shares
    if width < 1:
        raise Refused(f"sequence {sequence.name} has {left} values left, too few for {shares} ranges; widen its type")
    if sequence.increment > 0:
        low = used + 1 + share * width
        return low, low + width - 1
    high = used - 1 - share * width
    return high - width + 1, high
