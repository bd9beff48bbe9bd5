"""Objects of people who go home in cohorts, in folders: written between, brought back, killed, lost, and erased."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from domicile.errors import NotEqual, Refused, Unreachable, Waiting
from domicile.objects import moving
from domicile.objects.carried import Carried
from domicile.run import Run, Stage
from domicile.run.closing import Closing
from domicile.run.live import Chosen
from domicile.run.moving import Moving
from domicile.stores.postgres.live.people import People
from domicile.stores.postgres.server import EmbeddedServer
from domicile_audit.papers.paper import check
from tests.attack.conftest import run
from tests.attack.programme import PERSON, make
from tests.audit.moved_objects import Case
from tests.objects.conftest import DATASETS, RULES, SCHEMA, Folders, keys
from tests.servers import Databases

CUTOVER: Final = "cutover: {pause: never, grow: [1.0], wait_s_max: 20}\n"
STAY: Final = {f"u/{number}/letter.txt" for number in (1, 3, 5)} | {f"videos/of-{number}.mp4" for number in (1, 3, 5)}
REST: Final = {"thumbs/2.jpg", "logo.png"}


class Killed(BaseException):
    """Stands for the end of the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived(Folders):
    """The same with homes where people live."""

    homes: dict[str, str]

    def at_home(self, key: str, data: bytes) -> None:
        path = self.home / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def made(pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Lived:
    """A programme that moves people while they write; 2, 4 and 6 go home."""
    source, home = database(pg18), database(pg18)
    run(source, SCHEMA)
    stores = (
        f"  media:\n    kind: files\n    location: here\n    path: {tmp_path / 'media'}\n    objects:{RULES}"
        f"  media-ca: {{kind: files, location: ca, path: {tmp_path / 'media-ca'}, home_of: media}}\n"
    )
    rules = stores + PERSON + DATASETS + CUTOVER
    programme = make(tmp_path / "programme", rules, source=source, homes={"CA": home})
    folders = Lived(
        programme=programme, source=source, media=tmp_path / "media", home=tmp_path / "media-ca", homes={"ca": home}
    )
    folders.media.mkdir()
    folders.home.mkdir()
    for number in range(1, 7):
        folders.put(f"videos/of-{number}.mp4", b"film of %d" % number)
        folders.put(f"u/{number}/letter.txt", b"a letter of person-%d@example.org" % number)
    folders.put("thumbs/2.jpg", b"everybody sees it")
    folders.put("logo.png", b"nobody's")
    return folders


@contextmanager
def _begun(made: Lived) -> Iterator[Run]:
    """Everything copied; nobody is at home."""
    with made.programme.opened() as opened:
        opened.plan()
        opened.apply(until=Stage.TRANSFER)
        yield opened


def _take(opened: Run, *people: str) -> int:
    live, scope = opened.moving()
    return live.cut_over(scope, Chosen(keys=people)).number


def _finish(made: Lived) -> None:
    with made.programme.opened() as opened, pytest.raises(Waiting, match="erasing needs 2 more"):
        opened.apply(close=True)
    made.programme.approve()
    made.programme.apply(yes=True)


def test_p1_p3_objects_go_home_in_cohorts_and_back_and_what_was_written_between_is_there(
    made: Lived, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with _begun(made) as opened:
        assert {"u/2/letter.txt", "u/4/letter.txt", "videos/of-6.mp4", "thumbs/2.jpg"} <= keys(made.home)
        assert not keys(made.home) & STAY
        made.put("u/2/letter.txt", b"written anew")
        made.put("u/2/new.txt", b"new")
        made.put("videos/two.mp4", b"second film of 2")
        run(made.source, "INSERT INTO video (person_id, address) VALUES (2, 'https://cdn.example.org/videos/two.mp4')")
        (made.media / "u/4/letter.txt").unlink()
        with _written_under_the_fence(made, monkeypatch):
            assert 1 == _take(opened, "2", "4")
        assert b"under the fence" == (made.home / "u/4/just-now.txt").read_bytes()
        assert b"written anew" == (made.home / "u/2/letter.txt").read_bytes()
        assert {"u/2/new.txt", "videos/two.mp4"} <= keys(made.home)
        assert "u/4/letter.txt" not in keys(made.home)
        _live_at_home_and_come_back(made, opened)
        run(made.source, "UPDATE person SET market = 'SG' WHERE id = 6")
        made.put("u/4/late.txt", b"came late")
        assert 2 == _take(opened, "2", "4")
        assert b"came late" == (made.home / "u/4/late.txt").read_bytes()
        run(made.homes["ca"], "DELETE FROM video WHERE person_id = 4")  # its object stays: nothing names it any more
        made.at_home("u/2/then.txt", b"home's own")
    _finish(made)
    _are_in_the_evidence(made, capsys)
    of_6 = {"u/6/letter.txt", "videos/of-6.mp4"}
    assert STAY | REST | of_6 == keys(made.media)
    assert not of_6 & keys(made.home)
    assert b"home's own" == (made.home / "u/2/then.txt").read_bytes()
    assert {"ca": (8, 8, 0)} == made.counts()
    assert "erased-verified" == made.told()["objects"] == made.told()["incomplete-uploads"]
    audited = made.programme.audit()
    assert 0 == audited.returncode, audited.stdout + audited.stderr


def _are_in_the_evidence(made: Lived, capsys: pytest.CaptureFixture[str]) -> None:
    """What no row names any more goes home, and is in nobody's receipt; all of it can be looked at."""
    for key, count in (("2", 5), ("4", 2)):
        with made.programme.opened() as opened:
            found = check(opened.receipt(key))
        assert (True, "") == (found.accepted, found.reason)
        assert {"moved": count, "deleted": count, "blanked": 0} == found.paper.person["rows"]["media"]
    places = {"media": str(made.media), "media@ca": str(made.home)}
    case = Case(programme=made.programme, homes=made.homes["ca"], places=places)
    case.hand_over()
    seen = case.seen(capsys, "--lived-in")
    assert (8, {("same", "gone")}) == (len(seen), set(seen.values()))


@contextmanager
def _written_under_the_fence(made: Lived, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A writer who asked the directory before the fence is waited for, and writes an object meanwhile."""
    original = People.await_writers

    def await_writers(people: People, deadline: float) -> int:
        made.put("u/4/just-now.txt", b"under the fence")
        return original(people, deadline)

    with monkeypatch.context() as patched:
        patched.setattr(People, "await_writers", await_writers)
        yield


def _live_at_home_and_come_back(made: Lived, opened: Run) -> None:
    """What people write at home is at the source after the way back; what they remove is told."""
    made.at_home("u/2/at-home.txt", b"new at home")
    made.at_home("videos/home.mp4", b"third film of 2")
    run(made.homes["ca"], "INSERT INTO video VALUES (900, 2, 'https://cdn.example.org/videos/home.mp4')")
    made.at_home("u/2/letter.txt", b"written at home")
    (made.home / "u/2/new.txt").unlink()
    live, scope = opened.moving()
    assert 2 == live.roll_back(scope, 1).people
    assert b"written at home" == (made.media / "u/2/letter.txt").read_bytes()
    assert {"u/2/at-home.txt", "videos/home.mp4", "u/2/new.txt"} <= keys(made.media)
    assert 'removed at home\t"u/2/new.txt"\n' == _told(made, "removed-media.txt")
    (made.media / "u/2/new.txt").unlink()


def test_p5_killed_under_the_fence_and_in_the_close_the_next_run_goes_on(
    made: Lived, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _begun(made) as opened:
        _killed(monkeypatch, Carried, "settle", lambda: _take(opened, "2"))
    with made.programme.opened() as opened:
        _killed(monkeypatch, People, "flip_home", lambda: opened.apply(until=Stage.CUTOVER))
    made.put("u/2/letter.txt", b"written while the cohort was let go")
    with made.programme.opened() as opened:
        opened.apply(until=Stage.CUTOVER)
        assert b"written while the cohort was let go" == (made.home / "u/2/letter.txt").read_bytes()
        before = keys(made.media)
        for name in ("compare_ends", "pairs_of"):
            _killed(monkeypatch, moving, name, lambda: opened.apply(close=True))
        assert before == keys(made.media)
    _finish(made)
    assert STAY | REST == keys(made.media)


def test_p1_p2_what_is_missing_or_other_at_home_erases_nothing_and_the_way_back_is_open(made: Lived) -> None:
    with _begun(made) as opened:
        opened.apply(until=Stage.CUTOVER)
        film = (made.home / "videos/of-2.mp4").read_bytes()
        (made.home / "videos/of-2.mp4").unlink()
        made.put("u/4/letter.txt", b"written past the fence")
        made.put("u/6/late.txt", b"new, past the fence")
        before = keys(made.media)
        with pytest.raises(NotEqual, match="media: 2 objects of people who are at home are not there") as refused:
            opened.apply(close=True)
        assert "of-2" not in str(refused.value)
        told = _told(made, "unlike-media.txt")
        assert {'"videos/of-2.mp4"', '"u/4/letter.txt"'} == {line.split("\t")[1] for line in told.splitlines()}
        assert before == keys(made.media)
        assert not opened.source.frozen()
        assert b"new, past the fence" == (made.home / "u/6/late.txt").read_bytes()
        with pytest.raises(NotEqual, match="1 objects of cohort 1 were written at both ends"):
            _write_at_both_ends_and_roll_back(made, opened)
        made.at_home("u/4/letter.txt", b"written past the fence")
        made.at_home("videos/of-2.mp4", film)
        with pytest.raises(Waiting, match="erasing needs 2 more"):
            opened.apply(close=True)
        live, scope = opened.moving()
        live.roll_back(scope, 1)  # closed, and opened again: nothing was cleared
        assert not (made.programme.workspace.folder / "objects.db").exists()
        assert before == keys(made.media)


def _write_at_both_ends_and_roll_back(made: Lived, opened: Run) -> None:
    made.at_home("u/4/letter.txt", b"written at home")
    live, scope = opened.moving()
    live.roll_back(scope, 1)


def test_p6_who_would_wait_too_long_for_their_objects_is_not_fenced(made: Lived) -> None:
    text = (made.programme.folder / "domicile.yaml").read_text()
    (made.programme.folder / "domicile.yaml").write_text(text.replace("wait_s_max: 20", "wait_s_max: 0.000001"))
    with _begun(made) as opened:
        with pytest.raises(Refused, match=r"cohort 1: a look at its 6 objects takes .* smaller cohorts"):
            opened.apply(until=Stage.CUTOVER)
        live, scope = opened.moving()
        people, objects = live.find(scope).people, live.moving.objects
        assert (3, None) == (people.left(), people.fenced_cohort())
        assert objects is not None
        people.choose(1, keys=(), size=3)
        with pytest.raises(Unreachable, match="the time was over"):
            objects.look(scope, 1, opened.host.monotonic_s())
        assert not objects.carried.settled_by("media", 1)
        assert 0 == objects.look(scope, 1, opened.host.monotonic_s() + 60)
        assert 6 == len(objects.carried.settled_by("media", 1))


def _killed(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, work: Callable[[], object]) -> None:
    """Do the work until that call, and end there as a process ends."""

    def end(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, end)
        patched.setattr(Moving, "_let_go", end)
        patched.setattr(Closing, "reopen", _at_first_only(Closing.reopen))
        with pytest.raises(Killed):
            work()


def _at_first_only(original: Callable[..., None]) -> Callable[..., None]:
    """As the close begins, a freeze is taken back; as it is cut off, the process is gone."""
    called: list[bool] = []

    def reopen(*given: object) -> None:
        if called:
            raise Killed
        called.append(True)
        original(*given)

    return reopen


def _told(made: Lived, name: str) -> str:
    return (made.programme.workspace.folder / name).read_text()
