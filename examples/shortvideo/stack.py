"""Starts the whole service on this machine: a database server and an instance for each location, a store, the router.

    with Stack.start(Path("state"), locations=("sg", "us"), home_schema=True) as stack:
        httpx.get(stack.url)

What it made stays in `state` and is found there the next time; whatever it started has ended when the block ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, LiteralString

import httpx
import psycopg

from domicile.stores.postgres.programs import reachable_folder
from domicile.stores.postgres.server import EmbeddedServer, ServerSettings
from shortvideo import database, residence
from shortvideo.backups import Beside
from shortvideo.left_over import end_left_over
from shortvideo.media import clips as clip_maker
from shortvideo.media.seeding import fill, hold
from shortvideo.media.store import LOOPBACK, Bucket, ObjectServer, free_ports

HERE: Final = Path(__file__).resolve().parent
CLIP_CACHE: Final = HERE.parents[1] / ".cache" / "shortvideo"
SOURCE: Final = "sg"
RUN: Final = "run"
PROGRAMS: Final = ("uvicorn", "domicile.cli")
"""The folder that instances and router work in; it stays empty, they are known by it."""
DATABASE: Final = "shortvideo"
CLIPS: Final = 24
HELD_DAYS: Final = 90
"""For so long the store keeps one draft that the platform was told to keep."""
REFERENCE: Final = ("countries", "locations")
SOURCE_VARIABLE: Final = "SERVICE_DSN"
"""The name that domicile.yaml knows the source by; homes have SERVICE_US_DSN and so on."""
STANDBY_VARIABLE: Final = "SERVICE_STANDBY_DSN"
PARAMETERS: Final = {"max_connections": "200"}  # every instance comes to the commons, too
TABLES: Final = "SELECT to_regclass('app.users') IS NOT NULL"
CLIPS_SHOWN: Final = "SELECT EXISTS (SELECT FROM app.videos WHERE thumb_key IS NOT NULL)"
READY_SECONDS_MAX: Final = 60
STOP_SECONDS_MAX: Final = 10
ASK_SECONDS_MAX: Final = 2
POLL_SECONDS: Final = 0.05


class NotStarted(RuntimeError):
    """A part of the service did not come up; the message says which and where its log is."""


@dataclass(slots=True, kw_only=True)
class Web:
    """A web server of the service: an instance, the router or the directory; it can be stopped and started again."""

    name: str
    command: tuple[str, ...]
    """What Python is told to run."""
    port: int
    environment: Mapping[str, str] = field(repr=False)
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start it and return once it answers; raise NotStarted."""
        if self.answers():
            raise NotStarted(f"{self.url} is another program's already; end that, or choose another --port")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.environment),
                cwd=self.log.parents[1] / RUN,
                start_new_session=True,  # Ctrl-C reaches the stack alone, which then stops everything in order
            )
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NotStarted(f"{self.name} did not come up; see {self.log}")
            time.sleep(POLL_SECONDS)

    def answers(self) -> bool:
        """Say whether it answers now."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=ASK_SECONDS_MAX).is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """Ask it to end, and end it when it does not."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The running service; make one with `start`."""

    url: str
    """The router: where people go."""
    instances: Mapping[str, str]
    """Location → address of its instance."""
    dsns: Mapping[str, str] = field(repr=False)
    buckets: Mapping[str, Bucket]
    token: str = field(repr=False)
    state: Path
    servers: Mapping[str, EmbeddedServer] = field(repr=False)
    web: Mapping[str, Web] = field(repr=False)
    """Location, `router` or `directory` → its process, for those who want to break something."""
    backups: Beside | None
    """What is kept beside the databases, if anything is."""
    standby: str | None = field(repr=False)
    """DSN of the service's database on the source's standby, if there is one."""

    @classmethod
    @contextmanager
    def start(  # noqa: PLR0913 - each names one thing about the service
        cls,
        state: Path,
        *,
        locations: Sequence[str] = (SOURCE,),
        users: int = database.USERS,
        seed: int = 1,
        clips: int = CLIPS,
        canaries: Sequence[str] = (),
        backups: bool = False,
        home_schema: bool = False,
        port: int = 0,
    ) -> Iterator[Stack]:
        """Start it all; raise NotStarted, or what the servers raise.

        The source's database is filled unless it is filled already. Homes begin empty, as Domicile's transfer asks
        for; with `home_schema` they get the tables, and their countries' newcomers live there from the beginning.
        With `backups` the source archives its log and has a standby, and was dumped and backed up, as if the night
        before; homes have backups of their own; and the store has locked a draft of one who moves.
        """
        if locations[0] != SOURCE:
            raise ValueError(f"the first location is the source, {SOURCE}")
        state = state.absolute()
        for name in ("logs", RUN):
            (state / name).mkdir(parents=True, exist_ok=True)
        with ExitStack() as ending:
            ending.enter_context(_alone(state / RUN / "lock", state))
            for program in PROGRAMS:
                end_left_over(state / RUN, program)
            words = _secrets(state / "secrets.json")
            folder = _data_folder(state, ending)

            beside = Beside.prepare(folder / "backups", locations, ending) if backups else None

            def serve(location: str) -> EmbeddedServer:
                return _serve(location, folder / location, words["password"], beside, ending)

            with ThreadPoolExecutor() as pool:  # most of this is waiting for other programs
                starting = {location: pool.submit(serve, location) for location in locations}
                making = pool.submit(clip_maker.make, CLIP_CACHE, clips, seed)
                store = ending.enter_context(ObjectServer.start(folder / "objects"))
                servers = {location: future.result() for location, future in starting.items()}
                dsns = {location: _database(server) for location, server in servers.items()}
                buckets = {
                    location: store.bucket(f"shortvideo-{location}", locks=backups and location == SOURCE)
                    for location in locations
                }
                if not _holds(dsns[SOURCE], TABLES):
                    database.create(dsns[SOURCE], users=users, seed=seed, canaries=canaries)
                backing = pool.submit(beside.back_up) if beside else None
                if not _holds(dsns[SOURCE], CLIPS_SHOWN):
                    _fill(dsns, buckets[SOURCE], making.result(), may_lock=backups)
                standby = None
                if beside and backing:
                    backing.result()
                    standby = _follow(beside, servers[SOURCE], words["password"], ending)
            if home_schema:
                for location in locations[1:]:
                    _open_home(location, dsns)
            _write_variables(state / "service.env", dsns, buckets[SOURCE], standby)
            web = _web(state, dsns, buckets, words["token"], port)
            ending.callback(_each, Web.stop, web.values())
            web["directory"].start()  # first: the others ask it
            _each(Web.start, [web[location] for location in locations])
            web["router"].start()  # last: it answers for the others
            yield cls(
                url=web["router"].url,
                instances={location: web[location].url for location in locations},
                dsns=dsns,
                buckets=buckets,
                token=words["token"],
                state=state,
                servers=servers,
                web=web,
                backups=beside,
                standby=standby,
            )


