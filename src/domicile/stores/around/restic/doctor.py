"""What `domicile doctor` asks of a restic repository: the program, the password, what is in it, rights and room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from domicile.config import Config
from domicile.config.custody import ResticRule
from domicile.errors import DomicileError
from domicile.host import Host
from domicile.stores.around.restic.listing import Machine, Snapshot
from domicile.stores.around.restic.tool import Tool
from domicile.stores.postgres.doctor import Check

_COPIES: Final = "its snapshots and packs"
"""What can't be treated and searched without."""


def examine(config: Config, host: Host, base: Path) -> Iterator[Check]:
    """Ask each repository that the file names; the first thing that is missing ends its list."""
    for name, rule in config.around.items():
        if isinstance(rule, ResticRule):
            try:
                yield from _of(name, rule, host, base)
            except DomicileError as fault:
                yield Check(store=name, what="restic", holds=False, needed_for=_COPIES, remedy=str(fault))


def _of(name: str, rule: ResticRule, host: Host, base: Path) -> Iterator[Check]:
    password = host.secret(rule.password, base=base)
    tool = Tool(store=name, repository=Path(rule.repository), password=password, user=rule.user)
    yield Check(store=name, what=tool.version(), holds=True, needed_for="listing, restoring, forgetting and pruning")
    snapshots = tool.snapshots()
    machine = Machine(hosts=rule.hosts, paths=rule.paths)
    own = [one for one in snapshots if machine.owns(one)]
    yield Check(
        store=name, what=f"{len(snapshots)} snapshots, {len(own)} of the source's machine",
        holds=bool(own) or not snapshots, needed_for=_COPIES,
        remedy="" if own or not snapshots else "check `hosts` and `paths` against `restic snapshots`",
    )  # fmt: skip
    yield _rights(name, rule, tool)
    yield _room(name, rule, tool, snapshots)


def _rights(name: str, rule: ResticRule, tool: Tool) -> Check:
    """Restoring and pruning take a lock, which is a file in the repository."""
    if rule.removed_by == "engine":
        tool.refuse_other_owner()
    may = os.access(Path(rule.repository) / "locks", os.W_OK)
    return Check(
        store=name, what="may lock the repository", holds=may, needed_for="restoring, forgetting and pruning",
        remedy="" if may else "run as its owner, or as root with `user`",
    )  # fmt: skip


def _room(name: str, rule: ResticRule, tool: Tool, snapshots: tuple[Snapshot, ...]) -> Check:
    """Only the last one is asked for its size: asking each would take minutes."""
    wanted = tool.size(snapshots[-1].id) if snapshots else 0
    try:
        free = shutil.disk_usage(rule.scratch).free
    except OSError:
        free = -1
    return Check(
        store=name, what=f"{rule.scratch} has room for the last snapshot, {wanted} bytes", holds=free > wanted,
        needed_for="restoring each snapshot, one at a time", remedy="" if free > wanted else "name another `scratch`",
    )  # fmt: skip
