"""`domicile-audit proof`: a place in a log, and that a log has only grown, from files that the engine's code wrote."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from domicile.evidence.bundle import trust_policy
from domicile.evidence.keys import Signer
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import hash_leaf
from domicile.evidence.tlog.note import sign_note
from domicile.evidence.tlog.proof import format_proof, parse_proof
from domicile.evidence.tlog.witness import AddCheckpoint, format_request, parse_request
from domicile_audit.__main__ import main
from domicile_audit.case import Refused
from domicile_audit.papers.placed import require_grown, require_in
from domicile_audit.papers.proof import ENTRY_BYTES_MAX
from domicile_audit.trust.demands import WORDS
from tests.servers import ROOT
from tests.vectors import make, rotations, witnessed
from tests.vectors import scenario as s

ENTRIES = [b"entry %d" % number for number in range(21)]
SIZES = range(1, len(ENTRIES) + 1)
TRUST = trust_policy(s.ENGINE.verifier, s.plan().approvals)
THIEF = Signer(name=s.ENGINE.name, seed=s.STRANGER.seed)


@dataclass(slots=True, kw_only=True)
class Given:
    """A log in a folder, and what somebody was given of it."""

    folder: Path
    log: Log
    heads: dict[int, bytes]

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def growth(self, old: int, size: int | None = None) -> bytes:
        size = self.log.size if size is None else size
        head = self.heads[size]
        return format_request(AddCheckpoint(old=old, path=self.log.consistency_proof(old, size), checkpoint=head))

    def words(self, proof: bytes, *more: str, entry: bytes | None = None, old: bytes | None = None) -> list[str]:
        given = ["proof", str(self.file("proof", proof)), *more]
        given += [] if entry is None else ["--entry", str(self.file("entry", entry))]
        return given + ([] if old is None else ["--old", str(self.file("old", old))])


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("grown")
    log, heads = Log.create(folder / "log", s.ENGINE), {}
    for number, entry in enumerate(ENTRIES, start=1):
        log.append([entry])
        heads[number] = log.checkpoint_bytes
    return Given(folder=folder, log=log, heads=heads)


@pytest.fixture
def given(grown: Given, tmp_path: Path) -> Given:
    return replace(grown, folder=tmp_path)


Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def ask(given: Given, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Exit code and JSON for a file; `trust` is the policy (None: none)."""

    def asked(
        proof: bytes, trust: str | None = TRUST, *, entry: bytes | None = None, old: bytes | None = None
    ) -> tuple[int, dict[str, Any]]:
        more = [] if trust is None else ["--trust", str(given.file("trust.txt", trust.encode()))]
        code = main(given.words(proof, *more, "--json", entry=entry, old=old))
        told = json.loads(capsys.readouterr().out)
        assert code == told["exit_code"]
        assert told.get("accepted", False) == (code in (0, 3))
        return code, told

    return asked


def test_p9_the_proof_of_an_entry_is_checked_and_of_no_other(given: Given, ask: Ask) -> None:
    for index in (0, 3, 19, 20):
        proof = format_proof(given.log.inclusion_proof(index))
        code, told = ask(proof, entry=ENTRIES[index])
        assert (0, index, 21, given.log.root_at(21).hex()) == (code, told["index"], told["size"], told["root"])
        assert ("policy", "entry", s.ENGINE.name) == (told["keys_from"], told["kind"], told["origin"])
        code, told = ask(proof, entry=ENTRIES[index - 1])
        assert (1, 3, True) == (code, told["refused_at"], f"not number {index} of this log" in told["reason"])
    assert 65_535 == ENTRY_BYTES_MAX
    last = format_proof(given.log.inclusion_proof(20))
    for size, reason in ((ENTRY_BYTES_MAX, "not number 20"), (ENTRY_BYTES_MAX + 1, "longer than 65535 bytes")):
        assert reason in ask(last, entry=bytes(size))[1]["reason"]


def test_p9_the_proof_that_a_log_has_only_grown_is_checked(given: Given, ask: Ask) -> None:
    for old, size in ((1, 21), (7, 21), (16, 20), (21, 21)):
        code, told = ask(given.growth(old, size), old=given.heads[old])
        assert (0, "growth", old, size) == (code, told["kind"], told["old"], told["size"])
    code, told = ask(given.growth(7), old=given.heads[8])
    assert (1, 4, True) == (code, told["refused_at"], "has 8 entries, and the file is about 7" in told["reason"])
    code, told = ask(given.growth(0), old=given.heads[1])
    assert (1, 4) == (code, told["refused_at"])


