"""Moves the people of a running service home with the whole engine, from plan to certificate."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from domicile import config
from domicile.approving import approve
from domicile.cli import demo
from domicile.errors import Waiting
from domicile.host import Host
from domicile.model import State
from domicile.record.workspace import Workspace
from domicile.run import Run
from domicile.stores.postgres import places
from shortvideo.stack import Stack

CANARIES = tuple(f"zk{number:02}canary" for number in range(8))
LOCATIONS = {"sg": "SERVICE_DSN", "us": "SERVICE_US_DSN", "ca": "SERVICE_CA_DSN", "au": "SERVICE_AU_DSN"}


def move(stack: Stack, *, under_the_fence: Callable[[], None] = lambda: None) -> None:
    """Plan, move, approve, erase, certify; the directory says where people live then."""
    folder = stack.state / "programme"
    folder.mkdir()
    demo._programme(folder, CANARIES, Host())
    environment = {variable: stack.dsns[location] for location, variable in LOCATIONS.items()}
    file = folder / "domicile.yaml"
    with Run.opened(Workspace(file), *config.read(file), host=Host(environment=environment)) as run:
        run.plan()
        with pytest.raises(Waiting):
            run.apply()
        under_the_fence()
        for name in ("operator", "monitor"):
            approve(run, folder / "keys" / f"{name}.key", name)
        run.apply(yes=True)


def living(stack: Stack) -> dict[str, int]:
    """Return how many live in each home, as the directory says."""
    with psycopg.connect(stack.dsns["sg"]) as connection:
        found = places.counts(connection)
    return {home: people for (_, home, state), people in found.items() if state is State.HOME}
