"""The traffic: a schedule that nothing slows down, honest percentiles, patience where the service asks for it."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from shortvideo.oracle.ledger import BadLedger, Entry, Kind, Ledger, read
from shortvideo.traffic import run as running
from shortvideo.traffic.acts import post
from shortvideo.traffic.figures import GROWTH, Board, Figures, Group, Histogram, Result, State, Took
from shortvideo.traffic.mix import SHARES
from shortvideo.traffic.pace import due_times
from shortvideo.traffic.people import PUBLIC_KEPT_MAX, Crowd, Person
from shortvideo.traffic.run import Nobody, Run
from shortvideo.traffic.wire import NoAnswer, NotSent, Request, Wire


def seeded(number: int) -> Random:
    return Random(number)  # noqa: S311 - chance that repeats


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PAGE = json.dumps({"videos": [], "next": None, "holdings": [], "id": 1, "draft_id": 1, "location": "sg"}).encode()
GOOD = (
    b"HTTP/1.1 200 OK\r\nx-location: sg\r\nset-cookie: sv=1.x; Path=/\r\ncontent-length: %d\r\n\r\n" % len(PAGE) + PAGE
)
LATER = b"HTTP/1.1 503 Moving\r\nx-location: sg\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def faulty(handler: Handler) -> AsyncIterator[str]:
    """A server with a fault of our own making; gives its address."""
    open_ones: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)
        await handler(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_ones:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def at_once() -> None:
    """No fault."""


def answering(*answers: bytes, before: Callable[[], Awaitable[None]] = at_once) -> Handler:
    """Give the answers in turn, the last one for ever, over all connections."""
    left = list(answers)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or b"0"))
                await before()
                writer.write(left.pop(0) if len(left) > 1 else left[0])
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass

    return handle


def crowd(size: int) -> Crowd:
    people = [Person(id=n, username=f"person_{n}", country="SG", cookie=f"{n}.x") for n in range(1, size + 1)]
    return Crowd(people=people, chance=seeded(7), run="test")


# ------------------------------------------------------------------------------------------- figures and pace


def test_percentiles_are_at_most_two_hundredths_above_the_true_ones() -> None:
    chance = seeded(3)
    times = [chance.lognormvariate(3, 1) for _ in range(5000)]
    histogram = Histogram()
    for ms in times:
        histogram.add(ms)
    cuts = statistics.quantiles(times, n=100)
    for percent in (50, 95, 99):
        assert cuts[percent - 1] / 1.001 <= histogram.percentile(percent) <= cuts[percent - 1] * GROWTH
    assert max(times) == histogram.max_ms == histogram.percentile(100)


def test_two_halves_together_are_the_whole() -> None:
    whole, halves = Histogram(), (Histogram(), Histogram())
    for n in range(1000):
        whole.add(n)
        halves[n % 2].add(n)
    halves[0].merge(halves[1])
    assert halves[0] == whole


def test_nothing_counted_is_zero() -> None:
    assert Histogram().percentile(99) == 0
    assert Figures().as_json()["requests"] == 0


def test_figures_are_kept_apart_by_location_and_state() -> None:
    board = Board()
    for group in (Group(location="sg", state=State.STAYS), Group(location="us", state=State.HOME)):
        board.add(group, "feed", Result.OK, due_ms=5, sent_ms=4)
    assert len(board.take_second()) == len(board.total) == 2
    assert board.second == {}
    assert board.all().since_due.count == 2


def test_the_schedule_keeps_its_rate_and_is_the_same_for_the_same_seed() -> None:
    moments = list(due_times(seeded(5), rate=200, seconds=20))
    assert moments == list(due_times(seeded(5), rate=200, seconds=20))
    assert 3700 < len(moments) < 4300
    assert moments == sorted(moments)
    assert moments[-1] < 20
    with pytest.raises(ValueError, match="requests a second"):
        next(due_times(seeded(5), rate=0, seconds=1))


def test_the_shares_make_ten_thousand() -> None:
    assert sum(share for _, share in SHARES) == 10_000


def test_the_crowd_remembers_so_many_videos_and_no_more() -> None:
    people = crowd(2)
    for n in range(PUBLIC_KEPT_MAX + 5):
        people.saw(n, "a", "")
    people.saw(PUBLIC_KEPT_MAX, "a", "")
    assert len(people.videos) == len(people.known) == PUBLIC_KEPT_MAX
    people.forget(PUBLIC_KEPT_MAX)
    assert len(people.videos) == len(people.known) == PUBLIC_KEPT_MAX - 1


# ------------------------------------------------------------------------------------------- the wire


def ask(answer: bytes, request: Request | None = None) -> tuple[int, bytes]:
    async def once() -> tuple[int, bytes]:
        async with faulty(answering(answer)) as url, Wire(url, answer_s_max=2) as wire:
            got = await wire.send(request or Request(method="GET", path="/"))
            return got.status, got.body

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nt: 1\r\n\r\n", b"abc"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_every_framing_is_read(answer: bytes, body: bytes) -> None:
    status, got = ask(answer)
    assert status in {200, 204}
    assert got == body


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",  # never ends: the time runs out
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_half_an_answer_is_none(answer: bytes) -> None:
    with pytest.raises(NoAnswer) as raised:
        ask(answer)
    assert not isinstance(raised.value, NotSent)


def test_where_nobody_listens_nothing_was_sent() -> None:
    async def once() -> None:
        async with faulty(answering(GOOD)) as url:
            pass
        await Wire(url).send(Request(method="GET", path="/"))

    with pytest.raises(NotSent):
        asyncio.run(once())


def test_one_connection_serves_many_requests() -> None:
    seen: list[int] = []

    async def many() -> None:
        handle = answering(GOOD)

        async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(1)
            await handle(reader, writer)

        async with faulty(counted) as url, Wire(url) as wire:
            for _ in range(5):
                await wire.send(Request(method="GET", path="/"))

    asyncio.run(many())
    assert len(seen) == 1


def test_a_form_says_where_it_comes_from() -> None:
    """The service refuses writes whose Origin is another's."""
    person = Person(id=1, username="a", country="US", cookie="1.x")
    raw = Wire("http://127.0.0.1:80")._bytes_of(post(person, "/x", body="a&b ü"))
    assert b"origin: http://127.0.0.1:80\r\n" in raw
    assert b"cookie: sv=1.x; sv_country=US\r\n" in raw
    assert raw.endswith(b"\r\n\r\nbody=a%26b+%C3%BC")