def _serve(
    location: str, folder: Path, password: str, beside: Beside | None, ending: ExitStack
) -> EmbeddedServer:  # fmt: skip
    """Start a location's server, and what is kept beside it."""
    plain = ServerSettings(parameters=PARAMETERS)
    settings = beside.settings(location, PARAMETERS) if beside else plain
    server = EmbeddedServer.start(folder, name=location, password=password, settings=settings)
    ending.callback(server.stop)
    if beside:
        beside.serve(location, server)
    return server


def _follow(beside: Beside, source: EmbeddedServer, password: str, ending: ExitStack) -> str:
    """Let the night before pass, and start the standby; its DSN."""
    beside.nightly(source.dsn(DATABASE), major=source.major)
    standby = beside.follow(source, password=password, parameters=PARAMETERS)
    ending.callback(standby.stop)
    return standby.dsn(DATABASE)


def _fill(dsns: Mapping[str, str], bucket: Bucket, clips: Sequence[Path], *, may_lock: bool) -> None:
    """Put clips under the videos; where the store may lock, have it keep a draft of somebody who moves."""
    fill(dsns[SOURCE], bucket, clips)
    if may_lock:
        countries = [location.upper() for location in dsns if location != SOURCE]
        hold(dsns[SOURCE], bucket, countries=countries, until=datetime.now(UTC) + timedelta(days=HELD_DAYS))


def _each(act: Callable[[Web], None], parts: Iterable[Web]) -> None:
    """Do it to all at once; the first fault is raised when all are through."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(act, parts))


def _secrets(path: Path) -> dict[str, str]:
    """Return the databases' password and the instances' token; the first time they are drawn and written down."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps({name: secrets.token_hex(24) for name in ("password", "token")}), encoding="utf-8")
    words: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return words


@contextmanager
def _alone(path: Path, state: Path) -> Iterator[None]:
    """Hold the folder: what runs in it would be taken for left over, and ended. A lock ends with its process."""
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotStarted(f"the service runs in {state} already; end that, or choose another --state") from None
        yield


