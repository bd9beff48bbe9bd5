"""What a bucket does on its own, as far as it tells these credentials: each question answered, or said to be open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from domicile.errors import NotPermitted
from domicile.stores.objects import Observed, Rule, RuleKind
from domicile.stores.objects.s3.requests import UNKNOWN_QUESTION, Refusal, Requests

NONE_CODES: Final = {
    "ObjectLockConfigurationNotFoundError",
    "NoSuchObjectLockConfiguration",
    "NoSuchLifecycleConfiguration",
    "ReplicationConfigurationNotFoundError",
}
"""How stores say that there is no such rule."""


def observe(requests: Requests) -> tuple[Rule, ...]:
    """Ask for each kind of rule."""
    return tuple(_observed(kind, *question, requests) for kind, question in _QUESTIONS.items())


def _observed(kind: RuleKind, operation: str, read: Callable[[dict[str, Any]], Rule], requests: Requests) -> Rule:
    try:
        return read(requests.ask(operation))
    except NotPermitted:
        return Rule(kind=kind, observed=Observed.UNSEEN, why="these credentials may not ask")
    except Refusal as fault:
        if fault.code in NONE_CODES:
            return _absent(kind)
        if fault.code == "NoSuchBucket":
            raise
        why = "doesn't know" if fault.code == UNKNOWN_QUESTION else "refuses"
        return Rule(kind=kind, observed=Observed.UNSEEN, why=f"the store {why} the question ({fault.code})")


def _absent(kind: RuleKind) -> Rule:
    return Rule(kind=kind, observed=Observed.ABSENT)


def _present(kind: RuleKind, why: str = "", targets: tuple[str, ...] = ()) -> Rule:
    return Rule(kind=kind, observed=Observed.PRESENT, why=why, targets=tuple(sorted(set(targets))))


def _lock(said: dict[str, Any]) -> Rule:
    found = said.get("ObjectLockConfiguration", {})
    if found.get("ObjectLockEnabled") != "Enabled":
        return _absent(RuleKind.LOCK)
    rule = found.get("Rule", {}).get("DefaultRetention", {})
    terms = [f"{rule[unit]} {unit.lower()}" for unit in ("Days", "Years") if rule.get(unit)]
    why = (
        f"new objects: {str(rule['Mode']).lower()}, {', '.join(terms)}" if rule else "no default; objects may be locked"
    )
    return _present(RuleKind.LOCK, why)


def _lifecycle(said: dict[str, Any]) -> Rule:
    count = len(said.get("Rules", []))
    return _present(RuleKind.LIFECYCLE, f"rules: {count}") if count else _absent(RuleKind.LIFECYCLE)


def _replication(said: dict[str, Any]) -> Rule:
    rules = said.get("ReplicationConfiguration", {}).get("Rules", [])
    targets = tuple(_bucket(rule.get("Destination", {})) for rule in rules)
    return _present(RuleKind.REPLICATION, f"rules: {len(rules)}", targets) if rules else _absent(RuleKind.REPLICATION)


def _logging(said: dict[str, Any]) -> Rule:
    target = said.get("LoggingEnabled", {}).get("TargetBucket")
    if not target:
        return _absent(RuleKind.LOGGING)
    return _present(RuleKind.LOGGING, "access logs carry keys", (str(target),))


def _inventory(said: dict[str, Any]) -> Rule:
    lists = said.get("InventoryConfigurationList", [])
    targets = tuple(_bucket(one.get("Destination", {}).get("S3BucketDestination", {})) for one in lists)
    if not lists:
        return _absent(RuleKind.INVENTORY)
    return _present(RuleKind.INVENTORY, "inventories carry keys", targets)


def _bucket(destination: dict[str, Any]) -> str:
    """A bucket's name, given as an ARN."""
    return str(destination.get("Bucket", "unknown")).rpartition(":::")[2]


_QUESTIONS: Final[dict[RuleKind, tuple[str, Callable[[dict[str, Any]], Rule]]]] = {
    RuleKind.LOCK: ("get_object_lock_configuration", _lock),
    RuleKind.LIFECYCLE: ("get_bucket_lifecycle_configuration", _lifecycle),
    RuleKind.REPLICATION: ("get_bucket_replication", _replication),
    RuleKind.LOGGING: ("get_bucket_logging", _logging),
    RuleKind.INVENTORY: ("list_bucket_inventory_configurations", _inventory),
}
