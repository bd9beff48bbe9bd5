"""The house rules that no linter knows: reasons beside exceptions, a clean lock, commands that are explained."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from scripts.docs import defects_of
from scripts.majors import PINNED, FetchError, fetch
from tests.servers import MAJORS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_lock_holds_no_address() -> None:
    assert re.findall(r"^\s*--(?!hash=sha256:).*$|[a-z]+://\S+", LOCK, re.MULTILINE) == []
    assert not (ROOT / "uv.lock").exists()


def test_everything_in_the_lock_is_hashed() -> None:
    entries = re.split(r"^(?=[A-Za-z])", LOCK, flags=re.MULTILINE)[1:]
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert len(entries) > 40


@pytest.mark.parametrize("group", ["engine", "s3", "dev", "bench"])
def test_each_dependency_is_locked_and_accounted_for(group: str) -> None:
    project = PROJECT["project"]
    groups = {"engine": project["dependencies"], **project["optional-dependencies"], **PROJECT["dependency-groups"]}
    wanted = groups[group]
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    names = [re.split(r"[\[>=]", line)[0] for line in wanted]
    assert [name for name in names if f"\n{name.replace('.', '-')}==" not in LOCK] == []
    assert [name for name in names if not re.search(rf"^\| [^|]*\b{re.escape(name)}\b", page, re.MULTILINE)] == []


def test_each_rule_that_is_off_says_why() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    start = lines.index("ignore = [")
    rules = lines[start + 1 : lines.index("]", start)]
    assert [line for line in rules if not re.match(r'    "[A-Z]+\d+",\s+# \S.{6,}', line)] == []
    assert len(rules) > 10


def test_each_exception_in_the_code_names_its_rule() -> None:
    found = []
    for folder in ("src", "tests", "scripts", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if re.search(r"#\s*(noqa(?!: [A-Z]+\d)|type: ignore(?!\[))", line) and path != Path(__file__):
                    found.append(f"{path.relative_to(ROOT)}:{number}")
    assert found == []


def test_each_command_of_make_is_explained() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    answer = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    explained = re.findall(r"^  make (\w+)  +\S", answer, re.MULTILINE)
    assert sorted(phony[1].split()) == sorted(explained)


def test_ci_runs_check_and_test_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("make")] == ["make check", "make test"]


def test_the_samples_are_whole_and_carry_their_licences() -> None:
    data = ROOT / "tests" / "data"
    found = {path.relative_to(data).as_posix(): path.stat().st_size for path in data.rglob("*") if path.is_file()}
    assert found.items() >= {
        "pagila/LICENSE.txt": 1100, "pagila/pagila-data.sql": 3310905, "pagila/pagila-schema.sql": 52422,
        "chinook/LICENSE.md": 1117, "chinook/Chinook_PostgreSql.sql": 600200,
        "chinook/Chinook_PostgreSql_AutoIncrementPKs.sql": 562854,
        "northwind/LICENSE": 2770, "northwind/northwind.sql": 349810,
    }.items()  # fmt: skip


def test_every_major_under_test_has_a_source() -> None:
    assert set(MAJORS) == {*PINNED, 18}


def test_a_fetched_server_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pack(_version: str, folder: Path) -> Path:
        archive = folder / "x.tgz"
        archive.write_bytes(b"something else")
        return archive

    monkeypatch.setattr("scripts.majors.pack", pack)
    with pytest.raises(FetchError, match="not the pinned"):
        fetch(tmp_path / "17", *PINNED[17])
    assert list(tmp_path.iterdir()) == []


def _asked_without_debian(folder: Path, purpose: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Let the script see only the programs of one folder: no apt-get unless asked for, none of the others."""
    for program in ("bash", "id", "mktemp", "rm", "tr", "sed", "python3", *more):
        (folder / program).symlink_to(Path("/usr/bin") / program)
    return subprocess.run(
        ["/bin/bash", ROOT / "scripts" / "debian.sh", purpose],
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_without_debian_is_told_what_is_missing(tmp_path: Path) -> None:
    answer = _asked_without_debian(tmp_path, "test")
    assert answer.returncode == 1
    assert re.search(r"make test needs these programs, and this is no Debian: .*chromium.*npm", answer.stderr)


def test_a_demo_without_debian_goes_on_and_is_told_in_a_line_what_is_left_out(tmp_path: Path) -> None:
    answer = _asked_without_debian(tmp_path, "demo")
    assert (0, "") == (answer.returncode, answer.stdout)
    (line,) = answer.stderr.splitlines()
    assert "pgBackRest in the demo's world needs these programs, and this is no Debian: " in line
    assert line.endswith("pgbackrest; it is left out")


def test_a_demo_that_has_what_it_wants_asks_nobody(tmp_path: Path) -> None:
    answer = _asked_without_debian(tmp_path, "demo", "pgbackrest")
    assert (0, "", "") == (answer.returncode, answer.stdout, answer.stderr)


def test_a_python_that_is_too_old_is_told(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    answer = subprocess.run(
        [ROOT / "scripts" / "debian.sh", "venv", tmp_path / "venv"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(old)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (1, True) == (answer.returncode, "is not Python 3.11 or newer" in answer.stderr)


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One `thing`\n\n# One thing\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#one-thing-1) [c](https://example.invalid/x) [d](#here)\n\n# Here\n\n"
        "[e](missing.md)\n[f](other.md#two)\n![g](../outside.png)\n"
    )
    assert list(defects_of(page, root=tmp_path)) == [
        "page.md:5: missing.md leads to no file",
        "page.md:5: other.md#two names no heading of other.md",
        "page.md:5: ../outside.png leads out of the project",
    ]
