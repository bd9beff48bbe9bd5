"""Which dataset's rows name objects, by a rule of the file, and whether its rules tell of people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from domicile.config.belongings import ObjectRule
from domicile.errors import Refused
from domicile.model import DatasetScope, Scope

TEXTS: Final = "S"
"""PostgreSQL's category of types that are texts."""


def dataset_naming(scope: Scope, rule: ObjectRule, *, where: str) -> DatasetScope:
    """The dataset whose rows name objects; raise Refused where it has no such column, or no owner for what moves."""
    dataset = next((one for one in scope.datasets if one.id == rule.of), None)
    if dataset is None:
        raise Refused(f"{where}.of: {rule.of} is derived or has no rows of its own; name the dataset it comes from")
    column = next((one for one in dataset.columns if one.name == rule.column), None)
    if column is None or column.category != TEXTS:
        raise Refused(f"{where}.column: {rule.of} has no column {rule.column} that is a text; name one that holds keys")
    if rule.disposition == "move" and not dataset.owned:
        raise Refused(f"{where}.of: rows of {rule.of} are nobody's; give it a path, or the rule another disposition")
    return dataset


def tells_people(rules: Sequence[ObjectRule]) -> bool:
    """Whether a key, or what goes along with an object, tells of a person by some rule."""
    return any(rule.tells_person for rule in rules)
