"""Objects in people's receipts: how many of theirs went home, counted as by hand; and counts that can't be true."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from domicile.evidence.receipts.leaf import Rows
from domicile.proof import Verdict
from domicile.run import receipting
from domicile.stores.postgres.server import EmbeddedServer
from domicile_audit.papers.paper import check
from domicile_audit.papers.receipt import as_text
from tests.attack.conftest import run
from tests.objects.conftest import DATASETS, SCHEMA, Folders, Made, written
from tests.receipts.conftest import Tell, everybody, tell
from tests.servers import ROOT, Databases
from tests.vectors import objects as o
from tests.vectors import receipts as r
from tests.vectors import scenario as s

__all__ = ["tell"]

GIFTS: Final = """
CREATE TABLE gift (id int PRIMARY KEY, giver int REFERENCES person, taker int REFERENCES person, picture text);
INSERT INTO gift VALUES (1, 2, 4, 'g1'), (2, 4, 1, 'g2'), (3, 4, 4, 'g3'), (4, 4, NULL, NULL);
"""
GIFT: Final = """
  app.public.gift:
    rows: move
    subjects: {by: [giver, taker], shared: each}
    edges: {giver: {apart: {home: whole, source: whole}}, taker: {apart: {home: whole, source: whole}}}
"""
NAMED: Final = """
      - {of: app.public.gift, column: picture, disposition: move}
      - {disposition: none, reason: "nobody's"}
"""


def receipts(made: Folders, *keys: str) -> dict[str, Path]:
    found = {}
    with made.programme.opened() as opened:
        for key in keys:
            found[key] = made.programme.folder / f"{key}.tlog-proof"
            found[key].write_bytes(opened.receipt(key))
    return found


def counted(moved: int, deleted: int) -> dict[str, Rows]:
    """What an engine says of somebody's objects."""
    return {"media": Rows(moved=moved, deleted=deleted, blanked=0)}


def media(path: Path) -> dict[str, int] | None:
    """What a receipt says of the store, by the person's own program, for which it must hold together."""
    done = subprocess.run(
        [sys.executable, "-m", "domicile_audit", "receipt", str(path), "--json"],
        env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert 3 == done.returncode, done.stdout + done.stderr
    said: Any = json.loads(done.stdout)
    assert said["objects"].get("media") == said["person"]["rows"].get("media")
    found: dict[str, int] | None = said["objects"].get("media")
    return found


def test_p9_each_counts_the_objects_that_rows_and_keys_lead_to(folders: Made) -> None:
    """2 and 4 share one that both have a row of; 6 shares one with somebody who stays; 4's letter was deleted."""
    made = folders()
    run(
        made.source,
        "INSERT INTO video (person_id, address) VALUES (2, 'https://cdn.example.org/videos/of-4.mp4'),"
        " (1, 'https://cdn.example.org/videos/of-6.mp4'), (2, 'https://cdn.example.org/videos/of-2.mp4'),"
        " (2, 'https://cdn.example.org/videos/none.mp4'), (4, 'elsewhere')",
    )
    (made.media / "u/4/letter.txt").unlink()
    made.programme.plan()
    made.programme.clear_again()
    made.programme.apply(yes=True)
    assert {"ca": (5, 4, 1)} == made.counts()
    found = receipts(made, "2", "4", "6")
    assert {"moved": 3, "deleted": 3, "blanked": 0} == media(found["2"])
    assert {"moved": 1, "deleted": 1, "blanked": 0} == media(found["4"])
    assert {"moved": 2, "deleted": 1, "blanked": 0} == media(found["6"])
    text = as_text(check(found["6"].read_bytes()))
    assert "media                  2          1          1" in text
    assert "Places of media outside:" in text


def test_p9_p11_what_several_people_have_counts_for_each_and_who_has_none_is_told_so(
    pg18: EmbeddedServer, database: Databases, tmp_path: Path
) -> None:
    """Gifts between 2 and 4, 4 and 1 who stays, 4 and himself; 6 has none, and a file that nobody names is no one's."""
    source, home = database(pg18), database(pg18)
    run(source, SCHEMA + GIFTS)
    programme = written(tmp_path, NAMED, source=source, home=home, datasets=DATASETS + GIFT)
    for number in range(1, 5):
        path = tmp_path / "media" / f"g{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"a picture")
    (tmp_path / "media-ca").mkdir()
    made = Folders(programme=programme, source=source, media=tmp_path / "media", home=tmp_path / "media-ca")
    made.programme.plan()
    made.programme.clear_again()
    made.programme.apply(yes=True)
    assert {"ca": (3, 2, 1)} == made.counts()
    found = receipts(made, "2", "4", "6")
    assert {"moved": 1, "deleted": 1, "blanked": 0} == media(found["2"])
    assert {"moved": 3, "deleted": 2, "blanked": 0} == media(found["4"])
    assert media(found["6"]) is None
    text = as_text(check(found["6"].read_bytes()))
    assert "No file in media is counted as yours." in text
    assert "Your files in  went home     erased       kept\n(none)" in text


def test_p9_counts_that_are_more_than_all_peoples_are_refused(tell: Tell) -> None:
    """An engine that commits to more: of nine versions at home, of which one is locked, one person can't have ten."""
    people = everybody()
    for place, (moved, deleted) in enumerate(((9, 9), (10, 8), (8, 9))):
        people[0][place] = replace(people[0][place], rows=counted(moved, deleted))
    told = tell(o.objects().before(r.FIRST_INTENT, r.EVERYBODY), people)
    answers = [check(receipting.receipt(told.record, key)) for key in ("1", "2", "3", "4")]
    assert [True, False, False, True] == [answer.accepted for answer in answers]
    assert [9, 9] == [answer.check for answer in answers[1:3]]
    assert "media: the receipt tells of more objects at home" in answers[1].reason
    assert "media: more rows are erased than went home" in answers[2].reason


@pytest.mark.parametrize(
    ("verdict", "accepted"), [(Verdict.ERASED_VERIFIED, False), (Verdict.HELD, True), (Verdict.PRESENT, True)]
)
def test_p11_more_erased_than_the_certificate_says_needs_a_copy_that_holds_it(
    tell: Tell, verdict: Verdict, accepted: bool
) -> None:
    """The store's own copies count: that a table's is held says nothing of objects."""
    people = everybody()
    people[0][0] = replace(people[0][0], rows=counted(9, 9))
    certificate = o.certified(verdict)
    if not accepted:
        held = replace(certificate.copies[0], verdict=Verdict.HELD)
        certificate = replace(certificate, verdict=Verdict.HELD, copies=(held, *certificate.copies[1:]))
    script = o.objects().signed("certificate", s.Line("certificate", lambda _: certificate))
    answer = check(receipting.receipt(tell(script.before(r.FIRST_INTENT, r.EVERYBODY), people).record, "1"))
    assert (
        accepted,
        "" if accepted else "media: the receipt tells of more erased rows than the certificate of all people",
    ) == (answer.accepted, answer.reason)
