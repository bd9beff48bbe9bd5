"""P5: the engine and both servers killed at seeded points of the whole flow; called again, it ends the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import pytest

from domicile.errors import Refused, StoreFault, Unreachable, Waiting
from domicile.stores.postgres.server import EmbeddedServer
from tests.crash.conftest import CrashWorld

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]

ENTRY: Final = ("-m", "tests.crash.engine")
KILLED: Final = -9
RUNS_MAX: Final = 120
POINTS_A_RUN_MAX: Final = 320
"""Each run begins Python anew, which takes seconds: some twenty of them; `make crash` fails at every effect."""
SECONDS_MAX: Final = 120


def drive(world: CrashWorld, **points: object) -> tuple[int, str]:
    """Run `domicile apply --yes` with points; its exit code and what it said."""
    process = world.programme.start(
        "apply", "--yes", entry=ENTRY, **{name: str(value) for name, value in points.items()}
    )
    words, _ = process.communicate(timeout=SECONDS_MAX)
    return process.returncode, words


def settle(world: CrashWorld, code: int, words: str) -> bool:
    """Do what a person would do after a run that was not killed; whether all is done."""
    if code == Waiting.exit_code:
        world.programme.approve()
        return False
    assert code == 0, words
    return True


@pytest.mark.parametrize("seed", [1])
def test_p5_killed_again_and_again_it_ends_the_same(crash_world: CrashWorld, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    crash_world.programme.plan()
    kills: list[str] = []
    for number in range(RUNS_MAX):
        log = tmp_path / f"points-{number}"
        code, words = drive(crash_world, CRASH_AT=chance.randint(1, POINTS_A_RUN_MAX), POINTS=log)
        if code == KILLED:
            kills.append(log.read_text().splitlines()[-1])
            crash_world.assert_nothing_lost()
        elif settle(crash_world, code, words):
            break
    print(f"seed {seed}, {len(kills)} kills:", *kills, sep="\n  ")  # noqa: T201 - shown when the test fails
    crash_world.assert_done()
    size = _log_size(crash_world)
    assert 0 == drive(crash_world)[0]  # a finished plan does nothing
    assert size == _log_size(crash_world)
    crash_world.assert_done()


@pytest.mark.parametrize("seed", [3])
def test_p5_servers_killed_again_and_again_it_ends_the_same(crash_world: CrashWorld, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    crash_world.programme.plan()
    told: list[str] = []
    for _ in range(RUNS_MAX):
        victim = chance.choice(("source", "home"))
        server = crash_world.source_server if victim == "source" else crash_world.home_server
        code, words = _kill_meanwhile(crash_world, server, at=chance.randint(1, POINTS_A_RUN_MAX))
        told.append(f"{victim}: {code} {words[-200:]}")
        if code in (Unreachable.exit_code, StoreFault.exit_code):
            server.restart()
            crash_world.assert_nothing_lost()
            continue
        if not server.is_running():
            server.restart()
        if settle(crash_world, code, words):
            break
    print(f"seed {seed}:", *told, sep="\n  ")  # noqa: T201 - shown when the test fails
    crash_world.assert_done()


def _kill_meanwhile(world: CrashWorld, server: EmbeddedServer, *, at: int) -> tuple[int, str]:
    """Run the engine; at its `at`th point end the server at once, and let the engine find out."""
    process = world.programme.start("apply", "--yes", entry=ENTRY, PAUSE_AT=str(at))
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("paused at"):
            server.kill()
            break
    words, _ = process.communicate("go\n", timeout=SECONDS_MAX)
    return process.returncode, "".join(said) + words


def test_p5_a_second_engine_is_kept_out(crash_world: CrashWorld) -> None:
    crash_world.programme.plan()
    first = crash_world.programme.start("apply", entry=ENTRY, PAUSE_AT="10")
    assert first.stdout is not None
    while not first.stdout.readline().startswith("paused at"):
        pass
    second = crash_world.programme.command("apply", "--yes")
    assert Refused.exit_code == second.returncode
    assert "another domicile works in" in second.stderr
    first.communicate("go\n", timeout=SECONDS_MAX)
    assert Waiting.exit_code == first.returncode


def _log_size(world: CrashWorld) -> int:
    with world.programme.opened() as run:
        return run.ledger.size
