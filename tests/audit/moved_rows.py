"""Worlds of rows, moved by an engine in small slices, and what their auditor holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import pytest

from domicile.stores.postgres import staging
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import run
from tests.attack.programme import PERSON, make
from tests.audit.handed import Capsys, Handed
from tests.servers import databases_of

SLICE_ROWS: Final = 7
SCHEMA: Final = r"""
CREATE TYPE mood AS ENUM ('fine', 'poor');
CREATE EXTENSION ltree;
CREATE TABLE person (id bigint PRIMARY KEY, market text, handle text, email text, device text NOT NULL);
INSERT INTO person SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, 'h' || i, NULLIF('e' || i, 'e4'),
    CASE WHEN i = 6 THEN 'unknown' ELSE 'd' || i END FROM generate_series(1, 40) AS i;
CREATE TABLE note (person_id bigint REFERENCES person, name ltree, mood mood, at timestamptz, share float8, body text,
    shout text GENERATED ALWAYS AS (upper(body)) STORED, PRIMARY KEY (person_id, name));
INSERT INTO note SELECT p.id, ('n.' || i)::ltree, 'fine', '2020-08-01Z'::timestamptz + i * '1 day'::interval, i / 3.0,
    CASE WHEN i > 1 THEN E'line\nof \\ ' || p.id END FROM person AS p, generate_series(1, 2) AS i;
CREATE TABLE visit (person_id bigint REFERENCES person, page text, doc jsonb);
INSERT INTO visit SELECT p.id, 'page', '{"a": 1}' FROM person AS p, generate_series(1, 3);
CREATE TABLE meter (id int PRIMARY KEY, person_id bigint REFERENCES person, kind text) PARTITION BY RANGE (id);
CREATE TABLE meter_low PARTITION OF meter FOR VALUES FROM (0) TO (20);
CREATE TABLE meter_high PARTITION OF meter DEFAULT;
INSERT INTO meter SELECT i, i, 'k' FROM person AS p(i);
"""
RULES: Final = (
    PERSON
    + """
datasets:
  app.public.person:
    rows: split
    fields:
      id: public
      market: public
      handle: public
      email: private
      device: {class: private, outside: unknown}
  app.public.note: {rows: move, path: person_id}
  app.public.visit: {rows: move, path: person_id}
  app.public.meter: {rows: move, path: person_id}
"""
)
LIVE: Final = "cutover: {pause: never, grow: [1.0], wait_s_max: 20}\n"
PERSONS, NOTES, VISITS, METERS = 20, 40, 60, 20


@dataclass(slots=True, kw_only=True)
class Case(Handed):
    """A moved world of rows: its two databases."""

    DRAWN: ClassVar = "slices"
    source: str
    home: str

    def open_tables(self) -> None:
        """Switch off the guards at the source. Who owns its tables can do so, and then writes past them; tests do."""
        for table in ("person", "note", "visit", "meter"):
            run(self.source, f"ALTER TABLE {table} DISABLE TRIGGER USER")

    def look(
        self, capsys: Capsys, *more: str, homes: Mapping[str, str] | None = None, source: str | None = None,
        key: Path | None = None,
    ) -> int:  # fmt: skip
        """Run the spot check of this world; what it says is kept."""
        given = {"ca": self.home} if homes is None else homes
        words = ["--source", source or self.source, *more]
        words += [word for name, dsn in given.items() for word in ("--home", f"{name}={dsn}")]
        return self.ask(capsys, *words, key=key)

    def seen(self, capsys: Capsys, *more: str, code: int = 0) -> dict[str, tuple[str, str]]:
        """Each drawn slice, as it was seen at home and at the source."""
        assert code == self.look(capsys, "--json", *more), self.said
        return self.drawn()


@contextmanager
def world(server: EmbeddedServer, folder: Path, name: str, rules: str) -> Iterator[Case]:
    with databases_of(server, [f"{name}_source", f"{name}_home"]) as dsns:
        source, home = dsns[f"{name}_source"], dsns[f"{name}_home"]
        run(source, SCHEMA)
        yield Case(programme=make(folder, rules, source=source, homes={"CA": home}), source=source, home=home)


@contextmanager
def small_slices() -> Iterator[None]:
    """So that a small world has many of them: they are drawn where it is planned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "SLICE_ROWS_MAX", SLICE_ROWS)
        yield


def slices_of(seen: Mapping[str, object], table: str) -> list[str]:
    """The drawn slices of a table."""
    return [id_ for id_ in seen if id_.startswith(f"app.public.{table}/")]
