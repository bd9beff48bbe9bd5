"""`python -m bench.sweep`: the sweep of a server's files against ripgrep for the same strings, and against reading.

All strings are of nobody, so every hit is a false alarm. ripgrep looks for the strings as they are, in the bytes as
they are; the engine also in every spelling, as hashes, and in what the server packed. Both times hold the making of
whatever the strings are looked for with.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import psycopg

from bench.apart import peak_rss_bytes
from bench.machine import facts
from bench.pairing import Sample, interleave, speed
from bench.results import Figure, Part, Results, tell, write
from bench.world import execute, servers
from domicile.catalogue import TableName
from domicile.stores.around import Placing
from domicile.stores.postgres.files import LocalFiles, read_layout
from domicile.sweep.forms import TokenClass
from domicile.sweep.kept import Kept
from domicile.sweep.scan import Scan
from domicile.sweep.search import Tally
from domicile.sweep.tokens import Tokens

RESULTS = Path(__file__).resolve().parent / "results"
ENGINE, RIPGREP, READING = "engine", "ripgrep", "reading the files"
NOISE_BYTES = 16 * 1024 * 1024
READ_BYTES = 4 * 1024 * 1024
SECONDS_MAX = 3_600
AIM = 1.0
FILL = """
CREATE SCHEMA app;
CREATE TABLE app.person (id bigint PRIMARY KEY, email text, phone text, name text, device uuid, extra jsonb, bio text);
INSERT INTO app.person
SELECT n, 'person.' || md5(n::text) || '@mail' || n % 97 || '.example', '+1' || 2000000000 + n,
    initcap(translate(left(md5(n || 'a'), 7), '0123456789', 'ghijklmnop')), md5(n || 'd')::uuid,
    jsonb_build_object('lang', 'en', 'seen', n, 'note', 'likes "tea" & ' || n),
    CASE WHEN n % 10 = 0 THEN repeat('Somebody who writes at length about ' || n || ' and other things. ', 40) END
FROM generate_series(1, {people}) AS n;
CREATE INDEX ON app.person (email);
CREATE INDEX ON app.person (phone);
CREATE TABLE app.message (id bigint PRIMARY KEY, sender bigint, body text, sent_at timestamptz);
INSERT INTO app.message
SELECT n, n % {people}, 'Hello ' || n || ', how are you? I saw the video about tea yesterday; 100% great & fun.',
    timestamptz '2020-01-01' + n * interval '1 s'
FROM generate_series(1, 3 * {people}) AS n;
CREATE TABLE app.event (id bigint PRIMARY KEY, person bigint, video bigint, at timestamptz, ms integer);
INSERT INTO app.event
SELECT n, n % {people}, n % 1000, timestamptz '2020-01-01' + n * interval '1.7 s', n % 180000
FROM generate_series(1, 3 * {people}) AS n;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is searched: the files of a server, noise and programs among them, and whose they are."""

    folder: Path
    layout: Placing
    size: int


def strings(count: int) -> Iterator[tuple[bytes, TokenClass]]:
    """E-mails, phone numbers, names and addresses of nobody, a quarter of each."""
    letters = str.maketrans("0123456789", "ghijklmnop")
    for number in range(count):
        digest = hashlib.blake2b(b"%d" % number, digest_size=16).hexdigest()
        words = digest.translate(letters)
        yield (
            (f"nobody.{digest}@mail{number % 97}.example".encode(), TokenClass.EMAIL),
            (f"+1{3_000_000_000 + number}".encode(), TokenClass.PHONE),
            (f"{words[:7]} {words[8:17]}".title().encode(), TokenClass.NAME),
            (f"{number} {words[:8].title()} Street".encode(), TokenClass.ADDRESS),
        )[number % 4]


def engine(place: Place, count: int) -> tuple[int, int]:
    """The engine's sweep; bytes read, and hits."""
    tally = Tally(Tokens(Kept.of(strings(count))).matcher())
    Scan(LocalFiles(place.folder), place.layout, tally).all()
    copies = tally.result()
    return sum(copy.bytes for copy in copies), sum(copy.hits for copy in copies)


