"""docs/formats-spot-check.md shows real bytes of golden files, and digests that engine, checker and hand agree on."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domicile.model import Digest
from domicile.objects.claims import key_digest
from domicile.objects.moving import object_digest, version_digest
from domicile.stores.objects import Traits
from domicile.stores.objects.copying import ObjectMeasure, traits_digest
from domicile.stores.postgres.copying import Meter
from domicile.stores.postgres.server import EmbeddedServer
from domicile_audit.case import Case
from domicile_audit.checklist import judge
from domicile_audit.log.shape import COUNT, FLAG, HEX, TEXT
from domicile_audit.spot import objects as audited
from domicile_audit.spot.draw import draw
from domicile_audit.spot.listed import Thing, read_listed
from domicile_audit.spot.opening import SHAPE as OPENING
from domicile_audit.spot.opening import read_opening
from domicile_audit.spot.places import PLAIN, Version
from domicile_audit.spot.places import Traits as Told
from domicile_audit.spot.rows import SETTINGS
from domicile_audit.spot.sample import LOOKED, Kept, compared, read_sample
from domicile_audit.spot.sample import SHAPE as SAMPLE
from tests.vectors import make, spot

PAGE = (Path(__file__).parents[2] / "docs" / "formats-spot-check.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
EXAMPLES = [(kind, *place.split(" ", 2), body) for kind, place, body in BLOCKS if kind != "shape"]
FOLDER = Path(make.__file__).parent


def golden(name: str) -> bytes:
    return (FOLDER / "spot" / name).read_bytes()


def good() -> Case:
    case = Case(data=(FOLDER / "good" / "all-erased.zip").read_bytes(), policy=None)
    assert judge(case).accepted
    return case


def real(name: str, place: str, part: str) -> str:
    """What stands in the golden file, or what it comes to."""
    if place == "draw":
        case = good()
        return "".join(f"{ticket} {id_}\n" for ticket, id_ in spot.tickets(case.root, list(compared(case))))
    if place == "objects":
        if part == "told":
            return spot.told().decode() + "\n"
        return "".join(f"{digest} {what}\n" for what, digest in spot.objects().items())
    data = golden(place)
    if part == "digest":
        return spot.hashed(b"domicile slice v1\0", data).hexdigest()
    if part == "bytes":
        return data.hex()
    if part == "whole":
        return data.decode().removesuffix("\n") if place.endswith(".json") else data.decode()
    line = data.decode().splitlines(keepends=True)[int(part.removeprefix("line-"))]
    return line.removesuffix("\n") if line.startswith("{") else line


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: " ".join(example[1:4]))
def test_p9_each_example_is_what_stands_in_the_golden_file(example: tuple[str, str, str, str, str]) -> None:
    kind, name, place, part, body = example
    joined = "".join(line.strip() for line in body.splitlines())
    assert real(name, place, part) == {"json": joined, "hex": joined.replace(" ", ""), "text": body}[kind]


def test_there_are_examples_of_everything() -> None:
    shown = {place for _, _, place, _, _ in EXAMPLES}
    assert {"audit.key", "rows.text", "rows.binary", "objects", "draw", "report.json"} == shown


# -------------------------------------------------------------------------------------------------------------- shapes
def spelled(shape: Any) -> str:
    """A shape of the checker, in the notation of the page."""
    if isinstance(shape, list):
        return "[LOOKED]" if shape[0] is LOOKED else f"[{spelled(shape[0])}]"
    if isinstance(shape, dict):
        return f"{{{', '.join(f'{key}: {spelled(inner)}' for key, inner in shape.items())}}}"
    return {TEXT: "TEXT", HEX: "HEX", COUNT: "COUNT", FLAG: "FLAG"}.get(shape) or _leaf(shape)


def _leaf(fits: Callable[[object], bool]) -> str:
    """What a leaf takes of the words that the page names."""
    words = [word for word in dict.fromkeys(re.findall(r'"([^"\n]+)"', "".join(shapes().values()))) if fits(word)]
    if fits("any text at all"):
        return "TEXT or null" if fits(None) else "TEXT"
    return " or ".join(f'"{word}"' for word in words)


def shapes() -> dict[str, str]:
    return {place: re.sub(r"\s+", " ", body).strip() for kind, place, body in BLOCKS if kind == "shape"}


def test_p9_the_shapes_are_those_of_the_checker() -> None:
    wanted = {"audit-key/v1": spelled(OPENING), "spot-check/v1": spelled(SAMPLE), "LOOKED": spelled(LOOKED)}
    assert wanted == shapes()


# ---------------------------------------------------------------------------------------------- the code, on this page
def test_p9_postgresql_gives_these_bytes_and_the_engine_this_digest(
    pg18: EmbeddedServer, database: Callable[[EmbeddedServer], str]
) -> None:
    with psycopg.connect(database(pg18), client_encoding="utf8", autocommit=True) as connection:
        connection.execute(spot.SCHEMA)
        connection.cursor().executemany("INSERT INTO note VALUES (%s, %s, %s)", spot.ROWS)
        for setting, value in SETTINGS.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (setting, value))
        for form in ("text", "binary"):
            query = f"COPY (SELECT id, person_id, body FROM public.note ORDER BY id) TO STDOUT (FORMAT {form})"
            with connection.cursor().copy(query.encode()) as copy:
                given = b"".join(copy)
            assert golden(f"rows.{form}") == given
            meter = Meter(spot.KEY)
            meter(given)
            assert real("spot", f"rows.{form}", "digest") == meter.measure(spot.SLICE, 2).digest  # type: ignore[arg-type]


TRAITS: Told = (("text/plain", *[None] * 6), (spot.METADATA,), ())


class Shelf:
    """A place with the page's object."""

    name = "a shelf"

    def histories(self) -> Iterator[tuple[Version, ...]]:
        yield (Version(spot.OBJECT, "1", is_marker=False), Version(spot.OBJECT, "2", is_marker=True))

    @contextmanager
    def opened(self, version: Version) -> Iterator[tuple[Told, Iterator[bytes]]]:
        assert "1" == version.id
        yield TRAITS, iter([spot.CONTENT[:2], spot.CONTENT[2:]])