@pytest.mark.parametrize("url", ["https://127.0.0.1", "127.0.0.1:80", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="an address such as"):
        Wire(url)


# ------------------------------------------------------------------------------------------- the run


def run_against(handler: Handler, ledger: Path, *, rate: float, seconds: float, people: int = 5) -> Run:
    async def all_of_it() -> Run:
        async with faulty(handler) as url, Wire(url, answer_s_max=3) as wire:
            with Ledger(ledger) as book:
                run = Run(wire=wire, crowd=crowd(people), ledger=book)
                await run.greet()
                await run.go(rate=rate, seconds=seconds)
                return run

    return asyncio.run(all_of_it())


def test_a_service_that_stops_for_a_second_cannot_hide_it(tmp_path: Path) -> None:
    """Everybody who was due meanwhile has waited, though only the five requests under way were slow to answer."""
    begun = time.monotonic()

    async def stall() -> None:
        if 1 < (passed := time.monotonic() - begun) < 2:
            await asyncio.sleep(2 - passed)

    run = run_against(answering(GOOD, before=stall), tmp_path / "ledger", rate=100, seconds=3)
    figures = run.board.all()
    assert 200 < figures.since_due.count < 400
    assert figures.since_due.max_ms > 900
    assert figures.since_due.percentile(75) > 50  # a third of all were due in that second
    assert figures.since_sent.percentile(90) < 50  # as a closed loop would have it


def test_what_was_due_and_never_sent_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No percentile knows it: without the number a service that stands still would look well."""
    monkeypatch.setattr(running, "DRAIN_S_MAX", 0.5)
    begun = time.monotonic()

    async def slow() -> None:
        if time.monotonic() - begun > 1:
            await asyncio.sleep(2)

    run = run_against(answering(GOOD, before=slow), tmp_path / "ledger", rate=100, seconds=2)
    sent = run.board.all().since_due.count
    assert run.unsent > 50
    assert 150 < sent + run.unsent < 260


def test_who_is_asked_to_wait_waits_and_comes_again(tmp_path: Path) -> None:
    greeted = [GOOD] * 2
    begun = time.monotonic()
    run = run_against(answering(*greeted, *[LATER] * 2, GOOD), tmp_path / "ledger", rate=3, seconds=1, people=2)
    held = run.board.total[Group(location="sg", state=State.MOVING)]
    assert held.results == {Result.HELD: 2}
    assert run.pauses.count in {1, 2}  # one person twice, or two people
    assert run.pauses.max_ms >= 1000
    assert time.monotonic() - begun >= 1
    assert run.board.all().errors == 0
    assert {person.state for person in run.crowd.people} == {State.STAYS}


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", Result.FAILED),
        (b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n", Result.FAILED),  # does not say when to come again
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull", Result.FAILED),
        (b"HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n", Result.REFUSED),
        (b"HTTP/1.1 200 OK\r\nconten", Result.NO_ANSWER),
    ],
)
def test_what_is_no_answer_counts_as_an_error_and_leaves_writes_open(
    answer: bytes, result: Result, tmp_path: Path
) -> None:
    path = tmp_path / "ledger"
    run = run_against(answering(GOOD, GOOD, answer), path, rate=40, seconds=1, people=2)
    assert run.board.all().results[result] > 0
    assert run.board.all().errors == run.board.all().results[result]
    outcomes = {(entry.kind, entry.outcome.value) for entry in read(path) if entry.kind is Kind.MESSAGE}
    assert outcomes <= {(Kind.MESSAGE, "unknown")}


def test_nobody_let_in_is_no_traffic(tmp_path: Path) -> None:
    with pytest.raises(Nobody, match="valid session"):
        run_against(answering(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"), tmp_path / "ledger", rate=1, seconds=1)


# ------------------------------------------------------------------------------------------- the ledger


def test_the_ledger_gives_back_what_was_written_without_a_cut_off_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    entries = [Entry(kind=Kind.MESSAGE, person=n, at=1.5, what={"id": n, "body": "ü\u2028 \n"}) for n in range(3)]
    with Ledger(path) as ledger:
        for entry in entries[:2]:
            ledger.write(entry)
    with Ledger(path) as ledger:  # appended to
        ledger.write(entries[2])
    assert path.stat().st_mode & 0o077 == 0  # cookies are inside
    assert entries == list(read(path))
    path.write_bytes(path.read_bytes()[:-3])
    assert entries[:2] == list(read(path))


@pytest.mark.parametrize("line", ["{}", "null", "[1]", '{"kind": "nonsense"}', "\N{PILE OF POO}"])
def test_a_line_that_is_none_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(BadLedger, match="line 1"):
        list(read(path))


# -- beside a move ---------------------------------------------------------------------------------------------------


def test_what_was_felt_is_kept_apart_by_phase_and_by_who_moves() -> None:
    board = Board(movers=frozenset({"US"}))
    board.feel("before", "US", Result.OK, Took(due_ms=4, sent_ms=3))
    board.feel("cut-over", "US", Result.HELD, Took(due_ms=900, sent_ms=900, held_ms=800, writes=True))
    board.feel("cut-over", "JP", Result.FAILED, Took(due_ms=9, sent_ms=9, writes=True))
    before, during = board.phases["before"], board.phases["cut-over"]
    assert (1, 0, 0) == (before.movers.since_due.count, before.others.since_due.count, before.writes.since_due.count)
    assert (0, 1) == (during.movers.errors, during.others.errors)
    assert (2, 2) == (during.all().since_due.count, during.writes.since_due.count)
    assert (1, 800.0) == (during.held.count, during.held.max_ms)
