"""What is kept beside the demo's databases: the lines of its file that name it, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from domicile.cli.show import Screen, plain, verdict
from domicile.evidence.predicates import JudgedCopy

STANDBY: Final = "SERVICE_STANDBY_DSN"
REPOSITORY: Final = "service-repository"
"""The store that is the source's pgBackRest repository."""
NO_PGBACKREST: Final = (
    "no pgBackRest is in this world: it is not on this machine, or knows no PostgreSQL server of the distribution's "
    "here (as root on Debian or Ubuntu, `make demo` installs both)"
)


def around_lines(beside: Any) -> str:  # noqa: ANN401 - the example's
    """What the platform keeps beside its databases: at the source it has to go as well, at home it is the backup."""
    lines = {"service-wal": ("archive", beside.archive), "service-dumps": ("dumps", beside.dumps)}
    return "".join(
        (
            f"  service-standby: {{kind: postgresql, location: sg, dsn: env:{STANDBY}, standby_of: service}}\n",
            *(
                f"  {name}: {{kind: {kind}, location: sg, of: service, path: {path}, removed_by: engine}}\n"
                for name, (kind, path) in lines.items()
            ),
            *(
                f"  backups-{place}: {{kind: dumps, location: {place}, of: service-{place}, path: {path}}}\n"
                for place, path in beside.homes.items()
            ),
            *(
                f"  {REPOSITORY}: {{{_stanza(found)}, location: sg, of: service, removed_by: engine}}\n"
                if place == beside.source
                else f"  backups-{place}: {{{_stanza(found)}, location: {place}, of: service-{place}}}\n"
                for place, found in beside.repositories.items()
            ),
        )
    )


def backed_words(beside: Any) -> str:  # noqa: ANN401 - the example's
    """How this world is backed up, in a line."""
    outside = "backups: archived log, a dump, a base backup"
    if beside.pair is None:
        return f"{outside} and a standby at the source, dumps at homes; {NO_PGBACKREST}"
    homes = ", ".join(place for place in beside.repositories if place != beside.source)
    return (
        f"{outside}, a standby and a pgBackRest repository at the source; at homes a repository ({homes}) and dumps "
        f"({', '.join(beside.homes)}); {beside.pair}"
    )


def tell_repository(screen: Screen, verdicts: Iterable[JudgedCopy], beside: Any) -> None:  # noqa: ANN401
    """Say what the repository at the source is called in the certificate, copy by copy."""
    if beside.pair is None:
        screen.say(NO_PGBACKREST)
        return
    own = [copy for copy in verdicts if copy.id.startswith(f"{REPOSITORY}/")]
    screen.table(
        "pgBackRest repository at the source", ("copy", "verdict", "why"),
        ((plain(copy.id), verdict(copy.verdict), plain(copy.why)) for copy in own),
    )  # fmt: skip


def _stanza(found: Any) -> str:  # noqa: ANN401 - the example's
    own = f", user: {found.user}" if found.user else ""
    return f"kind: pgbackrest, stanza: {found.stanza}, config: {found.config}, scratch: {found.scratch}{own}"