def test_p9_a_log_that_was_rewritten_is_found(given: Given, ask: Ask, tmp_path: Path) -> None:
    """Signed by its own key: what somebody kept of it is what exposes it."""
    other = Log.create(tmp_path / "other", s.ENGINE)
    other.append([b"another beginning", *ENTRIES[1:]])
    forged = Given(folder=tmp_path, log=other, heads={21: other.checkpoint_bytes})
    code, told = ask(forged.growth(7), old=given.heads[7])
    assert (1, 5, True) == (code, told["refused_at"], "does not begin with the 7 of the earlier head" in told["reason"])
    code, told = ask(format_proof(other.inclusion_proof(0)), entry=ENTRIES[0])
    assert (1, 3) == (code, told["refused_at"])
    named = given.heads[7].rpartition(b"\n\n")[0].replace(s.ENGINE.name.encode(), b"another.example") + b"\n"
    code, told = ask(given.growth(7), None, old=named)
    assert (1, 4, True) == (code, told["refused_at"], "one of another log, 'another.example'" in told["reason"])
    mixed = replace(given.log.inclusion_proof(3), checkpoint=other.checkpoint_bytes)
    assert 1 == ask(format_proof(mixed), entry=ENTRIES[3])[0]


def test_p9_without_a_policy_it_holds_together_and_no_more(
    given: Given, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = format_proof(given.log.inclusion_proof(3))
    for made, beside in ((proof, {"entry": ENTRIES[3]}), (given.growth(7), {"old": given.heads[7]})):
        code, told = ask(made, None, **beside)
        assert (3, "nobody") == (code, told["keys_from"])
        assert "Who signed the head: no signature was checked" in told["not_proven"][0]
        assert not any("signed" in line for line in told["proven"])
    assert 3 == main(given.words(proof, entry=ENTRIES[3]))
    said = capsys.readouterr().out
    assert said.startswith("THE PROOF HOLDS TOGETHER, signed by NOBODY WHOM YOU NAMED")
    assert 0 == main(given.words(proof, "--trust", str(given.file("trust.txt", TRUST.encode())), entry=ENTRIES[3]))
    said = capsys.readouterr().out
    assert said.startswith("THE PROOF HOLDS: the entry is number 3 (from 0) of 21 in the log homecoming.example/log.")
    assert "NOBODY" not in said


def test_p9_who_signed_the_heads_is_checked_with_a_policy(given: Given, ask: Ask, tmp_path: Path) -> None:
    stolen = Log.create(tmp_path / "thief", THIEF)
    stolen.append(ENTRIES)
    for data, beside, number in (
        (format_proof(stolen.inclusion_proof(3)), {"entry": ENTRIES[3]}, 2),
        (format_request(replace(parse_request(given.growth(7)), checkpoint=stolen.checkpoint_bytes)),
         {"old": given.heads[7]}, 2),
        (given.growth(21), {"old": stolen.checkpoint_bytes}, 4),
    ):  # fmt: skip
        code, told = ask(data, **beside)
        assert (1, number) == (code, told["refused_at"])
        assert f"that the policy does not trust: {THIEF.verifier.keyid}" in told["reason"]
        assert 3 == ask(data, None, **beside)[0]
    text, gap, tail = given.heads[21].rpartition(b"\n\n")
    resigned = text + gap + tail.replace(tail[40:44], b"AAAA")
    code, told = ask(format_request(replace(parse_request(given.growth(7)), checkpoint=resigned)), old=given.heads[7])
    assert (1, 2, "the signature of the checkpoint is wrong") == (code, told["refused_at"], told["reason"])
    text_of_another = text.replace(s.ENGINE.name.encode(), b"another.example") + b"\n"
    borrowed = sign_note(text_of_another.decode(), [s.ENGINE])
    code, told = ask(format_proof(replace(given.log.inclusion_proof(3), checkpoint=borrowed)), entry=ENTRIES[3])
    assert (1, 2) == (code, told["refused_at"])
    bare = format_request(replace(parse_request(given.growth(7)), checkpoint=text + b"\n"))
    code, told = ask(bare, old=given.heads[7])
    assert (1, 2, True) == (code, told["refused_at"], "nobody signed that head" in told["reason"])
    assert 3 == ask(bare, None, old=given.heads[7])[0]


def test_p9_a_head_of_before_counts_where_the_policy_lists_it(given: Given, ask: Ask) -> None:
    """The log's key changed since: its first key is trusted for that head, and for none besides."""
    now = trust_policy(rotations.ENGINE_2.verifier, s.plan().approvals)
    root = base64.b64encode(given.log.root_at(21)).decode()
    proof = format_proof(given.log.inclusion_proof(3))
    assert 1 == ask(proof, now, entry=ENTRIES[3])[0]
    listing = now + f"before {s.ENGINE.verifier.vkey} 21 {root}\n"
    assert 0 == ask(proof, listing, entry=ENTRIES[3])[0]
    assert 0 == ask(given.growth(21), listing, old=given.heads[21])[0]
    assert 1 == ask(given.growth(20), listing, old=given.heads[20])[0]
    assert 1 == ask(proof, listing.replace(" 21 ", " 20 "), entry=ENTRIES[3])[0]


def test_p9_the_quorum_of_the_policy_has_to_have_cosigned(given: Given, ask: Ask) -> None:
    asking = witnessed.policies()["two-of-three"]
    code, told = ask(format_proof(given.log.inclusion_proof(3)), asking, entry=ENTRIES[3])
    assert (1, 2, True) == (code, told["refused_at"], "is cosigned by no witness" in told["reason"])
    bundle = (Path(make.__file__).parent / "good" / "cosigned.zip").read_bytes()
    start = bundle.index(s.ENGINE.name.encode() + b"\n", bundle.index(b"log/checkpoint"))
    head = bundle[start : bundle.index(b"PK", start)]
    size = int(head.split(b"\n")[1])
    same = format_request(AddCheckpoint(old=size, path=(), checkpoint=head))
    code, told = ask(same, asking, old=head)
    assert (0, True) == (code, len(told["cosigned"]) >= 2)
    assert any(line.startswith("Witness ") for line in told["proven"])


def test_p11_a_policy_that_asks_for_more_than_a_proof_shows_is_not_weakened(given: Given, ask: Ask) -> None:
    lines = {
        "fresh": "fresh 9", "require": "require plan/v1", "tolerate": "tolerate none", "sampled": "sampled 9",
    }  # fmt: skip
    assert {*WORDS} == {*lines, "seed"}
    proof = format_proof(given.log.inclusion_proof(3))
    for line in lines.values():
        code, told = ask(proof, f"{TRUST}{line}\n", entry=ENTRIES[3])
        assert (1, None, "not checked") == (code, told["refused_at"], told["claims"][0]["result"])
        assert "`domicile-audit BUNDLE --trust POLICY" in told["reason"]
    assert 0 == ask(proof, TRUST + "seed agreed\n", entry=ENTRIES[3])[0]


def flipped(data: bytes, step: int) -> Iterator[bytes]:
    yield from (data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] for place in range(0, len(data), step))
    yield from (data[:-1], data + b"\n", b"\n" + data, data.replace(b"\n", b"\r\n"))


