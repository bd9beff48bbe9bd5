"""Fuzzing by coverage: it runs over every reader, and finds what is planted, each kind of it, and keeps the input."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest
from packaging.requirements import Requirement

import domicile_audit
from domicile.errors import DomicileError
from domicile.evidence.bundle import pack
from domicile.evidence.codec import dump_json, load_json
from domicile.evidence.statement import PAYLOAD_TYPE, open_envelope, parse_envelope, sign_envelope
from domicile.evidence.tlog.note import open_note
from domicile_audit.checklist import audit
from tests.fuzz import bundles, corpus, reading, shaping
from tests.fuzz.mutating import bend_bytes
from tests.fuzz.targets import TARGETS
from tests.vectors import scenario as s

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261130
REACHED = re.compile(r"^(.+): ([\d,]+) inputs, ([\d,]+) edges, ([\d,]+) features, ([\d,]+) kept$", re.MULTILINE)


def required() -> bool:
    """Whether `make venv` installs atheris on this machine."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["dev"]
    lines = [Requirement(line) for line in told if line.startswith("atheris")]
    return any(line.marker is None or line.marker.evaluate() for line in lines)


def fuzz(program: str, *words: str, before: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of this folder, with another folder before all others that are imported from."""
    paths = [*([str(before)] if before else []), *(str(ROOT / name) for name in ("src", "examples", "."))]
    return subprocess.run(
        [sys.executable, "-m", program, *words], capture_output=True, text=True, check=False, timeout=250, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"},
    )  # fmt: skip


def is_missing(done: subprocess.CompletedProcess[str]) -> bool:
    """On a machine for which atheris has no wheel, this says so; nowhere else is that an answer."""
    if not required():
        assert done.returncode == 3 or find_spec("atheris") is not None
        assert "atheris is not here" in done.stderr or find_spec("atheris") is not None
    return find_spec("atheris") is None and not required()


def bend(data: bytes) -> bytes:
    """Stands for libFuzzer's way."""
    return bend_bytes(data, Random(len(data)))  # noqa: S311  (a seeded test)


def test_p9_by_coverage_nothing_but_refusals_comes_out(tmp_path: Path) -> None:
    words = ["--runs", "60", "--seconds", "6000", "--seeds", "4", "--seed", str(SEED), "--folder", str(tmp_path)]
    done = fuzz("tests.fuzz.guided", *words)
    if is_missing(done):
        return
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    reached = {name: [int(one.replace(",", "")) for one in counts] for name, *counts in REACHED.findall(done.stdout)}
    assert list(TARGETS) == list(reached)
    assert all(inputs >= 60 and edges >= 5 and features >= edges for inputs, edges, features, _ in reached.values())
    assert reached["bundle told otherwise"][1] >= 300  # the checker's own code is counted, not only the fuzzer's
    # Bent as bytes alone, hardly a bundle gets past the door, and some 30 are kept.
    assert sum(kept for name, (*_, kept) in reached.items() if name.startswith("bundle")) >= 60
    assert f"for {len(TARGETS)} readers, seed {SEED}: nothing but refusals came out" in done.stdout


PLANTED = {
    "vkey of the checker": (
        "log/keys", "KeyError: 'planted'",
        """
            if data[:1] == "D":
                if data[1:2] == "o":
                    if data[2:3] == "m":
                        raise KeyError("planted")
        """,
    ),
    "audit key": (
        "spot/opening", "took more than 1 s of processor time",
        """
            while data[:1] not in b"{":
                pass
        """,
    ),
    "report of a spot check": (
        "spot/sample", "MemoryError",
        """
            if len(data) % 2:
                bytearray(200_000_000)
        """,
    ),
    "policy": (
        "trust/policy", "the process ended with -11",
        """
            if data[:1] not in b"#":
                import ctypes
                ctypes.string_at(0)
        """,
    ),
}  # fmt: skip
READERS = {
    "trust/policy": "read_policy",
    "log/keys": "read_vkey",
    "spot/opening": "read_opening",
    "spot/sample": "read_sample",
}


def planted(folder: Path) -> Path:
    """A copy of the checker with a fault in each of four readers."""
    copy = folder / "planted" / "domicile_audit"
    shutil.copytree(Path(domicile_audit.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for module, _, fault in PLANTED.values():
        name = READERS[module]
        body = "\n".join(line[8:] for line in fault.strip("\n").rstrip().split("\n"))
        with (copy / f"{module}.py").open("a") as out:
            out.write(f"\n\n_{name} = {name}\n\n\ndef {name}(data, *more):\n{body}\n    return _{name}(data, *more)\n")
    return copy.parent


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """What is found in the planted copy, and the folder with it."""
    folder = tmp_path_factory.mktemp("planted")
    only = [word for name in PLANTED for word in ("--only", name)]
    words = ["--runs", "400000", "--seconds", "600", "--seed", "1", "--cpu", "1", "--folder", str(folder)]
    return folder, fuzz("tests.fuzz.guided", *words, *only, before=planted(folder))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_by_coverage(found: tuple[Path, subprocess.CompletedProcess[str]], name: str) -> None:
    folder, done = found
    if is_missing(done):
        return
    assert 1 == done.returncode, done.stderr
    assert f"\n{name}: {PLANTED[name][1]}\n" in done.stdout
    assert f"for {len(PLANTED)} readers, seed 1: {len(PLANTED)} of them let something else out" in done.stdout
    assert 1 == len(list((folder / "findings").glob(f"{name.replace(' ', '-')}-*")))


def test_what_was_found_is_found_again_by_its_file_and_not_where_it_is_mended(
    found: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = found
    if is_missing(done):
        return
    name = "vkey of the checker"
    (path,) = (folder / "findings").glob("vkey-of-the-checker-*")
    assert path.read_bytes().startswith(b"Dom")
    again = ["--only", name, "--again", str(path), "--folder", str(folder)]
    assert f'--only "{name}" --again {path}' in done.stdout
    broken = fuzz("tests.fuzz", *again, before=folder / "planted")
    mended = fuzz("tests.fuzz", *again)
    assert (1, True) == (broken.returncode, f"{name}: KeyError: 'planted'" in broken.stdout)
    assert (0, f"{name}: read, or refused: {path}\n") == (mended.returncode, mended.stdout)


def test_a_planted_fault_is_found_by_seed_in_its_bounds_and_without_atheris(tmp_path: Path) -> None:
    """As on a machine that atheris has no wheel for: that is said, and the other way runs."""
    folder = planted(tmp_path)
    (folder / "atheris.py").write_text("raise ImportError('no wheel')\n")
    words = ["--seconds", "1", "--seed", "5", "--folder", str(tmp_path)]
    done = fuzz("tests.fuzz", *words, "--only", "note", before=folder)
    assert 0 == done.returncode
    assert re.fullmatch(r"by seed: [\d,]+ inputs for 1 readers, seed 5: nothing but refusals came out\n", done.stdout)
    assert "atheris is not here (no wheel), so nothing is fuzzed by coverage; it has wheels for CPython" in done.stderr
    done = fuzz("tests.fuzz", *words, "--only", "report of a spot check", "--only", "note", before=folder)
    assert 1 == done.returncode
    assert "\nreport of a spot check: MemoryError\n" in done.stdout
    assert "for 2 readers, seed 5: 1 of them let something else out" in done.stdout


def test_make_fuzz_goes_both_ways(tmp_path: Path) -> None:
    done = fuzz("tests.fuzz", "--seconds", "1", "--seed", "5", "--only", "note", "--folder", str(tmp_path))
    ways = ["by seed", "by coverage"] if find_spec("atheris") else ["by seed"]
    assert 0 == done.returncode
    assert ways == re.findall(r"^(by \w+): [\d,]+ inputs for 1 readers, seed 5: nothing but", done.stdout, re.MULTILINE)


def test_atheris_is_here_where_it_is_asked_for() -> None:
    assert find_spec("atheris") is not None or not required()


def test_what_is_bent_keeps_its_form_and_is_signed_again() -> None:
    chance = Random(SEED)  # noqa: S311  (a seeded test)
    envelope, note = corpus.played()["sweep"].envelope, corpus.small_log()["checkpoint"]
    kept = {"envelope": 0, "payload": 0, "note": 0, "zip": 0}
    for _ in range(100):
        bent = shaping.bend_envelope(envelope, chance, bend)
        kept["envelope"] += works(lambda bent=bent: open_envelope(bent, payload_type=PAYLOAD_TYPE, verifier=KEY))
        kept["payload"] += works(lambda bent=bent: load_json(parse_envelope(bent).payload)) and bent != envelope
        bent = shaping.bend_note(note, chance, bend)
        kept["note"] += works(lambda bent=bent: open_note(bent, KEY)) and bent != note
        kept["zip"] += len(audit(shaping.bend_zip(corpus.golden_bundles()[-1], chance, bend)).checks) > 1
    assert kept["envelope"] >= 60
    assert kept["payload"] >= 60
    assert kept["note"] >= 30
    assert kept["zip"] >= 50


KEY = s.ENGINE.verifier


def works(read: object) -> bool:
    """Whether it is read, and not refused."""
    try:
        read()  # type: ignore[operator]
    except DomicileError:
        return False
    return True


def test_bundles_that_are_bent_again_and_again_reach_most_checks() -> None:
    """Also those far down the list: statements that name a bent one name it by its new digest."""
    chance = Random(SEED)  # noqa: S311  (a seeded test)
    reached = set()
    for seed in TARGETS["bundle told otherwise"].seeds():
        for _ in range(40):
            report = audit(shaping.bend_bundle(seed, chance, bend))
            reached.add(0 if report.accepted else report.checks[-1].number)
    assert 0 in reached
    assert len(reached) >= 18


def test_what_names_a_bent_statement_names_it_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The approvals and the clearance name the comparison by its digest, the erasures the clearance, and so on."""
    files = shaping.unzipped(bundles.good_bundles()[0])
    del files["manifest.json"]
    (path,) = (name for name in files if name.startswith(shaping.ENTRIES))
    compared = [one for one in corpus.entries_of(path, files[path]) if b"equality/v1" in parse_envelope(one).payload][
        -1
    ]

    def elsewhere(entry: bytes, *_: object) -> bytes:
        """The comparison, at another position; all others as they are."""
        payload = parse_envelope(compared).payload.replace(b'"position":"', b'"position":"1')
        return sign_envelope(payload, payload_type=PAYLOAD_TYPE, signer=s.ENGINE) if entry == compared else entry

    monkeypatch.setattr(shaping, "bend_envelope", elsewhere)
    bent = 0
    for seed in range(200):
        told = shaping.retold(files, s.ENGINE, Random(seed), bend)  # noqa: S311  (a seeded test)
        entries = corpus.entries_of(path, told.get(path, b""))
        if elsewhere(compared) in entries:
            bent += 1
            assert audit(pack(told, s.ENGINE)).accepted
    assert bent >= 3


def test_nothing_is_written_beside_a_logs_own_files(tmp_path: Path) -> None:
    """Names in a bent folder may be any: of those that no log has, no file is made."""
    outside, above = tmp_path / "outside", f"outside-of-{tmp_path.parent.name}-{tmp_path.name}"
    detached = "detached/" + "0" * 64 + ".json"
    names = ("checkpoint", "tile/0/000", f"../{detached}", str(outside), f"../../{above}", "tile/../x")
    with reading.folder_of(dump_json(dict.fromkeys(names, "00"))) as folder:
        files = sorted(str(path.relative_to(folder.parent)) for path in folder.parent.rglob("*") if path.is_file())
        assert [detached, "log/checkpoint", "log/tile/0/000"] == files
        assert not (folder.parent.parent / above).exists()
    assert not outside.exists()