def test_p9_the_digests_of_objects_are_those_of_the_engine() -> None:
    wanted = spot.objects()
    key = spot.KEY
    told = traits_digest(Traits(content_type=spot.TYPE, metadata=(spot.METADATA,)), digest_key=key)
    plain = traits_digest(Traits(), digest_key=key)
    measures = [
        ObjectMeasure(is_delete_marker=False, bytes=len(spot.CONTENT), content=Digest(wanted["content"]), traits=told),
        ObjectMeasure(is_delete_marker=True, bytes=0, content=Digest(wanted["marker"]), traits=plain),
    ]
    versions = [version_digest(one, key) for one in measures]
    assert [wanted["version"], wanted["version-of-the-marker"]] == versions
    assert (wanted["traits"], wanted["object"]) == (told, object_digest(versions, key))
    assert wanted["key"] == key_digest(spot.OBJECT, digest_key=key).hex()
    assert PLAIN == ((None,) * 7, (), ())


def test_p9_the_auditors_program_reads_the_audit_key_and_finds_the_object_as_it_was() -> None:
    wanted, file = spot.objects(), io.BytesIO(golden("audit.key"))
    opening = read_opening(file.readline())
    stretch = opening.stretches[spot.SLICE]
    assert ("app.public.note", "ca", "whole", 0, 2) == (
        stretch.dataset, stretch.part, stretch.form, stretch.after, stretch.upto,
    )  # fmt: skip
    assert ("id", "person_id", "body") == opening.tables["app.public.note"].read_as("whole")
    logged = Kept(
        id=spot.OBJECTS, store="media", home="ca", rows=2, leaving=2, digest=wanted["slice"], erased=None
    )  # fmt: skip
    ids = [f"{spot.OBJECTS}#{number}" for number in range(2)]
    found = read_listed(file, opening, {spot.OBJECTS: logged}, ids)
    name = bytes.fromhex(wanted["key"])
    things = [
        Thing(ids[0], 0, wanted["version"], leaves=True),
        Thing(ids[1], 1, wanted["version-of-the-marker"], leaves=True),
    ]
    assert {spot.OBJECTS: {name: things}} == found
    places = audited.Places({("media", "ca"): Shelf()}, {"media": Shelf()}, lived_in=False)
    looked = list(audited.look(places, opening.key, {spot.OBJECTS: logged}, found))
    assert [("same", "same")] * 2 == [(one.home, one.source) for one in looked]


def test_p9_the_draw_and_the_report_are_those_of_the_auditors_program() -> None:
    case, sample = good(), read_sample(golden("report.json"))
    ids = list(compared(case))
    order = [line.split(" ", 1)[1] for line in real("all-erased", "draw", "tickets").splitlines()]
    assert order == list(draw(case.root, spot.SEED, ids, len(ids)))
    assert (spot.SEED, order[:2]) == (sample.seed, [one.id for one in sample.slices])
    sample.refuse_other(case)
    assert () == sample.wrong
