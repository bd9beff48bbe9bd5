"""Which strings a sweep looks for: read at home, kept in memory only, spelled in every form a copy may hold.

A token is a value of an erased subject. Specific ones (an e-mail, a phone number, an identifier, a canary) are
residue wherever they are found. Unspecific ones (a name, an address, free text) may belong to rows that legitimately
stay; `without_common` drops those, and counts them. Numeric keys are no tokens: their bytes are everywhere.

Nothing of a token's text leaves this module but through the automaton: no repr, no error, no pickle holds it (P8).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import LiteralString, NoReturn

import psycopg
from ahocorasick_rs import BytesAhoCorasick, Implementation
from blake3 import blake3
from psycopg import sql
from psycopg.types.string import ByteaBinaryLoader

from domicile.errors import StoreFault
from domicile.sweep.decoded import decodings
from domicile.sweep.digests import Digests
from domicile.sweep.forms import TokenClass, forms

TOKEN_BYTES_MIN = 6
TOKEN_BYTES_MAX = 64  # of a longer value its end is searched: openings ("Dear …", a token's header) repeat
CANARY_BYTES_MAX = 256
TOKENS_MAX = 2_000_000
TEXT_BYTES_MAX = 256 * 1024 * 1024
AUTOMATON_BYTES_MAX = 64 * 1024 * 1024  # measured: about 30 bytes of memory per pattern byte while it is built
SPELT_TIMES_MAX = 6  # \\u0040 for one byte
LINE_BYTES_MAX = 256  # base64 is broken into lines of 64 or 76; a line is known as one by its first 12 letters


_RANK = {token_class: rank for rank, token_class in enumerate(TokenClass)}


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

    __slots__ = ("_classes", "_common", "_sampled", "_texts", "_too_short")

    def __init__(
        self, found: dict[bytes, TokenClass], *, sampled: bool = False, too_short: int = 0, common: int = 0
    ) -> None:
        self._texts = tuple(found)
        self._classes = tuple(found.values())
        self._sampled = sampled
        self._too_short = too_short
        self._common = common

    def __repr__(self) -> str:
        return f"Tokens({len(self)})"

    def __len__(self) -> int:
        return len(self._texts)

    def __reduce__(self) -> NoReturn:
        raise TypeError("tokens stay in the memory of the process that read them")

    @property
    def counts(self) -> TokenCounts:
        """The numbers that may be told."""
        return TokenCounts(
            searched=len(self),
            by_class=tuple(
                (token_class, count) for token_class in TokenClass if (count := self._classes.count(token_class))
            ),
            sampled=self._sampled,
            too_short=self._too_short,
            common=self._common,
        )

    @classmethod
    def merged(cls, sets: Sequence[Tokens]) -> Tokens:
        """Join what several homes gave; a value that two of them know keeps its more specific class."""
        found: dict[bytes, TokenClass] = {}
        for tokens in sets:
            for text, token_class in zip(tokens._texts, tokens._classes, strict=True):  # noqa: SLF001
                if text not in found or _RANK[token_class] < _RANK[found[text]]:
                    found[text] = token_class
        return cls(
            found,
            sampled=any(tokens.counts.sampled for tokens in sets),
            too_short=sum(tokens.counts.too_short for tokens in sets),
            common=sum(tokens.counts.common for tokens in sets),
        )  # fmt: skip

    def without(self, numbers: Iterable[int]) -> Tokens:
        """Return the set without the tokens of those numbers, which are counted as common."""
        gone = set(numbers)
        kept = {
            text: token_class
            for number, (text, token_class) in enumerate(zip(self._texts, self._classes, strict=True))
            if number not in gone
        }
        return Tokens(kept, sampled=self._sampled, too_short=self._too_short, common=self._common + len(gone))

    def matcher(self, *, specific: bool | None = None, encodings: Sequence[str] = ()) -> Matcher:
        """Build the automata for all tokens, or for the specific or the unspecific ones, in UTF-8 and `encodings`."""
        chosen = [
            number for number, token_class in enumerate(self._classes)
            if specific is None or token_class.specific is specific
        ]  # fmt: skip
        texts = [self._texts[number] for number in chosen]
        return Matcher(texts, array("I", chosen), self._classes, encodings=encodings)


@dataclass(frozen=True, slots=True)
class Hit:
    """One match in a block: where it starts, how long it is, and which token, by number."""

    offset: int
    length: int
    token: int


class Matcher:
    """The automata over every form of every token: as many as keep the memory of building one bounded."""

    def __init__(
        self,
        texts: Sequence[bytes],
        numbers: array[int],
        classes: Sequence[TokenClass],
        *,
        encodings: Sequence[str] = (),
    ) -> None:
        self.class_of = classes
        self.longest = 0
        self._automata: list[tuple[BytesAhoCorasick, array[int]]] = []
        patterns: list[bytes] = []
        owners = array("I")
        size = 0
        for number, text in zip(numbers, texts, strict=True):
            for form in forms(text, classes[number], encodings=encodings):
                patterns.append(form)
                owners.append(number)
                size += len(form)
                self.longest = max(self.longest, len(form))
            if size > AUTOMATON_BYTES_MAX:
                self._add(patterns, owners)
                patterns, owners, size = [], array("I"), 0
        self._add(patterns, owners)
        self._digests = Digests((number, text, classes[number]) for number, text in zip(numbers, texts, strict=True))

    def __repr__(self) -> str:
        return f"Matcher({len(self._automata)} automata)"

    def _add(self, patterns: list[bytes], owners: array[int]) -> None:
        if patterns:
            automaton = BytesAhoCorasick(patterns, implementation=Implementation.ContiguousNFA)
            self._automata.append((automaton, owners))

    @property
    def reach(self) -> int:
        """How many bytes of a block the longest token may take, spelt in any way that is undone."""
        return SPELT_TIMES_MAX * self.longest + LINE_BYTES_MAX if self.longest else 0

    def find(self, block: bytes) -> Iterator[Hit]:
        """Find every form of every token in the block, overlapping ones too, as bytes and in every spelling undone."""
        yield from self._find(block)
        if not self._automata:
            return
        for start, end, number in self._digests.find(block):
            yield Hit(start, end - start, number)
        for decoded in decodings(block, reach=self.longest):
            for hit in self._find(decoded.data):
                place = decoded.place(hit.offset, hit.offset + hit.length)
                if hit.length >= decoded.bytes_min and place is not None:
                    yield Hit(place[0], place[1] - place[0], hit.token)

    def _find(self, block: bytes) -> Iterator[Hit]:
        for automaton, owners in self._automata:
            for pattern, start, end in automaton.find_matches_as_indexes(block, overlapping=True):
                yield Hit(start, end - start, owners[pattern])


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
        self._found: dict[bytes, TokenClass] = {}
        self._bytes = 0
        self._bar = 1 << 64
        self._short = 0

    def keep(self, text: bytes, token_class: TokenClass) -> None:
        """Take a token in, if it is long enough and the sample wants it."""
        if len(text) < self._limits.token_bytes_min:
            self._short += 1
            return
        known = self._found.get(text)
        if known is not None:
            self._found[text] = min(known, token_class, key=_RANK.__getitem__)
            return
        if token_class is not TokenClass.CANARY and self._bar < 1 << 64 and self._lot(text) >= self._bar:
            return
        self._found[text] = token_class
        self._bytes += len(text)
        while len(self._found) > self._limits.tokens_max or self._bytes > self._limits.bytes_max:
            if not self._raise_bar():
                return

    def _lot(self, text: bytes) -> int:
        return int.from_bytes(blake3(text, key=self._key).digest(8), "big")

    def _raise_bar(self) -> bool:
        """Halve the sample; False when only canaries are left."""
        self._bar //= 2
        self._found = {
            text: token_class
            for text, token_class in self._found.items()
            if token_class is TokenClass.CANARY or self._lot(text) < self._bar
        }
        self._bytes = sum(map(len, self._found))
        return self._bar > 0

    def tokens(self) -> Tokens:
        """Return what was kept."""
        return Tokens(self._found, sampled=self._bar < 1 << 64, too_short=self._short)


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
