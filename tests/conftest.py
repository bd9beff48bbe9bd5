"""What every test may use: real servers for the session, a fresh database for the test.

def test_it(pg18, database, sample):
    dsn = database(pg18)              # an empty database, dropped after the test
    dsn = sample(pg18, "pagila")      # a fresh copy of a sample: pagila, chinook, chinook_identity, northwind
    server = servers.of(13)           # any major from 13 to 18
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from domicile.stores.postgres.server import EmbeddedServer
from tests.databases import sample_template
from tests.servers import DISTRIBUTION_MAJOR, Databases, Servers, slots_of

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


# What costs much to set up, and is used by several files: one worker, one file after another.
TOGETHER = (
    ("tests/example/contract/",),  # services that run all the while, too
    # A service moved under traffic takes both cores, and what people feel of it is asserted: never two at a time.
    tuple(f"tests/example/test_{name}.py" for name in ("demo", "service_live", "service_move")),
    ("tests/stores/objects/",),  # an S3 server
    ("tests/audit/test_spot.py", "tests/audit/test_spot_given.py"),  # two worlds moved
    tuple(
        f"tests/main/test_{name}.py"
        for name in ("after_the_move", "honest", "known_answers", "no_personal_data", "second_run")
    ),
)

LONG = (
    "tests/example/contract/",
    "tests/main/test_after_the_move.py",
    "tests/example/test_demo.py",
    *(f"tests/{name}.py" for name in (
        "live/test_cutover", "live/test_end", "live/test_delta",
        "crash/test_everywhere_live", "crash/test_everywhere_whole", "crash/test_kill", "stores/test_conformance",
    )),
)  # fmt: skip
"""Scopes that take minutes."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Give one worker a file's tests, or those of several files that belong together."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Begin the long ones first: no worker is to wait at the end for the other one's last file."""
        waiting = [scope for scope in LONG if scope in self.workqueue]
        if waiting:
            self.workqueue.move_to_end(waiting[0], last=False)
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        return next((group[0] for group in TOGETHER if nodeid.startswith(group)), nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Say who runs what, where two workers share the tests."""
    return ByFile(config, log)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a screen. It ends with its module: its event loop must not meet another test's."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Every major: `servers.of(13)`."""
    running = Servers()
    yield running
    running.end()


@pytest.fixture(scope="module", autouse=True)
def no_slot_is_left(servers: Servers, request: pytest.FixtureRequest) -> Iterator[None]:
    """A module that leaves a slot behind makes the sweeps of all later ones slow, and what they find `present`."""
    yield
    left = slots_of(servers)
    assert [] == left, f"{request.module.__name__} left slots in {', '.join(left)}"


@pytest.fixture(scope="session")
def pg18(servers: Servers) -> EmbeddedServer:
    """The embedded server, PostgreSQL 18."""
    return servers.of(18)


@pytest.fixture(scope="session")
def distributed(servers: Servers) -> EmbeddedServer:
    """The server of the distribution: PostgreSQL 15 on Debian 12."""
    return servers.of(DISTRIBUTION_MAJOR)


@pytest.fixture
def database() -> Iterator[Databases]:
    """Make fresh databases: `database(pg18)` returns the DSN of an empty one."""
    databases = Databases()
    yield databases
    databases.drop()


@pytest.fixture
def sample(database: Databases) -> Callable[[EmbeddedServer, str], str]:
    """Make fresh copies of a sample: `sample(pg18, "pagila")` returns a DSN."""
    return lambda server, name: database(server, sample_template(server, name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the seed of the random order also where `-q` hides the header."""
    seed = config.getoption("randomly_seed", default=None)  # none with `-p no:randomly`
    if seed is not None:
        terminalreporter.write_line(f"random order: repeat with --randomly-seed={seed}")