def measured_engine(place: Place, count: int, hits: dict[int, int]) -> Sample:
    """Run the engine in a fresh process: a move sweeps once."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_work, args=(place, count, theirs))
    process.start()
    theirs.close()
    if not ours.poll(SECONDS_MAX):
        raise RuntimeError(f"the sweep of {count} strings took more than {SECONDS_MAX} s")
    seconds, cpu_s, memory, hits[count] = ours.recv()
    process.join()
    return Sample(seconds=seconds, client_cpu_s=cpu_s, peak_rss_bytes=memory, rows=place.size)


def ripgrep(place: Place, listed: Path) -> Sample:
    """ripgrep with its own choice of threads, every file as bytes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = ["rg", "-F", "-a", "-c", "--no-ignore", "--hidden", "-f", str(listed), str(place.folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:  # 1: found nothing
        memory = 0
        while running.poll() is None:
            memory = max(memory, peak_rss_bytes(running.pid))
            time.sleep(0.01)
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if running.returncode not in {0, 1}:
        raise RuntimeError(f"ripgrep ended with {running.returncode}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sample(seconds=seconds, client_cpu_s=cpu_s, peak_rss_bytes=memory, rows=place.size)


def reading(place: Place) -> Sample:
    """Every file read once, one behind the other."""
    start, cpu = time.monotonic(), time.process_time()
    for path in place.folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(READ_BYTES):
                    pass
    return Sample(
        seconds=time.monotonic() - start, client_cpu_s=time.process_time() - cpu, peak_rss_bytes=0, rows=place.size
    )


def compare(place: Place, count: int, *, rounds: int, hits: dict[int, int], rival: bool) -> Part:
    """The engine against ripgrep and the disk, for `count` strings."""
    contenders: dict[str, Callable[[], Sample]] = {ENGINE: partial(measured_engine, place, count, hits)}
    listed = place.folder.parent / f"strings-{count}"
    if rival:
        with listed.open("wb") as file:
            file.writelines(text + b"\n" for text, _ in strings(count))
        contenders |= {RIPGREP: partial(ripgrep, place, listed), READING: partial(reading, place)}
    done = interleave(contenders, rounds=rounds, before=lambda: None, tell=tell)
    title = f"{count:,} strings"
    if not rival:
        return Part(title=title, rounds=done, figures=())
    figures = (
        Figure(name=f"{ENGINE} / {RIPGREP}", ratio=speed(done, ENGINE, against=RIPGREP), target=AIM),
        Figure(name=f"{ENGINE} / {READING}", ratio=speed(done, ENGINE, against=READING)),
    )
    return Part(title=title, rounds=done, figures=figures)


def main() -> None:
    """Make a server, fill it, measure, write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.sweep", description=main.__doc__)
    parser.add_argument("--people", type=int, default=60_000)
    parser.add_argument("--strings", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--alone", type=int, nargs="*", default=[10_000_000], help="without ripgrep, once")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the results")
    given = parser.parse_args()
    hits: dict[int, int] = {}
    with servers("source", major=18) as (server,):
        dsn = server.dsn("app")
        for statement in (FILL.format(people=given.people), "VACUUM ANALYZE", "CHECKPOINT"):
            execute(dsn, statement)
        place = _place(server.data_directory, dsn)
        measured_engine(place, 10, hits)  # what is compiled at its first call is kept beside the source
        parts: list[Part] = []
        written: tuple[Path, ...] = ()
        for count in (*given.strings, *given.alone):
            rival = count in given.strings
            parts.append(compare(place, count, rounds=given.rounds if rival else 1, hits=hits, rival=rival))
            alarms = {f"false alarms of {count:,} strings": found for count, found in hits.items()}
            results = Results(
                machine=facts(dsn), sizes={"bytes": place.size, **alarms}, once_s={}, parts=tuple(parts), memory={}
            )  # fmt: skip
            written = write(results, given.results, "sweep-postgresql-18")
    for path in written:
        print(path)


def _place(data: Path, dsn: str) -> Place:
    names = [TableName(schema="app", name=name) for name in ("person", "message", "event")]
    with psycopg.connect(dsn, autocommit=True) as connection:
        layout = read_layout(connection, datasets=names)
    folder = data.parent / "searched"
    shutil.copytree(data, folder)
    (folder / "noise").write_bytes(random.Random(1).randbytes(NOISE_BYTES))  # noqa: S311 - the same each time
    for program in ("psql", "pg_dump", "bash", "python3"):
        if path := shutil.which(program):
            shutil.copy(path, folder / f"program-{program}")
    return Place(folder=folder, layout=layout, size=sum(path.stat().st_size for path in folder.rglob("*")))


def _work(place: Place, count: int, answers: Connection) -> None:
    start, cpu = time.monotonic(), time.process_time()
    _, hits = engine(place, count)
    answers.send((time.monotonic() - start, time.process_time() - cpu, peak_rss_bytes("self"), hits))


if __name__ == "__main__":
    main()
