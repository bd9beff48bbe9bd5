"""Which strings a sweep looks for: read at home, kept in memory only, spelled in every form a copy may hold.

A token is a value of an erased subject. Specific ones (an e-mail, a phone number, an identifier, a canary) are
residue wherever they are found. Unspecific ones (a name, an address, free text) may belong to rows that legitimately
stay; `without_common` drops those, and counts them. Numeric keys are no tokens: their bytes are everywhere.

Nothing of a token's text leaves this module but to its matcher: no repr, no error, no pickle holds it (P8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString, NoReturn

import psycopg
from blake3 import blake3
from psycopg import sql
from psycopg.types.string import ByteaBinaryLoader

from domicile.errors import StoreFault
from domicile.sweep.forms import TokenClass
from domicile.sweep.kept import Kept
from domicile.sweep.matcher import Matcher

TOKEN_BYTES_MIN = 6
TOKEN_BYTES_MAX = 64  # of a longer value its end is searched: openings ("Dear …", a token's header) repeat
CANARY_BYTES_MAX = 256
TOKENS_MAX = 16_000_000
TEXT_BYTES_MAX = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where tokens of one class are read at home: a column, and the rows that count (`where`, a boolean over it)."""

    relation: tuple[str, ...]
    column: str
    where: sql.Composable
    token_class: TokenClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many tokens a sweep carries; beyond it a sample is drawn."""

    tokens_max: int = TOKENS_MAX
    bytes_max: int = TEXT_BYTES_MAX
    token_bytes_min: int = TOKEN_BYTES_MIN


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """What is said of the tokens in evidence: numbers only."""

    searched: int
    by_class: tuple[tuple[TokenClass, int], ...]
    sampled: bool
    too_short: int
    common: int


class Tokens:
    """A set of tokens; its text can't be read from outside by accident."""

    __slots__ = ("_common", "_kept", "_sampled", "_too_short")

    def __init__(
        self, found: Mapping[bytes, TokenClass] | Kept, *, sampled: bool = False, too_short: int = 0, common: int = 0
    ) -> None:
        self._kept = found if isinstance(found, Kept) else Kept.of(found.items())
        self._sampled = sampled
        self._too_short = too_short
        self._common = common

    def __repr__(self) -> str:
        return f"Tokens({len(self)})"

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> NoReturn:
        raise TypeError("tokens stay in the memory of the process that read them")

    @property
    def counts(self) -> TokenCounts:
        """The numbers that may be told."""
        return TokenCounts(
            searched=len(self),
            by_class=tuple(self._kept.by_class().items()),
            sampled=self._sampled,
            too_short=self._too_short,
            common=self._common,
        )

    @classmethod
    def merged(cls, sets: Sequence[Tokens]) -> Tokens:
        """Join what several homes gave; a value that two of them know keeps its more specific class."""
        kept = Kept()
        for tokens in sets:
            kept.extend(tokens._kept)  # noqa: SLF001
        return cls(
            kept.settled(),
            sampled=any(tokens.counts.sampled for tokens in sets),
            too_short=sum(tokens.counts.too_short for tokens in sets),
            common=sum(tokens.counts.common for tokens in sets),
        )  # fmt: skip

    def without(self, numbers: Iterable[int]) -> Tokens:
        """Return the set without the tokens of those numbers, which are counted as common."""
        gone = set(numbers)
        return Tokens(
            self._kept.chosen(number not in gone for number in range(len(self))),
            sampled=self._sampled, too_short=self._too_short, common=self._common + len(gone),
        )  # fmt: skip

    def matcher(self, *, specific: bool | None = None, encodings: Sequence[str] = ()) -> Matcher:
        """Make what finds all tokens, or the specific or the unspecific ones, in UTF-8 and `encodings`."""
        return Matcher(self._kept, specific=specific, encodings=encodings)


def clip(text: bytes, *, bytes_max: int = TOKEN_BYTES_MAX) -> bytes:
    """Keep the end of a long value, from a character's start on."""
    if len(text) <= bytes_max:
        return text
    tail = text[-bytes_max:]
    while tail and tail[0] & 0xC0 == 0x80:
        tail = tail[1:]
    return tail


def collect(
    conn_home: psycopg.Connection,
    sources: Sequence[Source],
    *,
    seed: int,
    canaries: Sequence[str] = (),
    limits: Limits | None = None,
) -> Tokens:
    """Read the tokens at home, each value once; beyond the limits a sample that `seed` decides.

    Canaries are never sampled away. Raise StoreFault without any value when a source can't be read.
    """
    gathering = _Gathering(limits or Limits(), seed)
    for canary in canaries:
        gathering.keep(clip(canary.encode(), bytes_max=CANARY_BYTES_MAX), TokenClass.CANARY)
    for source in sources:
        try:
            for value in _values(conn_home, source):
                gathering.keep(clip(value), source.token_class)
        except psycopg.Error as fault:
            raise StoreFault(
                f"{'.'.join(source.relation)}.{source.column}: tokens can't be read at home:"
                f" {type(fault).__name__} ({fault.sqlstate}); check the role's rights there"
            ) from None
    return gathering.tokens()


