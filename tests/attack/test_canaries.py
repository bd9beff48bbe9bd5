"""Canaries of the operator's own, and an auditor's that are sealed: told too late to be spared (P3, P11)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domicile.errors import BadFile, HostFault, Refused, Waiting
from domicile.evidence import canaries
from domicile.evidence.predicates import CertificatePredicate, FindingPredicate
from domicile.host import Host
from domicile.run import sealed
from tests.attack.conftest import World, Worlds
from tests.attack.test_second_thoughts import RULES, SCHEMA

Planted = tuple[World, Path]


@pytest.fixture
def planted(world: Worlds) -> Planted:
    """A world into which a monitor has written three words by the front door, and told nobody."""
    made = world(SCHEMA, RULES)
    shown = made.programme.command("canary", "new", "monitor", "--count", "3", "--json")
    assert 0 == shown.returncode, shown.stderr
    for number, word in enumerate(json.loads(shown.stdout)["words"], start=1):
        made.at_source(f"INSERT INTO note (person_id, body) VALUES ({2 * number}, 'remember {word}')")
    assert 0 == made.programme.command("canary", "seal", "monitor.canaries").returncode
    return made, made.programme.folder / "monitor.canaries"


def findings(made: World) -> list[tuple[str, str, int]]:
    with made.programme.opened() as run:
        found = [recorded.predicate for recorded in run.ledger.statements()]
    return [
        (one.kind, one.where, one.count) for one in found if isinstance(one, FindingPredicate) and "canar" in one.kind
    ]


def certificate(made: World) -> CertificatePredicate:
    with made.programme.opened() as run:
        found = run.last(CertificatePredicate)
    assert found
    assert isinstance(found.predicate, CertificatePredicate)
    return found.predicate


def test_p3_sealed_canaries_are_looked_for_once_they_are_opened(planted: Planted) -> None:
    made, secret = planted
    assert 0 == made.programme.command("canary", "seal", "monitor.seal").returncode
    made.programme.clear()
    assert [("canaries sealed", "monitor", 3)] == findings(made)
    early = made.programme.command("canary", "open", str(secret))
    assert (1, True) == (early.returncode, "could still be spared" in early.stderr)
    with pytest.raises(Waiting, match=r"sealed and not opened: monitor \(3\)"):
        made.programme.apply(yes=True)
    word = canaries.load(secret).words[0]
    made.at_source(f"UPDATE person SET email = 'copied of {word}' WHERE id = 1")  # of somebody who stays
    assert 0 == made.programme.command("canary", "open", str(secret)).returncode
    made.programme.apply(yes=True)
    told = certificate(made)
    assert "present" == told.verdict.value
    assert [("canaries sealed", "monitor", 3), ("canaries opened", "monitor", 3)] == findings(made)
    (kept,) = (copy for copy in told.copies if copy.id == "app/live-rows:public.person")
    assert "canary" in kept.why
    assert word not in kept.why
    assert 0 == made.programme.audit().returncode


def test_p11_what_was_never_opened_is_said_in_the_certificate(planted: Planted) -> None:
    made, _ = planted
    assert 0 == made.programme.command("canary", "seal", "monitor.seal").returncode
    made.programme.clear()
    with pytest.raises(Waiting):
        made.programme.apply(yes=True)
    assert 0 == made.programme.command("certify").returncode
    assert any("3 canaries that monitor sealed were never opened" in line for line in certificate(made).not_proven)


def test_p9_other_words_than_the_sealed_ones_open_nothing(planted: Planted) -> None:
    made, secret = planted
    assert 0 == made.programme.command("canary", "seal", "monitor.seal").returncode
    made.programme.clear()
    with pytest.raises(Waiting):
        made.programme.apply(yes=True)
    body = json.loads(secret.read_text())
    body["words"] = body["words"][:2]  # the one that would be found is spared
    secret.write_text(json.dumps(body))
    refused = made.programme.command("canary", "open", str(secret))
    assert (30, True) == (refused.returncode, "not the canaries of any seal" in refused.stderr)
    late = made.programme.command("canary", "seal", "monitor.seal")
    assert 0 == late.returncode  # the same seal again is no news
    other = canaries.invent("other", 2, Host())
    canaries.save_seal(made.programme.folder / "other.seal", other.seal)
    late = made.programme.command("canary", "seal", "other.seal")
    assert (1, True) == (late.returncode, "something was erased already" in late.stderr)


def test_p2_the_seal_stands_in_the_log_before_the_clearance(planted: Planted) -> None:
    made, _ = planted
    assert 0 == made.programme.command("canary", "seal", "monitor.seal").returncode
    made.programme.clear()
    with pytest.raises(Waiting):
        made.programme.apply(yes=True)
    with made.programme.opened() as run:
        found = [recorded.predicate for recorded in run.ledger.statements()]
    kinds = [one.kind if isinstance(one, FindingPredicate) else one.KIND for one in found]
    assert kinds.index("canaries sealed") < kinds.index("clearance/v1")


def test_find_looks_through_folders_also_by_another_spelling(tmp_path: Path, planted: Planted) -> None:
    made, secret = planted
    word = canaries.load(secret).words[1]
    for name in ("clean", "dirty"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("nothing here")
    (tmp_path / "dirty" / "deep").mkdir()
    (tmp_path / "dirty" / "deep" / "b.json").write_text(json.dumps({"what": word.upper(), "more": word}))
    clean = made.programme.command("canary", "find", str(secret), str(tmp_path / "clean"))
    assert 0 == clean.returncode, clean.stderr
    found = made.programme.command("canary", "find", str(secret), str(tmp_path / "dirty"), "--json")
    assert 1 == found.returncode
    assert [1] == [folder["words"] for folder in json.loads(found.stdout)]
    assert ["deep/b.json"] == json.loads(found.stdout)[0]["places"]
    assert word not in found.stdout


def test_p8_a_seal_tells_no_word_and_two_of_the_same_words_differ() -> None:
    one = canaries.invent("monitor", 5, Host())
    other = canaries.Canaries(by=one.by, salt=bytes(32), words=one.words)
    assert one.seal != other.seal
    assert not any(word in repr(one) + repr(one.seal) for word in one.words)
    assert canaries.opens(one, [other.seal, one.seal]) == one.seal
    assert canaries.opens(one, [other.seal]) is None


def test_a_file_is_never_overwritten_and_never_readable_by_others(tmp_path: Path) -> None:
    made = canaries.invent("monitor", 1, Host())
    canaries.save(tmp_path / "one", made)
    assert 0o600 == (tmp_path / "one").stat().st_mode & 0o777
    assert made == canaries.load(tmp_path / "one")
    with pytest.raises(HostFault, match="nothing was overwritten"):
        canaries.save(tmp_path / "one", made)
    with pytest.raises(BadFile):
        canaries.load_seal(tmp_path / "one")  # the secret is not handed over by mistake


BAD: dict[str, Callable[[], object]] = {
    "a name with a slash": lambda: canaries.invent("../x", 1, Host()),
    "none": lambda: canaries.invent("x", 0, Host()),
    "too many": lambda: canaries.invent("x", canaries.WORDS_MAX + 1, Host()),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_what_can_be_no_canaries_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(BadFile):
        make()


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(gzip.compress), st.text(max_size=80).map(
    lambda text: json.dumps({"by": text, "salt": "00" * 32, "words": [text]}).encode()
)))  # fmt: skip
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(data)
    for read in (canaries.load, canaries.load_seal):
        try:
            read(path)
        except BadFile:
            continue


def test_one_person_seals_once(planted: Planted) -> None:
    made, secret = planted
    with made.programme.opened() as run:
        sealed.hand_over(run.record, canaries.load(secret).seal)
        with pytest.raises(Refused, match="another seal"):
            sealed.hand_over(run.record, canaries.invent("monitor", 1, Host()).seal)
