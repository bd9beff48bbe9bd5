"""Rules that came back from an export, under the name that their store has now."""

from __future__ import annotations

from typing import Any

from domicile.config import dataset_id, split_dataset_id
from domicile.config.people import SubjectRule
from domicile.config.rules import DatasetRule
from domicile.map.imports.interchange import Said


def renamed(said: Said, store: str) -> Said:
    """Return the rules with `store` in every dataset id that named the exported store."""
    naming = _Naming(said.store, store)
    return Said(
        store=store, subject=naming.subject(said.subject) if said.subject else None,
        other_subjects=tuple(naming.subject(item) for item in said.other_subjects),
        datasets={naming.id(name): naming.rule(rule) for name, rule in said.datasets.items()},
    )  # fmt: skip


class _Naming:
    def __init__(self, before: str, after: str) -> None:
        self.before, self.after = before, after

    def id(self, text: str) -> str:
        store, table = split_dataset_id(text)
        return dataset_id(self.after, table) if store == self.before else text

    def subject(self, rule: SubjectRule) -> SubjectRule:
        said = rule.model_dump(by_alias=True, exclude_unset=True)
        said["dataset"] = self.id(said["dataset"])
        market = said["market"]
        for place in (market, *market.get("evidence", ())):
            self._hops(place.get("path"))
        return SubjectRule.model_validate(said)

    def rule(self, rule: DatasetRule) -> DatasetRule:
        said = rule.model_dump(by_alias=True, exclude_unset=True)
        self._hops(said.get("path"))
        for way in (said.get("subjects") or {}).get("by", ()):
            self._hops(way["path"])
        for edge in said.get("edges", {}).values():
            self._name(edge, "to")
        return DatasetRule.model_validate(said)

    def _hops(self, hops: Any) -> None:  # noqa: ANN401 - a dumped list of hops, or None
        for hop in hops or ():
            self._name(hop, "to")
            self._name(hop, "from")

    def _name(self, place: dict[str, Any], key: str) -> None:
        if place.get(key) is not None:
            place[key] = self.id(place[key])