_STREAM_ROWS = 10_000


def _values(conn: psycopg.Connection, source: Source) -> Iterator[bytes]:
    """Stream the values of a source as UTF-8; elements of an array and strings within JSON one by one."""
    column, table = sql.Identifier(source.column), sql.Identifier(*source.relation)
    value = _VALUES.get(_shape_of(conn, source), sql.SQL("{}::text")).format(column)
    query = sql.SQL("SELECT {} FROM {} WHERE ({}) AND {} IS NOT NULL").format(value, table, source.where, column)
    with conn.transaction(), conn.cursor("domicile_tokens", binary=True) as cursor:
        cursor.adapters.register_loader("text", ByteaBinaryLoader)  # bytes as they are, whatever they mean
        cursor.itersize = _STREAM_ROWS
        cursor.execute(query)
        for (text,) in cursor:
            if text is not None:
                yield text.strip()


_JSON = "jsonb_path_query({}::jsonb, 'lax $.** ? (@.type() == \"string\")') #>> '{{}}'"
_VALUES = {
    "array": sql.SQL("unnest({})::text"),
    "inet": sql.SQL("host({})"),
    "json": sql.SQL(_JSON),
    "jsonb": sql.SQL(_JSON),
}
_SHAPE_SQL: LiteralString = """
SELECT CASE WHEN t.typcategory = 'A' THEN 'array' ELSE t.typname END
  FROM pg_attribute a JOIN pg_type own ON own.oid = a.atttypid
  JOIN pg_type t ON t.oid = CASE WHEN own.typtype = 'd' THEN own.typbasetype ELSE own.oid END
 WHERE a.attrelid = %s::regclass AND a.attname = %s
"""


def _shape_of(conn: psycopg.Connection, source: Source) -> str:
    """Say whether a column holds arrays, JSON or plain values."""
    relation = sql.Identifier(*source.relation).as_string(conn)
    row = conn.execute(_SHAPE_SQL, (relation, source.column)).fetchone()
    return str(row[0]) if row else "text"


class _Gathering:
    """Keeps tokens within the limits: when full, it raises the bar of a keyed hash and drops what is below it."""

    def __init__(self, limits: Limits, seed: int) -> None:
        self._limits = limits
        self._key = blake3(b"domicile sweep sample" + seed.to_bytes(16, "big")).digest()
        self._kept = Kept()
        self._bar = 1 << 64
        self._short = 0

    def keep(self, text: bytes, token_class: TokenClass) -> None:
        """Take a token in, if it is long enough and the sample wants it."""
        if len(text) < self._limits.token_bytes_min:
            self._short += 1
            return
        if token_class is not TokenClass.CANARY and self._bar < 1 << 64 and self._lot(text) >= self._bar:
            return
        self._kept.add(text, token_class)
        if len(self._kept) > 2 * self._limits.tokens_max or self._kept.size > 2 * self._limits.bytes_max:
            self._settle()  # repeated ones are kept until here: a set of so many costs ten times their memory

    def _lot(self, text: bytes) -> int:
        return int.from_bytes(blake3(text, key=self._key).digest(8), "big")

    def _settle(self) -> None:
        """Keep each once; halve the sample until it is within the limits, or only canaries are left."""
        self._kept = self._kept.settled()
        while len(self._kept) > self._limits.tokens_max or self._kept.size > self._limits.bytes_max:
            self._bar //= 2
            self._kept = self._kept.chosen(
                token_class is TokenClass.CANARY or self._lot(text) < self._bar for text, token_class in self._kept
            )
            if not self._bar:
                return

    def tokens(self) -> Tokens:
        """Return what was kept."""
        self._settle()
        return Tokens(self._kept, sampled=self._bar < 1 << 64, too_short=self._short)


def without_common(tokens: Tokens, staying: Iterable[bytes]) -> Tokens:
    """Drop the unspecific tokens that occur in what legitimately stays (a stream of bytes, in any blocks)."""
    matcher = tokens.matcher(specific=False)
    common: set[int] = set()
    tail = b""
    for block in staying:
        window = tail + block
        common.update(hit.token for hit in matcher.find(window))
        tail = window[-matcher.reach :] if matcher.reach else b""
    return tokens.without(common)
