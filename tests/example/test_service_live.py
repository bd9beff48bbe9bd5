"""The service while Domicile moves its people in cohorts, and they use it: nobody loses anything, others never wait."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest

from domicile import config
from domicile.approving import approve
from domicile.cli import demo
from domicile.cutover.cohorts import Cohort, Way
from domicile.errors import Waiting
from domicile.host import Host
from domicile.record.workspace import Workspace
from domicile.run import Run, Stage
from domicile.run.live import Chosen
from shortvideo.media.clips import make
from shortvideo.oracle.__main__ import check
from shortvideo.oracle.expect import expected
from shortvideo.oracle.ledger import read
from shortvideo.stack import CLIP_CACHE, Stack
from shortvideo.traffic.beside import Beside
from tests.example.contract.visitor import eventually
from tests.example.programme import CANARIES, LOCATIONS, living
from tests.example.screen import Screen
from tests.example.test_service_move import PRIVATE_PAGES, Somebody, somebody_of
from tests.servers import SCRATCH

SEED: Final = 1
USERS: Final = 200
PEOPLE: Final = 50
RATE: Final = 10.0
MOVERS: Final = ("US", "CA", "AU", "NZ")
CUTOVER: Final = "\ncutover: {pause: never, grow: [0.1, 0.3, 0.6], wait_s_max: 30}\n"
BESIDES_S: Final = 2.0
ELSEWHERE: Final = """
    SELECT u.username::text, max(v.id) FROM app.users u JOIN app.videos v ON v.author_id = u.id
    WHERE u.country = 'JP' AND u.state = 'active' GROUP BY 1 ORDER BY 1 LIMIT 1
"""
ACCOUNT: Final = {"email": "newcomer@guest.example", "password": "as-long-as-needed"}
SCOPE: Final = "SELECT avg((country = ANY(%s))::int)::float FROM app.users WHERE country IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What came of it."""

    stack: Stack
    felt: dict[str, Any]
    cohorts: tuple[Cohort, ...]
    ledger: Path
    before: dict[str, Any]
    mover: Somebody
    newcomer: Somebody
    screen: Screen

    def phase(self, name: str) -> dict[str, Any]:
        return next(phase for phase in self.felt["phases"] if phase["name"] == name)


@pytest.fixture(scope="module")
def moved() -> Iterator[Moved]:
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-live-", dir=SCRATCH))
    folder.chmod(0o711)
    try:
        with Stack.start(
            folder, locations=tuple(LOCATIONS), users=USERS, seed=SEED, clips=2, canaries=CANARIES
        ) as stack:
            _more_movers(stack.dsns["sg"])
            with (
                somebody_of(stack, "US") as mover,
                httpx.Client(base_url=stack.url, headers={"accept": "application/json"}, timeout=60) as client,
            ):
                yield _moved(stack, folder / "ledger.jsonl", mover, Somebody("newcomer", client))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _more_movers(dsn: str) -> None:
    """Two in five are to move: the seed's share is a third."""
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE app.users SET country = 'CA' WHERE country = 'FR'")
        share = connection.execute(SCOPE, [list(MOVERS)]).fetchone()
    assert share is not None
    assert share[0] >= 0.4


def _moved(stack: Stack, ledger: Path, mover: Somebody, newcomer: Somebody) -> Moved:
    """Move everybody while they use the service."""
    screen = _screen(stack, mover)
    host, before = Host(), {path: mover.sees(path) for path in PRIVATE_PAGES}
    folder = stack.state / "programme"
    folder.mkdir()
    demo._programme(folder, CANARIES, host, cutover=CUTOVER)
    environment = {variable: stack.dsns[location] for location, variable in LOCATIONS.items()}
    file = folder / "domicile.yaml"
    with (
        Beside.start(
            stack.url, dsn=stack.dsns["sg"], ledger=ledger, movers=MOVERS, rate=RATE, people=PEOPLE, seed=SEED
        ) as traffic,
        Run.opened(Workspace(file), *config.read(file), host=Host(environment=environment)) as run,
    ):
        traffic.now("before")
        host.pause(BESIDES_S)
        run.plan()
        traffic.now("copy")
        run.apply(until=Stage.TRANSFER)
        traffic.now("cut-over")
        live, scope = run.moving()
        with screen.in_use():
            live.cut_over(scope, Chosen(keys=(mover.client.cookies["sv"].partition(".")[0],)))
        _come(newcomer)
        run.apply(until=Stage.CUTOVER)
        traffic.now("close")
        with pytest.raises(Waiting, match="approvals"):
            run.apply(close=True)
        for name in ("operator", "monitor"):
            approve(run, folder / "keys" / f"{name}.key", name)
        traffic.now("erase")
        run.apply(close=True, yes=True)
        cohorts = live.moving.cohorts()
        traffic.now("after")
        host.pause(BESIDES_S)
    return Moved(
        stack=stack, felt=traffic.felt, cohorts=cohorts, ledger=ledger, before=before, mover=mover, newcomer=newcomer,
        screen=screen,
    )  # fmt: skip


