"""P11: what can't be seen is `unknown`, what is there is `present`; no copy is left out; the whole is the worst."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.databases import SAMPLES
from tests.main.conftest import MAJORS, Moves
from tests.main.programme import Programme, ask, run
from tests.servers import HASTY, create_database, own_server


@pytest.mark.parametrize(("sample", "country"), MAJORS)
def test_p11_every_planned_copy_has_a_verdict_and_the_worst_one_is_the_whole(
    moved: Moves, sample: str, country: str
) -> None:
    programme = moved(sample, country).programme
    plan = json.loads((programme.made / "plan.json").read_bytes())
    verdicts = programme.verdicts()
    assert {copy["id"] for copy in plan["copies"]} == set(verdicts)
    assert "unknown" == programme.status()["verdict"]
    assert {"app/server-log", "app/dumps-and-backups", "app/free-blocks"} <= set(verdicts)


@pytest.mark.parametrize(("sample", "country"), MAJORS)
def test_p11_the_report_says_what_is_not_proven(moved: Moves, sample: str, country: str) -> None:
    programme = moved(sample, country).programme
    page = (programme.made / "report.html").read_text(encoding="utf-8")
    words = ("unknown", "server-log", "dumps-and-backups", "free-blocks", "not proven")
    assert [] == [word for word in words if word not in page.lower()]
    assert "purge" not in page.lower()


def test_p11_nothing_that_a_run_shows_says_purged(moved: Moves) -> None:
    programme = moved("pagila", "Canada").programme
    with zipfile.ZipFile(programme.made / "bundle.zip") as bundle:
        texts = [bundle.read(name).lower() for name in bundle.namelist()]
    assert [] == [text for text in (*texts, *(shown.lower().encode() for shown in programme.shown)) if b"purge" in text]


def test_p11_what_is_left_behind_is_present(tmp_path: Path) -> None:
    """A log that holds statements, a backup table of somebody's, another database: each is found and called so."""
    settings = {**HASTY, "logging_collector": "on", "log_directory": "log", "log_statement": "all"}
    with own_server("left", parameters=settings) as server, own_server("left-home", parameters=HASTY) as other:
        source = create_database(server, "app")
        SAMPLES["chinook"](source)
        programme = Programme(folder=tmp_path, source=source, homes={"ca": create_database(other, "app_ca")})
        programme.draft({"CA": "ca"})
        elsewhere = create_database(server, "elsewhere")
        run(elsewhere, "CREATE TABLE list (mail text); INSERT INTO list VALUES ('ftremblay@gmail.com')")
        assert [("ftremblay@gmail.com",)] == ask(source, "SELECT email FROM customer WHERE customer_id = 3")
        programme.move()
        programme.finish()
        verdicts = programme.verdicts()
        assert ("present", "present") == (verdicts["app/server-log"], verdicts["app/other-databases"])
        assert "unknown" == verdicts["app/dumps-and-backups"]
        assert "present" == programme.status()["verdict"]
        said = programme.audit().text
        assert "the verdict is present" in said
        assert "ftremblay" not in said + "".join(programme.shown)
