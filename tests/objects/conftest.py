"""A source with people and their videos, folders or buckets of objects beside it, and the programme between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from domicile.evidence.predicates import CertificatePredicate, FindingPredicate, JudgedCopy, Predicate
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import run
from tests.attack.programme import PERSON, Programme, make
from tests.servers import Databases
from tests.stores.objects.weed import Weed, running

PEOPLE: Final = 6
SCHEMA: Final = f"""
CREATE TABLE person (id serial PRIMARY KEY, market text NOT NULL, email text);
INSERT INTO person SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, 'person-' || i || '@example.org'
    FROM generate_series(1, {PEOPLE}) AS i;
CREATE TABLE video (id serial PRIMARY KEY, person_id int NOT NULL REFERENCES person, address text);
INSERT INTO video (person_id, address)
    SELECT i, 'https://cdn.example.org/videos/of-' || i || '.mp4' FROM generate_series(1, {PEOPLE}) AS i;
"""
MOVER: Final = b"person-2@example.org"
"""Of the market that goes home, as are all even ones."""
RULES: Final = """
      - {of: app.public.video, column: address, cut: "https://cdn.example.org/", spelled: url, disposition: move}
      - {pattern: "u/{subject}/*", disposition: move}
      - {pattern: "thumbs/*", disposition: public}
      - {disposition: none, reason: "the pages' own pictures"}
"""
DATASETS: Final = """
datasets:
  app.public.person: {rows: move}
  app.public.video: {rows: move, path: person_id}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A programme with objects."""

    programme: Programme
    source: str

    def statements(self) -> list[Predicate]:
        with self.programme.opened() as opened:
            return [recorded.predicate for recorded in opened.ledger.statements()]

    def told(self) -> dict[str, str]:
        """The verdict of each copy of the object store, without its name."""
        return {copy.id.removeprefix("media/"): copy.verdict.value for copy in self._copies()}

    def why(self, copy: str) -> str:
        return next(one.why for one in self._copies() if one.id == f"media/{copy}")

    def _copies(self) -> list[JudgedCopy]:
        last = self.statements()[-1]
        assert isinstance(last, CertificatePredicate)
        return [copy for copy in last.copies if copy.id.startswith("media/")]

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Versions moved, deleted and kept, by home."""
        last = self.statements()[-1]
        assert isinstance(last, CertificatePredicate)
        return {home: (one.moved, one.deleted, one.kept) for home, one in last.counts["media"].items()}

    def findings(self, kind: str) -> list[FindingPredicate]:
        return [one for one in self.statements() if isinstance(one, FindingPredicate) and one.kind == kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders(Stored):
    """The same with a folder on each side."""

    media: Path
    home: Path

    def put(self, key: str, data: bytes) -> Path:
        path = self.media / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


def keys(folder: Path) -> set[str]:
    """The files below a folder, by another way than ours."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def written(
    folder: Path, rules: str, *, source: str = "nowhere", home: str = "nowhere", datasets: str = DATASETS
) -> Programme:
    """A programme whose objects lie in two folders; without databases it is a file only."""
    stores = (
        f"  media:\n    kind: files\n    location: here\n    path: {folder / 'media'}\n    objects:{rules}"
        f"  media-ca: {{kind: files, location: ca, path: {folder / 'media-ca'}, home_of: media}}\n"
    )
    return make(folder / "programme", stores + PERSON + datasets, source=source, homes={"CA": home})


Made = Callable[..., Folders]


@pytest.fixture
def folders(pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Made:
    """Make a programme whose objects lie in folders, with a few of each kind in them."""

    def of(rules: str = RULES, *, fill: bool = True) -> Folders:
        source, home = database(pg18), database(pg18)
        run(source, SCHEMA)
        media, away = tmp_path / "media", tmp_path / "media-ca"
        media.mkdir()
        away.mkdir()
        programme = written(tmp_path, rules, source=source, home=home)
        made = Folders(programme=programme, source=source, media=media, home=away)
        if fill:
            for number in range(1, PEOPLE + 1):
                made.put(f"videos/of-{number}.mp4", b"film of %d" % number)
                made.put(f"u/{number}/letter.txt", b"a letter of person-%d@example.org" % number)
            made.put("thumbs/2.jpg", b"everybody sees it")
            made.put("logo.png", b"nobody's")
        return made

    return of


@pytest.fixture(scope="module")
def weed() -> Iterator[Weed]:
    """SeaweedFS on loopback, killed at the end."""
    with running() as server:
        yield server
