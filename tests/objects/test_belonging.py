"""Whose an object is: every case of the decision, and what keys and values of rows name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pytest
from pydantic import ValidationError

from domicile.config.belongings import ObjectRule
from domicile.model import Home
from domicile.objects.belonging import Belongs, Decision, decide
from domicile.objects.claims import Claim
from domicile.objects.listing import named_by

CA: Final = Home("ca")
US: Final = Home("us")
ROWS, KEYS, PUBLIC, NOBODYS, REST = range(5)
RULES: Final = (
    ObjectRule(of="app.public.video", column="key", disposition="move"),
    ObjectRule(pattern="u/{subject}/*", disposition="move"),
    ObjectRule(pattern="thumbs/*", disposition="public"),
    ObjectRule(pattern="*.css", disposition="none", reason="the pages' own"),
    ObjectRule(disposition="none", reason="the rest"),
)
STAYER: Final = Claim(rule=ROWS, homes=frozenset(), stays=True)


def _of(*homes: Home, rule: int = ROWS, stays: bool = False) -> Claim:
    return Claim(rule=rule, homes=frozenset(homes), stays=stays)


@pytest.mark.parametrize(
    ("claims", "told", "wanted"),
    [
        ([], {}, Decision(belongs=Belongs.STAYS, nobodys=True)),
        ([_of(CA)], {}, Decision(belongs=Belongs.MOVES, homes=(CA,), leaves=True)),
        ([_of(US, CA)], {}, Decision(belongs=Belongs.MOVES, homes=(CA, US), leaves=True)),
        ([_of(CA, stays=True)], {}, Decision(belongs=Belongs.MOVES, homes=(CA,), leaves=False)),
        ([STAYER], {}, Decision(belongs=Belongs.STAYS)),
        ([], {KEYS: _of(CA, rule=KEYS)}, Decision(belongs=Belongs.MOVES, homes=(CA,), leaves=True)),
        ([STAYER], {KEYS: _of(CA, rule=KEYS)}, Decision(belongs=Belongs.MOVES, homes=(CA,), leaves=False)),
        ([], {KEYS: None}, Decision(belongs=Belongs.OWNERLESS, nobodys=True)),
        ([_of(CA)], {KEYS: None}, Decision(belongs=Belongs.OWNERLESS)),
        ([_of(CA), STAYER], {KEYS: None}, Decision(belongs=Belongs.MOVES, homes=(CA,), leaves=False)),
        ([STAYER], {KEYS: None}, Decision(belongs=Belongs.STAYS)),
        ([], {PUBLIC: _of(rule=PUBLIC)}, Decision(belongs=Belongs.PUBLIC, homes=(CA, US))),
        ([], {NOBODYS: _of(rule=NOBODYS)}, Decision(belongs=Belongs.STAYS)),
        ([_of(CA)], {PUBLIC: _of(rule=PUBLIC)}, Decision(belongs=Belongs.CONTRADICTED)),
        ([_of(CA)], {NOBODYS: _of(rule=NOBODYS)}, Decision(belongs=Belongs.CONTRADICTED)),
    ],
)
def test_p1_what_somebody_who_stays_has_never_leaves(
    claims: Sequence[Claim], told: Mapping[int, Claim | None], wanted: Decision
) -> None:
    assert wanted == decide(RULES, claims, told, (CA, US))


def test_p4_without_a_rule_for_the_rest_what_no_rule_is_about_is_unruled() -> None:
    assert Decision(belongs=Belongs.UNRULED, nobodys=True) == decide(RULES[:-1], [], {}, (CA, US))


def test_what_names_nobody_stays_only_where_the_rule_says_so() -> None:
    rules = (ObjectRule(pattern="u/{subject}/*", disposition="move", ownerless="stay"),)
    assert Decision(belongs=Belongs.STAYS, nobodys=True) == decide(rules, [], {0: None}, (CA,))


def test_p4_nobody_is_not_somebody_who_stays_so_what_names_a_mover_too_stays_only_where_the_rule_says_so() -> None:
    rules = (RULES[ROWS], ObjectRule(pattern="u/{subject}/*", disposition="move", ownerless="stay"))
    wanted = Decision(belongs=Belongs.MOVES, homes=(CA,), leaves=False, orphan=True)
    assert wanted == decide(rules, [_of(CA)], {KEYS: None}, (CA,))
    assert wanted == decide(rules, [], {KEYS: Claim(rule=KEYS, homes=frozenset({CA}), stays=False, nobody=True)}, (CA,))


@pytest.mark.parametrize(
    ("pattern", "key", "subject"),
    [
        ("u/{subject}/*", "u/17/a/b.jpg", "17"),
        ("u/{subject}/*", "u/17", None),
        ("u/{subject}/*", "x/u/17/a", None),
        ("u/{subject}", "u/17", "17"),
        ("u/{subject}", "u/17/a", None),
        ("avatar_{subject}.jpg", "avatar_17.jpg", "17"),
        ("avatar_{subject}.jpg", "avatar_1.7.jpg", None),  # a key that could be split in two ways names nobody
        ("a.{subject}/*", "axb/1", None),
        ("u/{subject}]*", "u/1]x", "1"),
        ("u/{subject}/*", "u/anna@example.org/\n", "anna@example.org"),
    ],
)
def test_a_pattern_names_one_person_or_nobody(pattern: str, key: str, subject: str | None) -> None:
    found = dict(named_by([ObjectRule(pattern=pattern, disposition="move")], key))
    assert ({} if subject is None else {0: subject}) == found


@pytest.mark.parametrize("pattern", ["*{subject}/", "{subject}*", "{subject}{subject}", "u/{subject}/{subject}"])
def test_a_pattern_that_could_name_two_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="can't name two persons"):
        ObjectRule(pattern=pattern, disposition="move")


@pytest.mark.parametrize(
    ("rule", "value", "key"),
    [
        ({}, "a b/c", "a b/c"),
        ({}, "", None),
        ({"cut": "https://x/"}, "https://x/a%20b?v=1", "a%20b?v=1"),
        ({"cut": "https://x/", "spelled": "url"}, "https://x/a%20b/%C3%BC?v=1#top", "a b/ü"),
        ({"cut": "https://x/", "spelled": "url"}, "https://x//a", "/a"),
        ({"cut": "https://x/"}, "https://y/a", None),
        ({"cut": "https://x/"}, "https://x/", None),
    ],
)
def test_a_value_names_a_key_as_the_rule_spells_it(rule: dict[str, str], value: str, key: str | None) -> None:
    made = ObjectRule(of="app.public.video", column="key", disposition="move", **rule)  # type: ignore[arg-type]
    assert key == made.key_named(value)
