"""`domicile demo`, the first thing that a stranger runs: it ends as it says, down to the verdict of each copy."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from domicile.stores.postgres.restoring import METHOD_OF_MOMENT, METHOD_OF_REPOSITORY
from shortvideo.stack import HELD_DAYS
from tests.example.outside import Outside, look_outside
from tests.independent.bundles import go_checks, page_says

SECONDS_MAX = 500
pytestmark = pytest.mark.timeout(600)
UNKNOWN = {
    "service/archive",
    *(
        f"{server}/{copy}"
        for server in ("service", "service-standby")
        for copy in ("server-log", "dumps-and-backups", "free-blocks")
    ),
}
PERHAPS = {  # the server's own statistics of template1 may hold half a value that is gone
    "service/other-databases",
    "service-standby/other-databases",
}


@dataclass(frozen=True, slots=True)
class Ran:
    """A demo with fewer people at its end: its folder, its screen, and what lay outside while it stayed up."""

    folder: Path
    screen: str
    outside: Outside


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("demo") / "of-a-stranger"
    few = ("--users", "200", "--people", "40", "--rate", "8", "--watched", "3", "--nice", "0", "--keep")
    command = [sys.executable, "-m", "domicile.cli", "demo", *few, "--folder", str(folder)]
    with (
        (folder.parent / "errors").open("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, "COLUMNS": "200"}
        ) as demo,
    ):
        ending = threading.Timer(SECONDS_MAX, demo.kill)
        ending.start()
        try:
            lines, outside = list[str](), None
            for line in demo.stdout or ():
                lines.append(line)
                if " stays up; " in line:
                    outside = look_outside(folder)
                    demo.send_signal(signal.SIGINT)
            demo.wait()
        finally:
            ending.cancel()
            demo.kill()
        errors.seek(0)
        assert outside is not None, "".join(lines)[-2000:] + errors.read()[-2000:]
        assert 0 == demo.returncode
    return Ran(folder, "".join(lines), outside)


@pytest.fixture(scope="module")
def shown(ran: Ran) -> tuple[Path, str]:
    """Folder and screen."""
    return ran.folder, ran.screen


@pytest.mark.slow
def test_p3_a_search_by_other_programs_finds_no_mover_at_the_source(ran: Ran) -> None:
    """GNU grep over both servers, archived WAL, what pg_restore makes of dumps, what `pgbackrest restore` makes of its
    repository, and that one unpacked; boto3 over versions."""
    outside = ran.outside
    assert outside.searched > 100
    assert [] == outside.holding_movers
    assert {"sg", "standby", "dumps", "backup", "repository"} <= {
        place.split("/", 1)[0] for place in outside.holding_stayers
    }
    assert 1 == outside.versions  # the locked one


@pytest.mark.slow
def test_every_copy_but_those_that_nobody_can_look_at_is_erased_and_verified(shown: tuple[Path, str]) -> None:
    _, screen = shown
    found = re.search(r"erased-verified: (\d+) of (\d+) copies", screen)
    assert found is not None
    unknown = set(re.findall(r"^ (service\S*/\S+) +\? unknown ", screen, re.MULTILINE))
    assert UNKNOWN <= unknown <= UNKNOWN | PERHAPS
    assert re.search(r"^ files/store-files +~ erased-unverified ", screen, re.MULTILINE)
    assert re.search(r"^ files/locked-versions +… blocked-until ", screen, re.MULTILINE)
    assert int(found[2]) - len(unknown) - 2 == int(found[1]), screen[found.start() :]


@pytest.mark.slow
def test_p9_go_and_the_report_itself_check_the_bundle(shown: tuple[Path, str], browser: Browser) -> None:
    made = shown[0] / ".domicile"
    assert go_checks(made / "bundle.zip") > 100
    assert page_says(browser, made / "report.html").startswith("✓ Accepted: all 24 checks")


@pytest.mark.slow
def test_p3_files_of_drafts_go_home_with_their_people(shown: tuple[Path, str]) -> None:
    _, screen = shown
    assert re.search(r"^frozen: [\d,]+ private rows and [1-9]\d* versions of objects", screen, re.MULTILINE)
    assert re.search(r"^  - \d+ rows and versions of objects deleted, \d+ blanked, 1 kept: ", screen, re.MULTILINE)


@pytest.mark.slow
def test_p11_a_locked_version_is_foreseen_and_stays_until_its_day(shown: tuple[Path, str]) -> None:
    _, screen = shown
    until = datetime.now(UTC).date() + timedelta(days=HELD_DAYS)
    days = {until - timedelta(days=1), until, until + timedelta(days=1)}  # the service began before, perhaps yesterday
    plan, _, rest = screen.partition("3  Copy")
    assert re.search(r"^  blocked until +1 versions of people who move are locked: blocked until ", plan, re.MULTILINE)
    assert any(f"files/locked-versions is blocked-until {day}" in rest for day in days)


@pytest.mark.slow
def test_p3_what_the_platform_kept_beside_its_database_is_gone(shown: tuple[Path, str]) -> None:
    folder, screen = shown
    assert "in service-dumps: base-backup, nightly.dump" in screen  # the plan named them
    labels = re.search(r"in service-repository: (\d{8}-\d{6}F), (\1_\d{8}-\d{6}I)$", screen, re.MULTILINE)
    assert labels is not None
    with zipfile.ZipFile(folder / ".domicile" / "bundle.zip") as bundle:
        envelope = json.loads(bundle.read("certificate.dsse.json"))
        inner = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["detached"]
        copies = json.loads(bundle.read(f"detached/{inner['sha256']}.json"))["copies"]
    stores = ("service-wal/", "service-dumps/", "service-repository/")
    around = {copy["id"]: copy["verdict"] for copy in copies if copy["id"].startswith(stores)}
    assert {
        "service-wal/archived-wal", "service-dumps/dump:nightly.dump", "service-repository/archived-wal",
        f"service-repository/base-backup:{labels[1]}", f"service-repository/base-backup:{labels[2]}",
    } < around.keys()  # fmt: skip
    assert {"erased-verified"} == set(around.values())
    shown_ones = screen.partition("pgBackRest repository at the source")[2]
    assert re.search(rf"^ service-repository/base-backup:{labels[1]} +✓ erased-verified ", shown_ones, re.MULTILINE)


@pytest.mark.slow
def test_p2_the_homes_own_repository_and_dumps_were_restored_before_anything_was_cleared(ran: Ran) -> None:
    with zipfile.ZipFile(ran.folder / ".domicile" / "bundle.zip") as bundle:
        entries = b"".join(bundle.read(name) for name in bundle.namelist() if "/entries/" in name)
    statements = map(json.loads, map(base64.b64decode, re.findall(rb'"payload": *"([A-Za-z0-9+/=]+)"', entries)))
    (cleared,) = (one["predicate"] for one in statements if one["predicateType"].endswith("clearance/v1"))
    assert METHOD_OF_REPOSITORY in cleared["restore"]["method"]
    assert METHOD_OF_MOMENT in cleared["restore"]["method"]
    assert {"us", "ca", "au"} == set(cleared["restore"]["homes"])


@pytest.mark.slow
def test_the_auditor_accepts_the_bundle_and_refuses_one_flipped_byte(shown: tuple[Path, str]) -> None:
    _, screen = shown
    accepted, refused = screen.index("ACCEPTED"), screen.index("REFUSED at check")
    assert accepted < refused


@pytest.mark.slow
def test_the_report_stands_where_the_screen_says_and_no_server_is_left(shown: tuple[Path, str]) -> None:
    folder, screen = shown
    assert str(folder / ".domicile" / "report.html") in screen
    assert (folder / ".domicile" / "report.html").stat().st_size > 10_000
    assert not (folder / "service").exists()
    assert not [line for line in _processes() if str(folder) in line]


def _processes() -> list[str]:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.slow
def test_p6_it_says_what_people_felt_and_that_no_request_failed(shown: tuple[Path, str]) -> None:
    folder, screen = shown
    phases = ("before", "plan", "copy", "cut-over", "close", "erase", "after")
    found = {
        name: re.search(rf"^ *{name} +([\d,]+) +[\d.]+ +[\d.]+ +[\d.]+ +(\d+) ", screen, re.MULTILINE)
        for name in phases
    }
    assert dict.fromkeys(phases, "0") == {name: line[2] for name, line in found.items() if line}
    assert "all there, once, in their place" in screen
    report = (folder / ".domicile" / "report.html").read_text(encoding="utf-8")
    assert "What people felt" in report
    assert "the demo&#39;s own traffic" in report


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "broken-off"
    command = [sys.executable, "-m", "domicile.cli", "demo", "--users", "100", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "is up;" in line:
                running.send_signal(signal.SIGINT)
                break
        running.communicate(timeout=SECONDS_MAX)
    assert running.returncode
    assert not [line for line in _processes() if str(folder) in line]