def _data_folder(state: Path, ending: ExitStack) -> Path:
    """Return where servers keep their files: in `state`, or for as long as we run where PostgreSQL's user can go."""
    preferred = state / "servers"
    folder = reachable_folder(preferred)
    if folder != preferred:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _database(server: EmbeddedServer) -> str:
    """Return the DSN of the service's database, made where there is none."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            admin.execute(f"CREATE DATABASE {DATABASE}".encode())
    return server.dsn(DATABASE)


def _holds(dsn: str, query: LiteralString) -> bool:
    """Say whether a database holds what the query asks for: a start that was cut off is taken up where it ended."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchone() == (True,)


def _open_home(location: str, dsns: Mapping[str, str]) -> None:
    """Give a home the tables and the reference data, and let newcomers live there."""
    if not _holds(dsns[location], TABLES):
        with psycopg.connect(dsns[SOURCE]) as source, psycopg.connect(dsns[location]) as home:
            home.execute((HERE / "schema.sql").read_bytes())
            for table in REFERENCE:
                with (
                    source.cursor().copy(f"COPY app.{table} TO STDOUT".encode()) as rows,
                    home.cursor().copy(f"COPY app.{table} FROM STDIN".encode()) as there,
                ):
                    for data in rows:
                        there.write(data)
    residence.receive(dsns[SOURCE], location)


def _web(state: Path, dsns: Mapping[str, str], buckets: Mapping[str, Bucket], token: str, port: int) -> dict[str, Web]:
    """Return what is to be started: the directory, an instance a location, and the router in front of them."""
    ports = free_ports(len(dsns) + 2)
    directory = f"{LOOPBACK}:{ports[-2]}"
    peers = {location: f"http://{LOOPBACK}:{number}" for location, number in zip(dsns, ports, strict=False)}
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH", "")))),
        "SV_COMMONS_DSN": dsns[SOURCE],
        "SV_COMMONS_BUCKET": buckets[SOURCE].name,
        "SV_S3_ENDPOINT": buckets[SOURCE].endpoint,
        "SV_S3_KEY": buckets[SOURCE].key,
        "SV_S3_SECRET": buckets[SOURCE].secret,
        "SV_PEERS": json.dumps(peers),
        "SV_TOKEN": token,
        "SV_STATE": str(state),
        "SV_DIRECTORY": f"http://{directory}",
        SOURCE_VARIABLE: dsns[SOURCE],
    }

    def part(name: str, number: int, location: str, *command: str) -> Web:
        own = {"SV_LOCATION": location, "SV_HOME_DSN": dsns[location], "SV_BUCKET": buckets[location].name}
        log = state / "logs" / f"{name}.out"
        return Web(name=name, command=command, port=number, environment={**shared, **own}, log=log)

    parts = {
        location: part(location, number, location, *_uvicorn("shortvideo.service.app:create", number))
        for location, number in zip(dsns, ports, strict=False)
    }
    front = port or ports[-1]
    # It passes the instance's own headers on.
    plain = ("--no-server-header", "--no-date-header")
    parts["router"] = part("router", front, SOURCE, *_uvicorn("shortvideo.router:create", front), *plain)
    parts["directory"] = part(
        "directory", ports[-2], SOURCE, "-m", "domicile.cli", "directory", "serve", "--listen", directory,
        "--file", str(HERE / "domicile.yaml"),
    )  # fmt: skip
    return parts


def _uvicorn(factory: str, port: int) -> tuple[str, ...]:
    return (
        "-m", "uvicorn", "--factory", factory, "--host", LOOPBACK, "--port", str(port), "--no-access-log",
        "--log-level", "warning", "--timeout-graceful-shutdown", "3",
    )  # fmt: skip


def _write_variables(path: Path, dsns: Mapping[str, str], bucket: Bucket, standby: str | None) -> None:
    """Write what `domicile` and `python -m shortvideo.residence` read from the environment, for a shell."""
    homes = {location: dsn for location, dsn in dsns.items() if location != SOURCE}
    variables = {
        SOURCE_VARIABLE: dsns[SOURCE],
        **{f"SERVICE_{location.upper()}_DSN": dsn for location, dsn in homes.items()},
        "SV_COMMONS_DSN": dsns[SOURCE],
        "SERVICE_S3_ENDPOINT": bucket.endpoint,
        "SERVICE_S3_KEY": bucket.key,
        "SERVICE_S3_SECRET": bucket.secret,
        **({STANDBY_VARIABLE: standby} if standby else {}),
    }
    path.touch(mode=0o600)
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    path.write_text("".join(lines), encoding="utf-8")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that nothing is left running."""

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
