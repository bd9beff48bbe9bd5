"""The class of every field of a dataset, and what stands for a private one where the row is but a skeleton.

In rows that move, every field is private: the row is about a person. In other rows, kinds decide; what can't be told is
left without a class, and `plan` refuses until a person has given one (P4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from domicile.catalogue import Catalogue, Column, Table, TableName
from domicile.catalogue.samples import FieldName, Samples
from domicile.config.rules import Disposition, FieldClass
from domicile.map.edges import Link
from domicile.map.kinds import Kind
from domicile.map.owners import Ownership
from domicile.map.vocabulary import Weight

TOKEN = "token"  # noqa: S105 - a word of domicile.yaml
# What is unlikely to mean anything and fits the type.
_LITERALS: dict[str, str | int | bool] = {
    "boolean": False, "smallint": 0, "integer": 0, "bigint": 0, "numeric": 0, "real": 0, "double precision": 0,
    "date": "1970-01-01", "timestamp without time zone": "1970-01-01 00:00:00",
    "timestamp with time zone": "1970-01-01 00:00:00+00", "time without time zone": "00:00:00",
    "time with time zone": "00:00:00+00", "interval": "0", "uuid": "00000000-0000-0000-0000-000000000000",
    "json": "{}", "jsonb": "{}", "bytea": "\\x", "inet": "0.0.0.0", "cidr": "0.0.0.0/0",  # noqa: S104 - a stand-in
    "macaddr": "00:00:00:00:00:00", "point": "(0,0)", "tsvector": "", "xml": "",
}  # fmt: skip
_PLAIN_DEFAULT = re.compile(r"^(?:'((?:[^']|'')*)'(?:::[^()]+)?|(true|false)|(-?\d+(?:\.\d+)?))$")

Literal = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProposal:
    """One line under `fields:`; `cls` None when nobody but a person can say."""

    name: str
    cls: FieldClass | None
    category: str | None = None
    outside: Literal = None
    note: str = ""
    unsure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the fields of one dataset are judged by."""

    table: Table
    owner: Ownership
    structure: frozenset[str]
    kinds: Mapping[FieldName, Kind]
    samples: Samples
    may_be_skeleton: bool


def field_proposals(setting: Setting) -> tuple[FieldProposal, ...]:
    """Propose a class for every field of a dataset, in the table's order."""
    rows = setting.owner.rows
    if rows is Disposition.MOVE:
        return tuple(_of_subject(setting, column) for column in setting.table.columns)
    if rows is Disposition.NONE and _is_about_others(setting):
        return tuple(_of_others(setting, column) for column in setting.table.columns)
    return tuple(_of_reference(setting, column) for column in setting.table.columns)


def structures(catalogue: Catalogue, links: tuple[Link, ...]) -> dict[TableName, frozenset[str]]:
    """Return the columns of each table that a skeleton keeps: key, partition key, and both ends of edges."""
    kept = {table.name: {*table.key, *table.partition_key} for table in catalogue.tables}
    for link in links:
        kept[link.child].update(link.columns)
        kept[link.parent].update(link.parent_columns)
    return {name: frozenset(columns) for name, columns in kept.items()}


# ------------------------------------------------------------------------------------------------ three kinds of rows


def _of_subject(setting: Setting, column: Column) -> FieldProposal:
    kind = setting.kinds[setting.table.name, column.name]
    category = kind.category
    if column.name in setting.structure or column.generated or not setting.may_be_skeleton:
        if category is None and column.name in setting.table.primary_key and not setting.owner.ways:
            category = "user.unique_id"
        return FieldProposal(name=column.name, cls=FieldClass.PRIVATE, category=category)
    return _private(setting, column, category=category)


def _of_others(setting: Setting, column: Column) -> FieldProposal:
    kind = setting.kinds[setting.table.name, column.name]
    if column.name in setting.structure:
        return FieldProposal(name=column.name, cls=FieldClass.PUBLIC, note="a key: skeletons keep it")
    if column.generated:
        return FieldProposal(name=column.name, cls=FieldClass.PUBLIC, note="generated: follows the other fields")
    if kind.weight is Weight.TECHNICAL or column.category == "B" or kind.weight is Weight.ORGANISATION:
        return FieldProposal(name=column.name, cls=FieldClass.PUBLIC, category=_public_category(kind))
    organisation = any(
        setting.kinds[setting.table.name, other.name].weight is Weight.ORGANISATION for other in setting.table.columns
    )
    if organisation and kind.weight in (Weight.WEAK, Weight.PLAIN) and kind.name not in ("picture", "job title"):
        return FieldProposal(name=column.name, cls=FieldClass.PUBLIC, note="of an organisation")
    return _private(setting, column, category=kind.category)