def _screen(stack: Stack, mover: Somebody) -> Screen:
    """Give the mover a draft, a talk with somebody elsewhere, a like and something watched, and a browser."""
    with psycopg.connect(stack.dsns["sg"]) as connection:
        found = connection.execute(ELSEWHERE).fetchone()
    assert found is not None
    partner, video = found
    clip = make(CLIP_CACHE, 1, 1)[0].read_bytes()
    draft = mover.client.post(
        "/videos", data={"caption": "not yet", "publish": "false"}, files={"file": ("clip.mp4", clip, "video/mp4")}
    )
    answers = (
        draft,
        mover.says(f"/messages/{partner}", body="hello over there"),
        mover.says(f"/videos/{video}/like"),
        mover.says(f"/videos/{video}/watch", ms="1500"),
    )
    assert [201, 201, 200, 204] == [answer.status_code for answer in answers]
    return Screen(url=stack.url, cookie=mover.client.cookies["sv"], partner=partner, video=video)


def _come(newcomer: Somebody) -> None:
    """Sign up as somebody of the US, where somebody lives already and others are on their way to."""
    newcomer.client.cookies.set("sv_country", "US")
    answer = newcomer.says(
        "/signup", **ACCOUNT, username="newcomer", display_name="New", country="US", birth_date="1990-04-01"
    )
    assert (201, "sg") == (answer.status_code, answer.json()["location"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_p1_nothing_that_was_promised_is_lost_doubled_leaked_or_misplaced(moved: Moved) -> None:
    book = expected(read(moved.ledger))
    assert book.size() > 50  # the quicker the move, the fewer there are
    assert [] == check(book, moved.stack.url, dsns=moved.stack.dsns, patience_s=30)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_p6_no_request_failed_and_who_stays_was_never_refused(moved: Moved) -> None:
    for phase in moved.felt["phases"]:
        for who in ("movers", "others"):
            failed = {name: phase[who][name] for name in ("refused", "failed", "no-answer")}
            assert {"refused": 0, "failed": 0, "no-answer": 0} == failed, (phase["name"], who, moved.felt["notes"])
    assert 0 == moved.felt["unsent"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_p6_who_moves_is_held_only_while_their_cohort_is_fenced(moved: Moved) -> None:
    assert {"cut-over"} >= {phase["name"] for phase in moved.felt["phases"] if phase["held"]["count"]}
    longest = max(cohort.wait_ms for cohort in moved.cohorts)
    assert longest + 1000 >= moved.phase("cut-over")["held"]["max_ms"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_people_are_at_home_and_find_what_was_theirs(moved: Moved) -> None:
    gone = [cohort for cohort in moved.cohorts if cohort.way is Way.HOME]
    assert len(gone) >= 3
    assert {"us", "ca", "au"} == set(living(moved.stack))
    mover = moved.mover
    eventually(lambda: mover.client.get("/settings").headers["x-location"] == "us" or None)
    assert "us" == mover.sees("/settings/data")["location"]
    for path in ("/drafts", "/payouts"):
        assert moved.before[path] == mover.sees(path)
    seen = {one["id"] for one in moved.before["/notifications"]["notifications"]}
    assert seen <= {one["id"] for one in mover.sees("/notifications")["notifications"]}
    assert 200 == mover.says("/settings", bio="written at home").status_code


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_p1_who_comes_in_the_middle_of_it_goes_home_with_the_others(moved: Moved) -> None:
    """Their home is lived in, and rows are still brought there: what is theirs must not be taken for a stranger's."""
    newcomer = moved.newcomer
    assert ("us", ACCOUNT["email"]) == (
        newcomer.sees("/settings/data")["location"],
        newcomer.sees("/settings")["email"],
    )
    assert 200 == newcomer.says("/login", **ACCOUNT).status_code


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_p6_in_a_browser_nothing_is_amiss_before_meanwhile_and_after(moved: Moved) -> None:
    """Who writes to somebody elsewhere while they are taken home sees each line once, and all else as it was."""
    screen = moved.screen
    assert [] == screen.faults
    before, after = screen.before, screen.after
    assert before is not None
    assert after is not None
    assert ("Singapore", "United States") == (before.location, after.location)
    assert "not yet" in before.drafts
    assert before.drafts == after.drafts
    assert "hello over there" in before.lines
    assert len(screen.said) > 1
    assert (*before.lines, *screen.said) == after.lines
    assert before.liked
    assert after.liked
    assert before.clips
    assert after.clips
    (earlier, there), (later, here) = before.kept["videos watched"], after.kept["videos watched"]
    assert ("Singapore", "United States") == (there, here)
    assert 0 < int(earlier) <= int(later)  # looking at the feed is watching, too
