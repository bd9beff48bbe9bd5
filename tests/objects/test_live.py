"""Objects of people who go home in cohorts, in folders: written between, brought back, killed, lost, and erased."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from domicile.errors import Waiting
from domicile.live import Chosen
from domicile.run import Run, Stage
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import run
from tests.attack.programme import PERSON, make
from tests.objects.conftest import DATASETS, RULES, SCHEMA, Folders, keys
from tests.servers import Databases

CUTOVER: Final = "cutover: {pause: never, grow: [1.0], wait_s_max: 20}\n"
STAY: Final = {f"u/{number}/letter.txt" for number in (1, 3, 5)} | {f"videos/of-{number}.mp4" for number in (1, 3, 5)}
REST: Final = {"thumbs/2.jpg", "logo.png"}
Made = Callable[[], Folders]


@pytest.fixture
def made(pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Folders:
    """A programme that moves people while they write; 2, 4 and 6 go home."""
    source, home = database(pg18), database(pg18)
    run(source, SCHEMA)
    stores = (
        f"  media:\n    kind: files\n    location: here\n    path: {tmp_path / 'media'}\n    objects:{RULES}"
        f"  media-ca: {{kind: files, location: ca, path: {tmp_path / 'media-ca'}, home_of: media}}\n"
    )
    rules = stores + PERSON + DATASETS + CUTOVER
    programme = make(tmp_path / "programme", rules, source=source, homes={"CA": home})
    folders = Folders(programme=programme, source=source, media=tmp_path / "media", home=tmp_path / "media-ca")
    folders.media.mkdir()
    folders.home.mkdir()
    for number in range(1, 7):
        folders.put(f"videos/of-{number}.mp4", b"film of %d" % number)
        folders.put(f"u/{number}/letter.txt", b"a letter of person-%d@example.org" % number)
    folders.put("thumbs/2.jpg", b"everybody sees it")
    folders.put("logo.png", b"nobody's")
    return folders


@contextmanager
def _begun(made: Folders) -> Iterator[Run]:
    """Everything copied; nobody is at home."""
    with made.programme.opened() as opened:
        opened.plan()
        opened.apply(until=Stage.TRANSFER)
        yield opened


def _take(opened: Run, *people: str) -> int:
    live, scope = opened.moving()
    return live.cut_over(scope, Chosen(keys=people)).number


def _at_home(made: Folders, key: str, data: bytes) -> None:
    path = made.home / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _finish(made: Folders) -> None:
    with made.programme.opened() as opened, pytest.raises(Waiting, match="erasing needs 2 more"):
        opened.apply(close=True)
    made.programme.approve()
    made.programme.apply(yes=True)


def test_p1_p3_objects_go_home_in_cohorts_and_what_was_written_between_is_there(made: Folders) -> None:
    with _begun(made) as opened:
        assert {"u/2/letter.txt", "u/4/letter.txt", "videos/of-6.mp4", "thumbs/2.jpg"} <= keys(made.home)
        assert not {key for key in keys(made.home) if key in STAY}
        made.put("u/2/letter.txt", b"written anew")
        made.put("u/2/new.txt", b"new")
        made.put("videos/second.mp4", b"second film of 2")
        run(
            made.source,
            "INSERT INTO video (person_id, address) VALUES (2, 'https://cdn.example.org/videos/second.mp4')",
        )
        (made.media / "u/4/letter.txt").unlink()
        assert 1 == _take(opened, "2", "4")
        assert b"written anew" == (made.home / "u/2/letter.txt").read_bytes()
        assert {"u/2/new.txt", "videos/second.mp4"} <= keys(made.home)
        assert "u/4/letter.txt" not in keys(made.home)
        _at_home(made, "u/2/at-home.txt", b"home's own")
        made.put("u/6/late.txt", b"came late")
        assert 2 == _take(opened, "6")
        assert b"came late" == (made.home / "u/6/late.txt").read_bytes()
    _finish(made)
    assert STAY | REST == keys(made.media)
    assert b"home's own" == (made.home / "u/2/at-home.txt").read_bytes()
    told = made.told()
    assert "erased-verified" == told["objects"] == told["incomplete-uploads"]
    assert {"ca": (8, 8, 0)} == made.counts() or made.counts()
    audited = made.programme.audit()
    assert 0 == audited.returncode, audited.stdout + audited.stderr