def test_p9_one_flipped_byte_is_refused_wherever_it_is(given: Given, ask: Ask) -> None:
    proof = format_proof(given.log.inclusion_proof(3))
    for bent in flipped(proof, 3):
        assert ask(bent, entry=ENTRIES[3])[0] in (1, 2), bent  # 2: by its first line it is none
    for bent in flipped(given.growth(7), 3):
        assert ask(bent, old=given.heads[7])[0] in (1, 2), bent
    for bent in flipped(given.heads[7], 3):
        assert 1 == ask(given.growth(7), old=bent)[0], bent


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"index 3", b"index 03"), (b"index 3", b"index -3"), (b"index 3", b"index 3\nindex 3"),
        (b"index 3", b"extra !\nextra !\nindex 3"), (b"index 3\n", b""), (b"index 3", b"index 21"),
    ],
)  # fmt: skip
def test_p9_a_proof_has_one_spelling(given: Given, ask: Ask, old: bytes, new: bytes) -> None:
    proof = format_proof(given.log.inclusion_proof(3))
    assert old in proof
    assert 1 == ask(proof.replace(old, new, 1), entry=ENTRIES[3])[0]
    nodes = given.log.inclusion_proof(3).path
    for path in ((nodes[0] + b"x", *nodes[1:]), (nodes[0][:31], *nodes[1:]), nodes * 20):
        code, told = ask(format_proof(replace(given.log.inclusion_proof(3), path=path)), entry=ENTRIES[3])
        assert (1, 1) == (code, told["refused_at"])
    for other in (b"old 07", b"old +7", "old \u0667".encode(), b"old 7 "):
        assert 1 == ask(given.growth(7).replace(b"old 7", other), old=given.heads[7])[0], other