def _of_reference(setting: Setting, column: Column) -> FieldProposal:
    kind = setting.kinds[setting.table.name, column.name]
    public = FieldProposal(name=column.name, cls=FieldClass.PUBLIC)
    if column.name in setting.structure or column.generated:
        return public
    if kind.weight is Weight.PERSON:
        doubt = "names of people, taken for published reference data; if they are not, the rows need a `path`"
        return FieldProposal(name=column.name, cls=FieldClass.PUBLIC, category=kind.category, unsure=doubt)
    if kind.weight in (Weight.STRONG, Weight.OPAQUE) or (kind.weight is Weight.FREE and kind.name == "free form"):
        return _unreadable(setting, column, kind)
    if kind.weight is Weight.FREE:
        empty = not _has_values(setting, column)
        doubt = "free text" + (", and no row to look at" if empty else "; nothing personal in the sampled rows")
        return FieldProposal(name=column.name, cls=FieldClass.PUBLIC, unsure=doubt)
    if kind.weight is Weight.WEAK and kind.name == "picture":
        return FieldProposal(name=column.name, cls=FieldClass.PUBLIC, unsure="a picture: of things, or of people?")
    return public


def _unreadable(setting: Setting, column: Column, kind: Kind) -> FieldProposal:
    """Strong or unreadable content in reference data: a guess would be a silent one."""
    if kind.weight is not Weight.STRONG and _has_values(setting, column) and column.base != "bytea":
        doubt = f"{column.base} can hold anything; nothing personal in the keys of the sampled rows"
        return FieldProposal(name=column.name, cls=FieldClass.PUBLIC, unsure=doubt)
    doubt = f"{kind.why or kind.name}: private or public?"
    return FieldProposal(name=column.name, cls=None, category=kind.category, unsure=doubt)


def _has_values(setting: Setting, column: Column) -> bool:
    sample = setting.samples.fields.get((setting.table.name, column.name))
    return bool(sample and sample.values)


def _is_about_others(setting: Setting) -> bool:
    weights = {setting.kinds[setting.table.name, column.name].weight for column in setting.table.columns}
    return bool(weights & {Weight.STRONG, Weight.PERSON, Weight.PLACE})


def _public_category(kind: Kind) -> str | None:
    return kind.category if kind.weight is Weight.ORGANISATION else None


# ------------------------------------------------------------------------------------------------ stand-ins


def _private(setting: Setting, column: Column, *, category: str | None) -> FieldProposal:
    if not column.not_null:
        return FieldProposal(name=column.name, cls=FieldClass.PRIVATE, category=category)
    outside = stand_in(column)
    unique = any(column.name in key for key in setting.table.unique_keys)
    if unique and outside != TOKEN:
        note = "skeletons keep it: it is part of a unique key, and one stand-in for all would collide"
        return FieldProposal(name=column.name, cls=FieldClass.PUBLIC, category=category, unsure=note)
    if outside is None:
        doubt = f"{column.type}, NOT NULL: `outside` needs a value that stands for it in a skeleton"
        return FieldProposal(name=column.name, cls=FieldClass.PRIVATE, category=category, unsure=doubt)
    doubt = f"{column.type} may refuse a token: check its rule" if outside == TOKEN and is_domain(column) else ""
    return FieldProposal(name=column.name, cls=FieldClass.PRIVATE, category=category, outside=outside, unsure=doubt)


def stand_in(column: Column) -> Literal:
    """Return what may stand for a NOT NULL field outside, or None when a person has to say.

    Text gets a token, cut to the column's length. A domain, an enum or a type of the user may refuse any literal of
    ours, so only the column's own plain default is good there.
    """
    if column.category == "S":
        return TOKEN
    plain = not is_domain(column)
    if plain and column.category == "A":
        return "{}"
    if plain and column.base in _LITERALS:
        return _LITERALS[column.base]
    own = _own_default(column.default)
    if own is None and column.labels and column.type == column.base:
        return column.labels[0]
    if own is None and plain and column.category == "R":
        return "{}" if column.base.endswith("multirange") else "empty"
    return own


def is_domain(column: Column) -> bool:
    """Whether the type is not the built-in one it rests on (whose name may carry a length)."""
    return re.sub(r"\([^)]*\)", "", column.type) != column.base


def _own_default(default: str | None) -> Literal:
    match = _PLAIN_DEFAULT.match(default or "")
    if match is None:
        return None
    text, flag, number = match.groups()
    if text is not None:
        return str(text).replace("''", "'")
    if flag is not None:
        return flag == "true"
    return float(number) if "." in number else int(number)
