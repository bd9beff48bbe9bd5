"""The case: what the checks have established so far, and the one way to say no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domicile_audit.keys import Key
from domicile_audit.policy import Policy


class Refused(Exception):
    """The bundle does not hold; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of the log, signed and in its shape; `sha256` is that of its envelope's bytes."""

    index: int
    sha256: str
    kind: str
    keyid: str
    predicate: Mapping[str, Any]


@dataclass(slots=True)
class Case:
    """Filled from the top of the checklist to the bottom; a check may rely on what those above it left here."""

    data: bytes
    policy: Policy | None
    files: dict[str, bytes] = field(default_factory=dict)  # 1
    log_key: Key | None = None  # 2
    approver_keys: dict[str, Key] = field(default_factory=dict)  # 2, by keyid
    size: int = 0  # 5
    root: bytes = b""  # 5
    cosigned: dict[str, int] = field(default_factory=dict)  # 5: when, by the policy's names of witnesses
    cosignatures: int = 0  # 5: lines behind the log's own signature, whether a policy knows their keys or not
    entries: list[bytes] = field(default_factory=list)  # 6
    envelopes: list[tuple[bytes, str]] = field(default_factory=list)  # 8: payload, keyid
    statements: list[Statement] = field(default_factory=list)  # 9
    places: dict[str, int] = field(default_factory=dict)  # 9: the first statement of a digest
    slices: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # 10: the last freeze's, else the plan's, by id

    @property
    def engine(self) -> Key:
        """The key of the log and the engine."""
        if self.log_key is None:
            raise Refused("the bundle has no log key")
        return self.log_key

    @property
    def plan(self) -> Mapping[str, Any]:
        """The plan's predicate."""
        return self.statements[0].predicate

    @property
    def live(self) -> bool:
        """Whether people went home in cohorts while the service ran; then freezes name the slices, not the plan."""
        return bool(self.of("cohort/v1") or self.of("freeze/v1"))

    @property
    def since(self) -> int:
        """The last freeze or cohort, which voids what was compared before it; 0 in a move at once."""
        return max((one.index for kind in ("cohort/v1", "freeze/v1") for one in self.of(kind)), default=0)

    @property
    def object_stores(self) -> frozenset[str]:
        """The stores whose slices are of objects; such a slice bears the store's name as dataset."""
        return frozenset(copy["store"] for copy in self.plan["copies"] if copy["kind"] == "objects")

    def slices_at(self, index: int) -> Mapping[str, Mapping[str, Any]]:
        """The slices that are named before a statement: those of the last freeze, else the plan's."""
        named = [self.statements[0], *(freeze for freeze in self.of("freeze/v1") if freeze.index < index)]
        return {part["id"]: part for part in named[-1].predicate["slices"]}

    def of(self, kind: str) -> list[Statement]:
        """The statements of one type, in the order of the log."""
        return [statement for statement in self.statements if statement.kind == kind]

    def named(self, sha256: str, kind: str, by: Statement) -> Statement:
        """The statement of that type and digest, which must stand before the one that names it."""
        place = self.places.get(sha256, by.index)
        if place < by.index and self.statements[place].kind == kind:
            return self.statements[place]
        raise Refused(f"statement {by.index} ({by.kind}) names a {kind} that does not stand before it in the log")


def require(holds: bool, reason: str) -> None:
    """Refuse unless it holds."""
    if not holds:
        raise Refused(reason)