def test_p9_extra_data_is_not_believed_and_that_is_said(given: Given, ask: Ask) -> None:
    """A person's receipt is such a proof, too."""
    proof = format_proof(replace(given.log.inclusion_proof(3), extra=b"all is well"))
    code, told = ask(proof, entry=ENTRIES[3])
    assert (0, True) == (code, any("extra data in the file: nobody signed it" in line for line in told["not_proven"]))
    paper = (Path(make.__file__).parent / "papers" / "good" / "given-before.tlog-proof").read_bytes()
    inner = json.loads(parse_proof(paper).extra or b"")
    assert 0 == ask(paper, entry=base64.b64decode(inner["receipts"]["envelope"]))[0]


def test_a_question_that_is_none_says_what_to_give(given: Given, ask: Ask) -> None:
    proof = format_proof(given.log.inclusion_proof(3))
    for made, beside, said in (
        (proof, {}, "the place of an entry; give that, --entry ENTRY"),
        (proof, {"old": given.heads[7]}, "--entry ENTRY, and no --old"),
        (given.growth(7), {}, "that a log has grown; give the checkpoint that you knew, --old HEAD"),
        (given.growth(7), {"entry": ENTRIES[3]}, "--old HEAD, and no --entry"),
    ):
        code, told = ask(made, **beside)
        assert (2, True) == (code, said in told["error"]), told
    with pytest.raises(SystemExit, match="2"):
        main(["proof", str(given.folder / "none"), "--entry", str(given.folder / "none")])


# -- the tree, against the engine's own ----------------------------------------------------------------------------


def test_p9_both_proofs_hold_for_every_place_and_size_and_for_nothing_else(given: Given) -> None:
    roots = {size: given.log.root_at(size) for size in SIZES}
    for size in SIZES:
        for old in range(1, size + 1):
            path = given.log.consistency_proof(old, size)
            require_grown(roots[old], old, roots[size], size, path)
            wrong: list[tuple[Any, ...]] = [
                (roots[old], old, roots[size], size, (*path, bytes(32))), (bytes(32), old, roots[size], size, path),
                (roots[old], old, bytes(32), size, path), (roots[old], 0, roots[size], size, path),
                (roots[old], old, roots[size], old - 1, path), (roots[old], old, roots[size], 4 * size, path),
            ]  # fmt: skip
            wrong += [(roots[old], old, roots[size], size, path[:-1])] if path else []
            wrong += [(roots[old], old, roots[size], size, (*path[:-1], bytes(32)))] if path else []
            for one in wrong:
                with pytest.raises(Refused):
                    require_grown(*one)
    top = given.log.size
    for index in range(top):
        path = given.log.inclusion_proof(index).path
        require_in(roots[top], ENTRIES[index], index, top, path, "x")
    assert hash_leaf(ENTRIES[0]) == roots[1]


def test_p9_the_program_needs_nothing_of_the_engine_and_no_network(given: Given) -> None:
    hook = (
        "import sys\n"
        "def hook(event, args):\n"
        "    if event.startswith('socket.') or event == 'import' and args[0].split('.')[0] in "
        "('domicile', 'psycopg', 'blake3'): sys.exit(f'forbidden: {event} {args[:1]}')\n"
        "sys.addaudithook(hook)\n"
        "from domicile_audit.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = given.words(format_proof(given.log.inclusion_proof(3)), entry=ENTRIES[3])
    done = subprocess.run(
        [sys.executable, "-c", hook, *words], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert (3, "") == (done.returncode, done.stderr)
