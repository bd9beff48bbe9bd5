"""Whose each dataset is: from its ways to the subject, its disposition.

What leads to a subject moves, and so do private parents; everything else is reference data (`public`) or about somebody
else (`none`). Doubt goes to the safe side: a row that leads to a subject moves, and what may hold a subject's data
without leading to one is left open for a person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from domicile.catalogue import RelationKind, Table, TableName
from domicile.config.rules import Disposition, HomeRows, Shared
from domicile.map.edges import Link
from domicile.map.kinds import Confidence
from domicile.map.people import ORGANISATION_WORDS, SUBJECT_WORDS, holds_people, is_other_people
from domicile.map.vocabulary import Weight
from domicile.map.ways import Hop, Way, World, has_a_part, kinds_of_nobody, ways_down, ways_up
from domicile.map.words import listed, words

WAYS_SHOWN_MAX = 6
_WATCHED = listed("user customer account member session log audit event history")
_DOUBTFUL = frozenset({Weight.STRONG, Weight.PERSON, Weight.PLACE, Weight.FREE, Weight.OPAQUE})
_CONTENT = listed(
    """
    video post article comment review photo story blog page album playlist listing product
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """The proposal for one dataset's rows, with its reason and what it is unsure of."""

    table: TableName
    rows: Disposition | None
    reason: str
    ways: tuple[Way, ...] = ()
    more_ways: tuple[Way, ...] = ()
    shared: Shared | None = None
    ownerless: bool = False
    home: HomeRows | None = None
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What stands around a table that leads to no subject."""

    moving: frozenset[TableName]
    others: frozenset[TableName]
    up: Mapping[TableName, list[Link]]
    linked: frozenset[TableName]


def ownerships(world: World) -> dict[TableName, Ownership]:
    """Propose ways and disposition of every dataset."""
    owned = ways_up(world)
    found: dict[TableName, Ownership] = {}
    for table in world.catalogue.tables:
        if table.name == world.subject:
            found[table.name] = Ownership(table=table.name, rows=Disposition.MOVE, reason="the data subjects")
        elif table.name in owned:
            found[table.name] = _owned(world, table, owned[table.name])
    reverse = ways_down(world, {name: owner.ways for name, owner in found.items() if owner.ways})
    for table in world.catalogue.tables:
        if table.name in reverse:
            found[table.name] = _parent(world, table, reverse[table.name])
    moving = frozenset(found)
    around = Around(
        moving=moving,
        others=_others(world, moving),
        up=world.up(),
        linked=frozenset(name for link in world.links for name in (link.child, link.parent)),
    )
    for table in world.catalogue.tables:
        if table.name not in found:
            found[table.name] = _unowned(world, table, around)
    return found


# ------------------------------------------------------------------------------------------------ dispositions


def _owned(world: World, table: Table, ways: tuple[Way, ...]) -> Ownership:
    by, shared = tuple(way for way in ways if not way[0].link.searched) or ways, Shared.FIRST
    direct = tuple(way for way in by if len(way) == 1 and way[0].when is None and way[0].link.confirmed)
    if len(direct) > 1:
        by, shared = direct, Shared.EACH
    elif direct and direct[0][0].link.nullable:
        by, shared = _beside_a_part(by, direct)
    return Ownership(
        table=table.name, rows=Disposition.MOVE, reason="leads to the subject", ways=by[:WAYS_SHOWN_MAX],
        more_ways=tuple(way for way in ways if way not in by[:WAYS_SHOWN_MAX]),
        shared=shared if len(by) > 1 else None, unsure=(*_doubts(world, table, by), *_beside(ways, by)),
    )  # fmt: skip


def _beside(ways: tuple[Way, ...], by: tuple[Way, ...]) -> Iterator[str]:
    """References that a search found in rows which have an owner by declared keys: mentioned, or theirs, too."""
    for way in ways:
        if way not in by and way[0].link.searched and len(way) == 1:
            yield f"{_guessed(way[0].link)}: add it to `subjects` if the row is theirs, too"


def _beside_a_part(ways: tuple[Way, ...], direct: tuple[Way, ...]) -> tuple[tuple[Way, ...], Shared]:
    """The ways of a row that need not name a person.

    One named as owner or maker (`user_id`, `author_id`): a row that names nobody is nobody's, not the one's whose row
    it hangs on. Another (`assignee_id`) has a part in the row, and it is also theirs whose row it always hangs on.
    """
    hangs = [way for way in ways if len(way) > 1 and all(_is_certain(hop) for hop in way)]
    if not hangs or not all(has_a_part(way[0].link) for way in direct):
        return direct, Shared.FIRST
    return (hangs[0], *direct), Shared.EACH


def _is_certain(hop: Hop) -> bool:
    return hop.when is None and hop.link.confirmed and not hop.link.nullable


def _doubts(world: World, table: Table, by: tuple[Way, ...]) -> Iterator[str]:
    first = by[0][0]
    if len(by) > 1 and any(len(way) == 1 for way in by[1:]):
        yield "rows of several people: `each` one's home gets them; `first` or `any` if they are one's"
    if kinds_of_nobody(world, table):
        yield "its polymorphic pair names kinds that no table is called after: add a way for those of people"
    if first.when is not None:
        yield "reached over a polymorphic pair: check that every kind of it is listed"
    if _CONTENT.intersection(words(table.name.name)[-1:]):
        yield "is this published content? It moves with its author; `rows: split` or `public` keeps it visible"
    sample = world.samples.fields.get((table.name, first.link.columns[0]))
    if len(by) == 1 and first.link.nullable and sample is not None and sample.nulls:
        some = f"{sample.nulls} of {sample.rows} sampled rows have no {first.link.key}"
        yield f"{some}: add `ownerless: stay` if they stay"
    yield from (
        _guessed(hop.link) for hop in by[0][:1] if not (hop.link.declared or hop.link.told) and hop.when is None
    )


def _guessed(link: Link) -> str:
    if link.searched and link.found is not None:
        return f"{link.key} holds keys of {link.parent.name}: {link.found.found} of {link.found.asked} sampled values"
    told = f"{link.key} → {link.parent.name} is no declared key: told from its name"
    if link.found is None:
        return f"{told} alone"
    return f"{told} and {link.found.found} of {link.found.asked} sampled values"


def _parent(world: World, table: Table, ways: tuple[Way, ...]) -> Ownership:
    people = holds_people(table, world.kinds)
    return Ownership(
        table=table.name, rows=Disposition.MOVE, reason="private rows that subjects' rows refer to",
        ways=ways[:WAYS_SHOWN_MAX], more_ways=ways[WAYS_SHOWN_MAX:], shared=Shared.EACH, ownerless=True,
        unsure=("holds people: are they the subjects themselves?",) if people else (),
    )  # fmt: skip


def _others(world: World, moving: frozenset[TableName]) -> frozenset[TableName]:
    """Tables about people or organisations who are not subjects, and tables that are but links of theirs."""
    about = {
        table.name
        for table in world.catalogue.tables
        if table.name not in moving and (_tells(world, table) or (is_other_people(table.name) and not _is_plain(table)))
    }
    tables = {table.name: table for table in world.catalogue.tables}
    for link in world.links:
        if (
            link.child not in moving
            and link.parent in about
            and set(link.columns) <= set(tables[link.child].primary_key)
        ):
            about.add(link.child)
    return frozenset(about)


def _tells(world: World, table: Table) -> bool:
    kinds = [world.kinds[table.name, column.name] for column in table.columns]
    if any(kind.weight is Weight.STRONG and kind.confidence is not Confidence.UNSURE for kind in kinds):
        return True
    return holds_people(table, world.kinds)


def _is_of_organisations(world: World, table: Table) -> bool:
    if ORGANISATION_WORDS.intersection(words(table.name.name)[-1:]):
        return True
    return any(world.kinds[table.name, column.name].weight is Weight.ORGANISATION for column in table.columns)


def _is_plain(table: Table) -> bool:
    return len(table.columns) <= 2


def _unowned(world: World, table: Table, around: Around) -> Ownership:
    if table.kind is RelationKind.FOREIGN:
        return Ownership(
            table=table.name, rows=None, reason="a foreign table: its rows lie in another store",
            unsure=("map the store that holds its rows, then `rows: none` with that reason",),
        )  # fmt: skip
    if table.name in around.others:
        return _about_others(world, table, around)
    into = [link for link in around.up.get(table.name, ()) if link.parent in around.moving]
    private = sorted({link.parent.name for link in into if not link.bookkeeping})
    if private:
        return Ownership(
            table=table.name, rows=Disposition.NONE, home=HomeRows.NEEDED,
            reason=f"no data of subjects; refers to {', '.join(private)} rows of its own",
        )  # fmt: skip
    if table.name not in around.linked and _is_suspicious(world, table):
        return Ownership(
            table=table.name, rows=None, reason="nothing leads from it to a subject, yet it may hold their data",
            unsure=("no way to a subject is visible: name a `path`, or say `public` or `none` with a reason",),
        )  # fmt: skip
    if (strange := kinds_of_nobody(world, table)) and world.subject is not None:
        return Ownership(
            table=table.name, rows=None, reason="a polymorphic pair names rows of kinds that no table is called after",
            unsure=(f"kinds of its pair that match no table: {strange}; name a `path` for people's, or say `none`",),
        )  # fmt: skip
    unsure = tuple(f"{link.key} says who touched a row: is the row theirs? Then `rows: move`" for link in into)
    reason = "reference data: nothing in it leads to a subject"
    return Ownership(table=table.name, rows=Disposition.PUBLIC, reason=reason, unsure=unsure)


def _about_others(world: World, table: Table, around: Around) -> Ownership:
    staff = is_other_people(table.name)
    subjects = bool(SUBJECT_WORDS.keys() & set(words(table.name.name)))
    if staff:
        return Ownership(
            table=table.name, rows=Disposition.NONE, home=HomeRows.NEEDED,
            reason="people or organisations who are not data subjects of this programme",
        )  # fmt: skip
    doubt = "holds data of people who may be subjects, but nothing leads to the subject: name a `path`, or keep `none`"
    telling = _tells(world, table) and not _is_of_organisations(world, table)
    if (subjects or telling or table.name not in around.linked) and world.subject is not None:
        return Ownership(
            table=table.name, rows=None, reason="personal data without a way to the subject", unsure=(doubt,)
        )
    return Ownership(
        table=table.name, rows=Disposition.NONE, home=HomeRows.NEEDED,
        reason="people or organisations who are not data subjects of this programme", unsure=(doubt,),
    )  # fmt: skip


def _is_suspicious(world: World, table: Table) -> bool:
    weights = {world.kinds[table.name, column.name].weight for column in table.columns}
    names = (table.name.name, *(column.name for column in table.columns))
    return bool(weights & _DOUBTFUL) or any(_WATCHED.intersection(words(name)) for name in names)
