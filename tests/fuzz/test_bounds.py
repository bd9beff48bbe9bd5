"""Hostile input is refused in bounded memory and time: in a child that the kernel ends when it takes more."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from domicile.evidence.bundle import pack, zip_files
from domicile.proof import Verdict
from tests.vectors import make
from tests.vectors import scenario as s

MIB = 1024 * 1024
BAD = Path(make.__file__).parent / "bad"
MEMORY_BYTES = 400 * MIB
"""Of address space; Python with `cryptography` alone takes about a quarter of it."""
CPU_S = 20
"""Of processor time. All of these take less than two; what grows with the square of its input takes minutes."""
LIMITED = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES}, {MEMORY_BYTES}))
resource.setrlimit(resource.RLIMIT_CPU, ({CPU_S}, {CPU_S}))
"""
CHECKER = LIMITED + "from domicile_audit.__main__ import main\nsys.exit(main(sys.argv[1:]))"
ENGINE = (
    LIMITED
    + """
from pathlib import Path
from domicile.evidence import predicates as p
from domicile.evidence.codec import decode, load_json
from domicile.errors import DomicileError
from domicile.evidence.keys import parse_vkey
from domicile.evidence.statement import Sealed, detached_name, parse_envelope, read_unverified
from domicile.evidence.tlog.note import parse_note
from domicile.evidence.tlog.proof import parse_proof
from domicile.evidence.tlog.tile import decode_entries
data = Path(sys.argv[1]).read_bytes()
text = data.decode("latin-1")
for read in (
    load_json, parse_envelope, detached_name, lambda d: decode(d, p.PlanPredicate), parse_note, parse_proof,
    lambda d: decode_entries(d, width=256), lambda d: read_unverified(Sealed(envelope=d, detached=None)),
    lambda d: read_unverified(Sealed(envelope=d[:100], detached=d)), lambda d: parse_vkey(text),
):
    try:
        read(data)
    except DomicileError:
        continue
print("nothing but refusals")
"""
)


def limited(program: str, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, str(path), *arguments], capture_output=True, text=True, check=False, timeout=250
    )


def _with(name: str, data: bytes) -> Callable[[], bytes]:
    """A good bundle with one file instead of its own, signed again unless it is the manifest."""

    def made() -> bytes:
        files = s.files_of(s.good())
        return zip_files({**files, name: data}) if name == "manifest.json" else pack({**files, name: data}, s.ENGINE)

    return made


def _many_copies() -> bytes:
    """60,000 copies more, each judged: to look through all for each of them takes billions of steps."""
    ids = [f"app/copy-{number}" for number in range(60_000)]
    planned, judged = s.plan().copies[0], dataclasses.replace(
        s.certificate().copies[0], verdict=Verdict.PRESENT, why="still there"
    )  # fmt: skip
    script = (
        s.good()
        .set("plan", copies=(*s.plan().copies, *(dataclasses.replace(planned, id=id_) for id_ in ids)))
        .set("certificate", copies=(*s.certificate().copies, *(dataclasses.replace(judged, id=id_) for id_ in ids)))
    )
    return s.bundle_of(script)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb of 50 MB": ((BAD / "zip-bomb.zip").read_bytes, "or compressed"),
    "a file of 4 GiB in 27 kB": ((BAD / "zip-with-sizes-elsewhere.zip").read_bytes, "cut off or too long"),
    "sixty thousand files": (
        lambda: zip_files({f"f{number}": b"" for number in range(60_000)}),
        "has no keys/log.vkey",
    ),
    "JSON nested eight million times": (_with("manifest.json", b"[" * 8 * MIB), "not JSON"),
    "JSON of a million objects": (_with("manifest.json", b"[" + b"{}," * MIB + b"{}]"), "not a DSSE envelope"),
    "a text of 8 MiB": (_with("manifest.json", b'"' + b"a" * 8 * MIB + b'"'), "not a DSSE envelope"),
    "a note of 8 MiB": (_with("log/checkpoint", b"\n" * 8 * MIB), "the checkpoint is"),
    "four million empty entries": (_with("log/tile/entries/000.p/18", bytes(8 * MIB)), "does not hold 18 entries"),
    "a log that claims four million entries": ((BAD / "checkpoint-of-a-log-of-millions.zip").read_bytes, "is missing"),
    "sixty thousand copies": (_many_copies, "its worst copy is present"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_p9_the_checker_refuses_in_bounded_memory_and_time(tmp_path: Path, name: str) -> None:
    make_it, reason = HOSTILE[name]
    path = tmp_path / "bundle.zip"
    path.write_bytes(make_it())
    done = limited(CHECKER, path, "--json")
    assert (1, "") == (done.returncode, done.stderr)
    answer = json.loads(done.stdout)
    assert "this program failed" not in answer["reason"]
    assert reason in answer["reason"]


RAW: dict[str, bytes] = {
    "nested": b"[" * 8 * MIB,
    "many objects": b"[" + b"{}," * MIB + b"{}]",
    "many lines": b"\n" * 8 * MIB,
    "zeros": bytes(8 * MIB),
    "digits": b"9" * 8 * MIB,
    "a proof of many hashes": b"c2sp.org/tlog-proof@v1\nindex 0\n" + (b"A" * 43 + b"=\n") * 4_000 + b"\n",
}


@pytest.mark.parametrize("name", RAW)
def test_p9_the_engines_readers_refuse_in_bounded_memory_and_time(tmp_path: Path, name: str) -> None:
    path = tmp_path / "input"
    path.write_bytes(RAW[name])
    done = limited(ENGINE, path)
    assert (0, "", "nothing but refusals\n") == (done.returncode, done.stderr, done.stdout)


def test_the_limits_are_real(tmp_path: Path) -> None:
    """The twin: a child that takes more is ended, and one that never ends is, too."""
    path = tmp_path / "none"
    greedy = limited(LIMITED + f"x = bytes({MEMORY_BYTES})", path)
    assert "MemoryError" in greedy.stderr
    endless = limited(LIMITED.replace(str(CPU_S), "1") + "while True: pass", path)
    assert endless.returncode < 0
