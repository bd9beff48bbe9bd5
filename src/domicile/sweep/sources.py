"""Which columns at home hold the tokens of a sweep: the private fields of rows that left the source. Pure.

The class of a column comes from its fideslang category, else from its name and type. Only rows that the source was to
lose count: what it keeps under a rule is no residue there. A uuid is the name of a row, as numbers are: one that a
skeleton keeps is no residue either, and one that refers to another row is not the referring row's: the order's product
stays, and where the other row leaves, its own key is looked for. E-mails and other telling keys are always looked for.
An Internet address is nobody's alone, as whole offices share one: residue only where nobody who stays has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from psycopg import sql

from domicile.catalogue import Column
from domicile.config import Config
from domicile.model import DatasetScope, Fate, Form, Home, Scope
from domicile.stores.postgres.names import key_expressions, key_names, staged
from domicile.sweep.forms import TokenClass
from domicile.sweep.tokens import Source

TEXTUAL = frozenset({"S"})
TYPES = ("uuid", "inet", "json", "jsonb", "citext", "xml")
UNREAD_CHARS_MAX = 3_000
WORDS = (
    (TokenClass.EMAIL, re.compile(r"e_?mail", re.IGNORECASE)),
    (TokenClass.PHONE, re.compile(r"phone|mobile|fax|msisdn", re.IGNORECASE)),
    (TokenClass.ADDRESS, re.compile(r"ip_?addr|(^|_)ip(v[46])?($|_)|remote_addr", re.IGNORECASE)),
    (
        TokenClass.IDENTIFIER,
        re.compile(r"device|token(?!able)|uuid|iban|passport|ssn|fingerprint|secret|hash", re.IGNORECASE),
    ),
    (TokenClass.ADDRESS, re.compile(r"address|street|city|zip|postal|district|region|geo|location", re.IGNORECASE)),
    (TokenClass.NAME, re.compile(r"name|contact", re.IGNORECASE)),
)
IDENTIFIER_TYPES = ("uuid",)
NETWORK_TYPES = ("inet", "cidr")


def token_sources(scope: Scope, config: Config, home: Home) -> tuple[Source, ...]:
    """List the columns to read at `home`, each with the rows that count."""
    return tuple(
        source
        for dataset in scope.datasets
        if dataset.owned
        for source in _of_dataset(dataset, config, home, referring=_referring(scope, dataset))
    )


def not_looked_for(scope: Scope) -> str | None:
    """Name the private columns whose values no sweep looks for: a number's or a date's bytes are everywhere (P11)."""
    names = [
        f"{dataset.table}.{column.name}"
        for dataset in scope.datasets
        if dataset.owned
        for column in dataset.columns
        if column.name in dataset.private and not _readable(column)
    ]
    shown: list[str] = []
    while len(shown) < len(names) and sum(map(len, shown)) + len(names[len(shown)]) < UNREAD_CHARS_MAX:
        shown.append(names[len(shown)])
    if not names:
        return None
    more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    return (
        f"values of {len(names)} private columns were not looked for, as their bytes can't be told from others "
        f"(numbers, dates, flags, binary): {', '.join(shown)}{more}"
    )


def _referring(scope: Scope, dataset: DatasetScope) -> frozenset[str]:
    """The columns that name other rows: those of edges, and of first hops that no edge declares."""
    edges = {column for edge in scope.edges if edge.child == dataset.id for column in edge.columns}
    firsts = [path.steps[0] for path in dataset.paths if path.steps]
    return frozenset(edges | {column for step in firsts if not step.many for column in step.columns})


def _of_dataset(dataset: DatasetScope, config: Config, home: Home, *, referring: frozenset[str]) -> Iterator[Source]:
    rules = config.datasets[dataset.id].fields
    blanked = {blank.column for blank in dataset.blanks}
    for column in dataset.columns:
        names_a_row = column.base in IDENTIFIER_TYPES
        if column.name not in dataset.private or not _readable(column) or (names_a_row and column.name in referring):
            continue
        rule = rules.get(column.name)
        yield Source(
            relation=(dataset.table.schema, dataset.table.name),
            column=column.name,
            where=_left_the_source(
                dataset, home, fates=_DELETED if names_a_row and column.name not in blanked else _GONE
            ),
            token_class=token_class(column, rule.category if rule else None),
        )


def _readable(column: Column) -> bool:
    return column.category in TEXTUAL or column.base.removesuffix("[]").rsplit(".", 1)[-1] in TYPES


def token_class(column: Column, category: str | None) -> TokenClass:
    """Say what kind of value a private column holds; `text` when nothing tells."""
    if column.base in IDENTIFIER_TYPES:
        return TokenClass.IDENTIFIER
    if column.base.removesuffix("[]") in NETWORK_TYPES:
        return TokenClass.ADDRESS
    for text in (category or "", column.name):
        for found, words in WORDS:
            if words.search(text):
                return found
    return TokenClass.TEXT


_DELETED = (Fate.DELETE,)
_GONE = (Fate.DELETE, Fate.BLANK)


def _left_the_source(dataset: DatasetScope, home: Home, *, fates: tuple[Fate, ...]) -> sql.Composable:
    """A condition on a row at home: the manifest says that the source was to lose it, or the value in it."""
    alias = dataset.table.name
    match = sql.SQL(" AND ").join(
        sql.SQL("{} = domicile_line.{}").format(item, sql.Identifier(name))
        for item, name in zip(key_expressions(dataset, alias), key_names(dataset), strict=True)
    )
    return sql.SQL(
        "EXISTS (SELECT FROM {} AS domicile_line WHERE domicile_line.part = {} AND domicile_line.form <> {}"
        " AND domicile_line.fate = ANY({}) AND {})"
    ).format(
        staged("m", dataset.id),
        sql.Literal(home),
        sql.Literal(Form.SKELETON.value),
        sql.Literal([fate.value for fate in fates]),
        match,
    )
