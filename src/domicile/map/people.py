"""Who the data is about: the table of data subjects among all tables of people, scored by what is visible.

Points: the table's name, personal fields in it, how many tables refer to it, declared or by name, and how much of the
database leads to it; staff and suppliers are people, too, but another kind, and companies are none. A name is not
needed: a table that holds e-mails and that everything leads to is about people. The scores only rank; the draft shows
the runners-up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from domicile.catalogue import Catalogue, Table, TableName
from domicile.catalogue.samples import FieldName
from domicile.map.edges import is_touch, named_edges
from domicile.map.kinds import Kind
from domicile.map.vocabulary import Weight
from domicile.map.words import listed, words

SUBJECT_WORDS = {
    "user": 40, "customer": 40, "person": 35, "member": 35, "client": 35, "patient": 40, "subscriber": 35,
    "player": 30, "passenger": 35, "student": 35, "citizen": 35, "resident": 35, "individual": 35, "consumer": 35,
    "account": 30, "guest": 25, "buyer": 25, "borrower": 35, "policyholder": 35, "applicant": 30, "candidate": 25,
    "owner": 15, "profile": 15, "contact": 15, "party": 12, "partner": 5, "participant": 20, "visitor": 20, "tenant": 5,
}  # fmt: skip
OTHER_PEOPLE_WORDS = listed(
    """
    staff employee operator admin administrator moderator agent supplier vendor shipper carrier manager worker
    teacher doctor physician nurse lecturer driver courier representative rep salesperson contractor distributor
    practitioner clinician dentist therapist instructor professor trainer coach officer clerk cashier recruiter
    """
)
ORGANISATION_WORDS = listed(
    """
    company organisation organization corporation firm store shop branch office department bank school hospital clinic
    warehouse publisher brand merchant institution team
    """
)
SUBJECT_SCORE_MIN = 35
LED_POINTS = 20
CLOSE_SHARE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A table of people, its points and why it has them."""

    table: TableName
    key: str
    score: int
    why: str


def candidates(
    catalogue: Catalogue, kinds: Mapping[FieldName, Kind], called: Mapping[TableName, str]
) -> tuple[Candidate, ...]:
    """Rank the tables that may hold the data subjects, best first; none when no table looks like people.

    `called` are names that an application gives its tables; the more telling of both names counts.
    """
    around = _Around(children=_children(catalogue), tables=len(catalogue.tables), called=called)
    scored = [_score(table, kinds, around, _target(catalogue, table)) for table in catalogue.tables]
    fitting = [candidate for candidate in scored if candidate is not None and candidate.score >= SUBJECT_SCORE_MIN]
    return tuple(sorted(fitting, key=lambda candidate: (-candidate.score, candidate.table)))


def is_other_people(table: TableName) -> bool:
    """Whether a table's name says that it holds people who are not data subjects (staff, suppliers)."""
    return bool(OTHER_PEOPLE_WORDS.intersection(words(table.name)))


def holds_people(table: Table, kinds: Mapping[FieldName, Kind]) -> bool:
    """Whether a table's fields describe persons: a name of one, and something that finds one."""
    weights = Counter(kinds[table.name, column.name].weight for column in table.columns)
    return bool(weights[Weight.PERSON]) and bool(weights[Weight.STRONG] or weights[Weight.PLACE])


def chosen(catalogue: Catalogue, table: TableName, people: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Put the table that a person named first, before what looks like people; () when it can't be the subject."""
    found = catalogue.table(table)
    key = _target(catalogue, found) if found else None
    if key is None:
        return ()
    best = Candidate(table=table, key=key, score=0, why="named by `--subject`")
    return (best, *(candidate for candidate in people if candidate.table != table))


def most_referred(catalogue: Catalogue, *, most: int) -> tuple[TableName, ...]:
    """The tables that most others refer to and that have one key column: people, whatever they are called."""
    children = _children(catalogue)
    ranked = sorted(children, key=lambda name: (-len(children[name]), name))
    return tuple(name for name in ranked if (table := catalogue.table(name)) and len(table.key) == 1)[:most]


def _children(catalogue: Catalogue) -> Mapping[TableName, frozenset[TableName]]:
    """Who refers to whom, declared or by name."""
    found: defaultdict[TableName, set[TableName]] = defaultdict(set)
    for key in catalogue.foreign_keys:
        if not is_touch(key.columns[-1]):
            found[key.parent].add(key.child)
    for edge in named_edges(catalogue):
        found[edge.parent].add(edge.child)
    return {parent: frozenset(names - {parent}) for parent, names in found.items()}


def _led_here(table: TableName, children: Mapping[TableName, frozenset[TableName]]) -> int:
    """How many tables lead to this one, over others, too."""
    seen, waiting = {table}, [table]
    for here in waiting:
        more = children.get(here, frozenset()) - seen
        seen |= more
        waiting.extend(more)
    return len(seen) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What stands around a candidate: who refers to whom, of how many tables, and what an application calls them."""

    children: Mapping[TableName, frozenset[TableName]]
    tables: int
    called: Mapping[TableName, str]


def _score(table: Table, kinds: Mapping[FieldName, Kind], around: _Around, key: str | None) -> Candidate | None:
    if key is None:
        return None
    referred = len(around.children.get(table.name, ()))
    names = (table.name.name, around.called.get(table.name, ""))
    name, named = max(map(_by_name, names), key=lambda found: abs(found[0]))
    held = sorted(
        {kind.name for column in table.columns if (kind := kinds[table.name, column.name]).weight in _TELLING}
    )
    led = _led_here(table.name, around.children) / max(1, around.tables - 1)
    score = name + min(8 * len(held), 40) + min(4 * referred, 24) + round(LED_POINTS * led)
    if not named and not held:
        return None
    why = [f"called {named}"] if named else []
    why += [f"holds {', '.join(held[:4])}"] if held else []
    why += [f"{referred} tables refer to it"] if referred else []
    return Candidate(table=table.name, key=key, score=score, why="; ".join(why))


_TELLING = (Weight.STRONG, Weight.PERSON)


def _by_name(name: str) -> tuple[int, str]:
    """The noun is the last word: `app_users` holds users, `customer_demographics` holds demographics."""
    parts = words(name)
    if OTHER_PEOPLE_WORDS.intersection(parts):
        return -60, ""
    noun = parts[-1] if parts else ""
    if noun in ORGANISATION_WORDS:
        return -40, ""
    return (SUBJECT_WORDS[noun], noun) if noun in SUBJECT_WORDS else (0, "")


def _target(catalogue: Catalogue, table: Table) -> str | None:
    """The single column that names a person: the one that others refer to, else the key."""
    single = [key[0] for key in (table.primary_key, *table.unique_keys) if len(key) == 1]
    used = Counter(
        key.parent_columns[0]
        for key in catalogue.foreign_keys
        if key.parent == table.name and len(key.parent_columns) == 1 and key.parent_columns[0] in single
    )
    return max(single, key=lambda name: used[name], default=None)
