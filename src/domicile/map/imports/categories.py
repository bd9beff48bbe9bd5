"""A fideslang category → the kind of content that the draft weighs: by the vocabulary, else by the category's branch.

Whoever tagged a field knew it; so a tag counts more than names and samples do. What is tagged below `user` is a
person's; `system` is not.
"""

from __future__ import annotations

from domicile.map.kinds import Confidence, Kind
from domicile.map.vocabulary import ENTRIES, Weight

# Branches whose fields say little by themselves, or are keys; every other one below `user` finds or describes a person.
_BRANCHES = {
    "user.unique_id": Weight.PLAIN, "user.name": Weight.PERSON, "user.contact.address": Weight.PLACE,
    "user.contact.organization": Weight.ORGANISATION, "user.content": Weight.FREE, "user.behavior": Weight.WEAK,
    "system": Weight.TECHNICAL,
}  # fmt: skip
_LISTED = {entry.category: entry for entry in reversed(ENTRIES) if entry.category}


def kind_of_category(category: str, *, why: str) -> Kind:
    """Return the kind for a category that a source gives a field."""
    entry = _LISTED.get(category)
    weight = entry.weight if entry else _of_branch(category)
    name = entry.kind if entry else category
    return Kind(name=name, category=category, weight=weight, confidence=Confidence.SURE, why=why)


def _of_branch(category: str) -> Weight:
    parts = category.split(".")
    for length in range(len(parts), 0, -1):
        found = _BRANCHES.get(".".join(parts[:length]))
        if found is not None:
            return found
    return Weight.STRONG
