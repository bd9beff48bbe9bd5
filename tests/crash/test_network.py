"""P5: the network between engine and stores fails in the middle of anything; called again, it ends the same."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from domicile.errors import StoreFault, Unreachable, Waiting
from domicile.stores.postgres.session import SILENCE_S_MAX, connect
from tests.attack.programme import make
from tests.crash.conftest import CrashWorld
from tests.crash.proxy import Moment, Proxy, proxy
from tests.crash.world import RULES

pytestmark = pytest.mark.crash


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The world, which the engine reaches through two proxies only."""

    world: CrashWorld
    source: Proxy
    home: Proxy

    def of(self, side: str) -> Proxy:
        return self.source if side == "source" else self.home


@pytest.fixture
def network(crash_world: CrashWorld, tmp_path: Path) -> Iterator[Network]:
    """Both servers behind proxies."""
    with (
        proxy(crash_world.source_server.port) as source,
        proxy(crash_world.home_server.port) as home,
    ):
        programme = make(
            tmp_path / "behind", RULES, source=make_conninfo(crash_world.source, port=source.port),
            homes={name: make_conninfo(dsn, port=home.port) for name, dsn in crash_world.homes.items()},
        )  # fmt: skip
        yield Network(world=replace(crash_world, programme=programme), source=source, home=home)


# The moments at which most is at stake; every other effect is cut off by tests/crash/everywhere.py.
MOVING: Final = {
    "the freeze, unheard": ("source", [b"string_agg(gen_random_uuid", b"COMMIT"], Moment.UNHEARD),
    "transfer, a slice unheard": ("home", [b"domicile.loaded VALUES", b"COMMIT"], Moment.UNHEARD),
}
ERASING: Final = {
    "the deletion, uncommitted": ("source", [b"DELETE FROM", b"COMMIT"], Moment.UNSAID),
    "the deletion, unheard": ("source", [b"DELETE FROM", b"COMMIT"], Moment.UNHEARD),
    "the sweep": ("source", [b"pg_control_init"], Moment.UNHEARD),
}


@pytest.mark.parametrize(("side", "words", "moment"), MOVING.values(), ids=MOVING.keys())
def test_p5_the_connection_is_cut_while_rows_move(
    network: Network, side: str, words: Sequence[bytes], moment: Moment
) -> None:
    network.world.programme.plan()
    network.of(side).cut_at(words, moment)
    with pytest.raises((StoreFault, Waiting)):  # the fence is tried again at once
        network.world.programme.apply()
    assert 1 == network.of(side).cuts
    network.world.assert_nothing_lost()
    with pytest.raises(Waiting):
        network.world.programme.apply()
    network.world.programme.approve()
    network.world.programme.apply(yes=True)
    network.world.assert_done()


@pytest.mark.parametrize(("side", "words", "moment"), ERASING.values(), ids=ERASING.keys())
def test_p5_the_connection_is_cut_while_rows_are_erased(
    network: Network, side: str, words: Sequence[bytes], moment: Moment
) -> None:
    """Also in the middle of a COMMIT, whose outcome the engine can't know: the mark tells."""
    network.world.programme.clear()
    network.of(side).cut_at(words, moment)
    with pytest.raises(StoreFault):
        network.world.programme.apply(yes=True)
    assert 1 == network.of(side).cuts
    network.world.assert_nothing_lost()
    network.world.programme.apply(yes=True)
    network.world.assert_done()


def test_p5_a_connection_that_falls_silent_is_given_up(crash_world: CrashWorld) -> None:
    """The kernel on both sides is told when to stop waiting, and the wait is bounded."""
    with connect(crash_world.source, store="app") as connection:
        end = socket.socket(fileno=socket.dup(connection.fileno()))
        with end:
            idle, probe, probes, user_ms = (
                end.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            )
            assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert SILENCE_S_MAX == idle + probe * probes == user_ms // 1000
        assert SILENCE_S_MAX <= 120
        server = [
            int(connection.execute("SELECT setting FROM pg_settings WHERE name = %s", (name,)).fetchone()[0])  # type: ignore[index]
            for name in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
        ]
    assert [idle, probe, probes] == server


def test_p5_a_server_that_accepts_and_says_nothing_is_given_up(crash_world: CrashWorld) -> None:
    """`connect_timeout`: the port is open, nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        dsn = make_conninfo(crash_world.source, port=deaf.getsockname()[1], connect_timeout=2)
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(dsn)
        crash_world.programme.plan()
        programme = replace(crash_world.programme, environment={**crash_world.programme.environment, "APP_DSN": dsn})
        with pytest.raises(Unreachable, match="timeout"):
            programme.apply()
