"""`domicile-audit` as a program: exit codes, both outputs, alone in an empty folder, without a network."""

from __future__ import annotations

import ast
import io
import json
import os
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import domicile_audit
from domicile_audit.__main__ import as_json, as_text
from domicile_audit.report import Report
from tests.vectors import make

VECTORS = Path(make.__file__).parent
GOOD = VECTORS / "good" / "all-erased.zip"
BLOCKED = VECTORS / "good" / "backup-blocked.zip"
BAD = VECTORS / "bad" / "equality-with-a-differing-digest.zip"
RIGHT = VECTORS / "policies" / "right.txt"
# The files that turn the bytes of a bundle into yes or no, in the order of reading: by the specs, and by our own rules.
LOG = (
    "log/container.py", "log/keys.py", "log/tree.py", "log/shape.py", "log/envelopes.py", "log/cosignature.py",
)  # fmt: skip
AT_HOME = ("says.py", "case.py", "checklist.py", "story/moving.py", "story/erasing.py")
GONE = ("story/certificate.py", "story/verdicts.py")
PEOPLE_AND_KEYS = ("story/people.py", "story/rotation.py")
STORY = (*AT_HOME, *GONE, *PEOPLE_AND_KEYS)
HOOK = """
import sys
def hook(event, args):
    if event.startswith("socket.") or event in ("subprocess.Popen", "os.system"):
        sys.exit(f"forbidden: {event}")
    if event == "import" and args[0].split(".")[0] == "domicile":
        sys.exit("forbidden: the engine")
sys.addaudithook(hook)
from domicile_audit.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder that holds the checker's package and nothing of the engine."""
    package = Path(domicile_audit.__file__).parent
    shutil.copytree(package, tmp_path / "domicile_audit", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(folder: Path, *arguments: str | Path, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "PYTHONIOENCODING": encoding}
    return subprocess.run(
        [sys.executable, "-c", HOOK, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=60,
    )


def test_p9_the_checker_alone_accepts_a_good_bundle(alone: Path) -> None:
    done = run(alone, GOOD, "--trust", RIGHT)
    assert (0, "") == (done.returncode, done.stderr)
    assert "✓ 22" in done.stdout
    assert "ACCEPTED: " in done.stdout
    assert done.stdout.index("\nproven:") < done.stdout.index("\nnot proven:")


def test_p9_the_checker_alone_refuses_a_bad_bundle_at_its_step(alone: Path) -> None:
    done = run(alone, BAD)
    assert (1, "") == (done.returncode, done.stderr)
    assert "✗ 13" in done.stdout
    assert "REFUSED at check 13: " in done.stdout
    assert "not the same at home" in done.stdout


def test_p11_a_bundle_that_leaves_something_says_so_loudly(alone: Path) -> None:
    done = run(alone, BLOCKED)
    assert done.returncode == 3
    assert "NOT EVERYTHING IS PROVEN ERASED: the verdict is blocked-until" in done.stdout
    assert "copy app/encrypted-files is blocked-until 2026-11-29T08:39:00Z" in done.stdout


def test_the_answeras_json(alone: Path) -> None:
    good, bad = run(alone, GOOD, "--json"), run(alone, BAD, "--json")
    answer = json.loads(good.stdout)
    assert (True, "erased-verified", "bundle", None) == tuple(
        answer[key] for key in ("accepted", "verdict", "keys_from", "refused_at")
    )
    assert (3, 1, 13) == (good.returncode, bad.returncode, json.loads(bad.stdout)["refused_at"])
    assert (3, 1) == (answer["exit_code"], json.loads(bad.stdout)["exit_code"])


def test_p9_without_a_policy_a_strangers_log_holds_together_and_is_not_accepted(alone: Path) -> None:
    for name in ("all-erased", "backup-blocked"):
        bundle = VECTORS / "good" / f"{name}.zip"
        nobodys, trusted = run(alone, bundle), run(alone, bundle, "--trust", RIGHT)
        assert (3, 0) == (nobodys.returncode, trusted.returncode)
        assert "HOLDS TOGETHER, signed by NOBODY WHOM YOU NAMED (keys from the bundle itself" in nobodys.stdout
        assert "ACCEPTED" not in nobodys.stdout
        assert "ACCEPTED: the evidence holds" in trusted.stdout
        assert "NOBODY" not in trusted.stdout
    for words in (["--help"], ["receipt", "--help"], ["proof", "--help"]):
        assert "3: it holds together, but without --trust" in " ".join(run(alone, *words).stdout.split())


@pytest.mark.parametrize("words", [[], ["--json"], ["--help"]])
def test_a_reader_who_goes_away_gets_no_trace_and_no_yes(alone: Path, words: list[str]) -> None:
    """As `domicile-audit BUNDLE | head` does."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w", encoding="utf-8") as gone:
        done = subprocess.run(
            [sys.executable, "-c", HOOK, str(GOOD), "--trust", str(RIGHT), *words], cwd=alone, stdout=gone,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(alone)}, stderr=subprocess.PIPE, text=True, check=False,
            timeout=60,
        )  # fmt: skip
    assert (1, "") == (done.returncode, done.stderr)


def test_a_terminal_without_the_signs_still_gets_the_answer(alone: Path) -> None:
    done = run(alone, GOOD, encoding="ascii")
    assert (3, "") == (done.returncode, done.stderr)
    assert "HOLDS TOGETHER" in done.stdout


def test_what_is_no_bundle_is_refused_and_what_is_no_question_is_usage(alone: Path) -> None:
    junk, empty = alone / "junk", alone / "empty"
    junk.write_bytes(bytes(range(256)) * 9)
    empty.touch()
    assert [1, 1] == [run(alone, path).returncode for path in (junk, empty)]
    questions: list[list[str | Path]] = [
        [],
        [alone / "nothing"],
        [GOOD, "--trust", junk],
        [GOOD, "--trust", alone / "nothing"],
        [alone],
        [GOOD, "-x"],
    ]
    assert [2] * len(questions) == [run(alone, *question).returncode for question in questions]
    said = "".join(run(alone, *question).stderr for question in questions)
    assert "Traceback" not in said
    assert "Errno" not in said
    for words in (
        f"{alone / 'nothing'} can't be read (No such file or directory); give the zip that `domicile certify` wrote",
        f"{alone / 'nothing'} can't be read (No such file or directory); give the file of your trust policy",
        f"{alone} can't be read (Is a directory)",
    ):
        assert words in said


PAPER = VECTORS / "papers" / "good" / "given-before.tlog-proof"


def test_a_file_for_another_of_these_programs_is_told_apart_with_the_name_of_that(alone: Path) -> None:
    plain, grown, cut = alone / "plain", alone / "grown", alone / "cut"
    head, rest = PAPER.read_bytes().split(b"\nextra ")
    plain.write_bytes(head + b"\nindex 0\n\n" + rest.partition(b"\n\n")[2])
    grown.write_bytes(b"old 1\n\n" + rest.partition(b"\n\n")[2])
    cut.write_bytes(PAPER.read_bytes()[1:])
    for words, file, use in (
        ((), PAPER, "is a receipt of a person; use `domicile-audit receipt"),
        ((), plain, "is a proof of an entry of a log; use `domicile-audit proof"),
        ((), grown, "is a proof that a log has only grown; use `domicile-audit proof"),
        (("receipt",), GOOD, "is a bundle (a zip); use `domicile-audit "),
        (("receipt",), plain, "is a proof of an entry of a log; use `domicile-audit proof"),
        (("proof",), GOOD, "is a bundle (a zip); use `domicile-audit "),
        (("receipt",), alone / "nothing", "give the file that `domicile subject receipt` wrote"),
        (("proof",), alone / "nothing", "give the file that `domicile log prove` wrote"),
        (("--spot", alone / "nothing"), GOOD, "give what `domicile-audit spot-check --json` printed"),
    ):  # fmt: skip
        done = run(alone, *words, file, "--json")
        assert 2 == done.returncode, done.stdout
        told = json.loads(done.stdout)
        assert 2 == told["exit_code"]
        assert use in told["error"]
        assert any(str(path) in told["error"] for path in (file, *words[1:]))
    assert [1, 1] == [run(alone, *words, cut).returncode for words in ((), ("receipt",))]


def test_with_json_a_question_that_is_none_is_answeredas_json(alone: Path) -> None:
    done = run(alone, alone / "nothing", "--json")
    assert 2 == done.returncode
    assert "nothing" in json.loads(done.stdout)["error"]


def test_a_very_long_saying_is_cut_in_text_and_wholeas_json() -> None:
    report = Report(
        accepted=True, checks=(), reason=None, verdict="unknown", keys_from="policy",
        not_proven=(", ".join(f"app.public.table.column_{number}" for number in range(200)), "short"),
    )  # fmt: skip
    text = as_text(report)
    assert "column_0," in text
    assert "column_199" not in text
    assert "… all of it with --json" in text
    assert text.endswith("  - short")
    assert max(map(len, text.splitlines())) <= 160
    assert "column_199" in as_json(report)


def lines_of_code(path: Path) -> int:
    """The lines that are code: no blank line, no comment, no docstring."""
    text = path.read_text(encoding="utf-8")
    wordless = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in wordless:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_lines_of_code_are_counted_as_said(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('"""A\nB."""\n\n# C\ndef f() -> str:\n    """D."""\n    return """\n\n"""  # E\n')
    assert 4 == lines_of_code(tmp_path / "one.py")


def test_the_checker_stays_short_enough_to_be_read_whole() -> None:
    """What decides by the specs, what decides by our own rules, and each of the other rooms have their bounds."""
    folder = Path(domicile_audit.__file__).parent
    counted = {str(path.relative_to(folder)): lines_of_code(path) for path in folder.rglob("*.py")}

    def room(*names: str) -> int:
        return sum(counted[name] for name in counted if name in names or name.partition("/")[0] in names)

    assert room(*LOG) <= 448
    assert room(*AT_HOME) <= 420
    assert room(*STORY) <= 753
    assert room("log") == room(*LOG)
    assert room("story") < room(*STORY)
    assert room("trust", "report.py", "__main__.py") <= 705
    assert room("served.py") <= 86
    assert room("spot") <= 1_035
    assert room("papers", "files.py") <= 891
    assert max(counted.values()) <= 199
