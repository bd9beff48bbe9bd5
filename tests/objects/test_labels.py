"""Objects that are somebody's by their metadata or tags, over buckets in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from domicile.config.belongings import ObjectRule
from domicile.errors import Unclassed
from domicile.objects.claims import Claims
from domicile.objects.listing import Sorting, labelled_by
from domicile.objects.surveying import findings, survey
from domicile.stores.objects import Traits
from tests.objects.benches import CA, DIGEST_KEY, PEOPLE, Move, contents

REST = ObjectRule(disposition="none", reason="the rest")
BY_METADATA = (ObjectRule(metadata="Owner", disposition="move"), REST)
BY_TAG = (ObjectRule(tag="owner", disposition="move"), REST)


def _traits(rule: ObjectRule, *values: str) -> Traits:
    pairs = tuple(("owner", value) for value in values)
    return Traits(tags=pairs) if rule.tag else Traits(metadata=pairs)


@pytest.mark.parametrize("rules", [BY_METADATA, BY_TAG], ids=["metadata", "tag"])
def test_they_go_home_and_leave_and_those_of_others_stay(tmp_path: Path, rules: tuple[ObjectRule, ...]) -> None:
    move = Move(folder=tmp_path, rules=rules)
    move.put("a", b"of two", _traits(rules[0], "2"))
    move.put("b", b"of one who stays", _traits(rules[0], "1"))
    move.put("c", b"nobody's")
    move.put("d", b"of four", _traits(rules[0], "4"))
    move.mark("d")
    ends = move.ends()
    (pair,) = move.bring(ends)
    assert pair.equal
    move.erase(ends)
    assert {"b": [b"of one who stays"], "c": [b"nobody's"]} == contents(move.at_source)
    assert {"a": [b"of two"], "d": [b"of four", None]} == contents(move.at_home)


def _with_another(folder: Path, rules: tuple[ObjectRule, ...], other: str) -> Move:
    """An object whose first version is labelled as another's, and its second as a mover's."""
    move = Move(folder=folder, rules=rules)
    move.put("a", b"first", _traits(rules[0], other))
    move.put("a", b"second", _traits(rules[0], "2"))
    return move


def test_p4_a_version_that_names_nobody_is_for_a_person_to_decide_and_counted_apart(tmp_path: Path) -> None:
    move = _with_another(tmp_path, BY_METADATA, "99")
    with pytest.raises(Unclassed):
        move.freeze(move.ends())
    rules = (ObjectRule(metadata="owner", disposition="move", ownerless="stay"), REST)
    move = _with_another(tmp_path, rules, "99")
    with Claims(digest_key=DIGEST_KEY) as claims:
        claims.add_people(PEOPLE)
        sorting = Sorting(rules=rules, claims=claims, homes=(CA,), digest_key=DIGEST_KEY)
        (found, *_) = findings(survey(move.source, sorting, may_lock=False))
    assert found.text.endswith("go to ca, 2 versions stay as they name nobody who is there")
    ends = move.ends()
    move.bring(ends)
    move.erase(ends)
    assert {"a": [b"first", b"second"]} == contents(move.at_source) == contents(move.at_home)


def test_p1_what_a_version_names_as_a_stayers_goes_home_and_stays(tmp_path: Path) -> None:
    move = _with_another(tmp_path, BY_METADATA, "1")
    before = contents(move.at_source)
    ends = move.ends()
    move.bring(ends)
    move.erase(ends)
    assert before == contents(move.at_source) == contents(move.at_home)


def test_p4_who_is_not_there_is_for_a_person_to_decide(tmp_path: Path) -> None:
    move = Move(folder=tmp_path, rules=BY_METADATA)
    move.put("a", b"of whom?", _traits(BY_METADATA[0], "99"))
    with pytest.raises(Unclassed):
        move.freeze(move.ends())
    stay = (ObjectRule(metadata="owner", disposition="move", ownerless="stay"), REST)
    kept = Move(folder=tmp_path, rules=stay, at_source=move.at_source)
    ends = kept.ends()
    kept.bring(ends)
    kept.erase(ends)
    assert {"a": [b"of whom?"]} == contents(kept.at_source)


def test_nothing_is_asked_of_a_store_without_such_rules(tmp_path: Path) -> None:
    move = Move(folder=tmp_path)
    version = move.put("a", b"x", _traits(BY_METADATA[0], "2"))
    assert version
    (history,) = [move.source.history("a")]
    assert [] == list(labelled_by((REST,), None, history))  # type: ignore[arg-type]
    assert [(0, frozenset({"2"}))] == list(labelled_by(BY_METADATA, move.source, history))
