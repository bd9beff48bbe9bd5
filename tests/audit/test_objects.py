"""`domicile-audit` on objects of a real S3 server, and of folders: spot checks of single versions, and receipts."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domicile.stores.postgres.server import EmbeddedServer
from domicile_audit.__main__ import main
from domicile_audit.papers.paper import check
from domicile_audit.papers.receipt import as_json, as_text
from domicile_audit.spot.draw import at_most
from domicile_audit.spot.places import Bucket
from tests.audit.handed import FORBIDDING, SEED, Capsys
from tests.audit.moved_objects import (
    BUCKET,
    FILM,
    HIDDEN,
    KEPT_ONE,
    LETTER,
    SHARED,
    VERSIONS,
    Case,
    buckets,
    folders,
    gone,
    url,
)
from tests.servers import ROOT
from tests.stores.objects.weed import READER, Identity, Weed, running


@pytest.fixture(scope="module")
def weed() -> Iterator[Weed]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def erased(pg18: EmbeddedServer, weed: Weed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Whoever changes it puts it back."""
    with buckets(pg18, weed, tmp_path_factory.mktemp("erased"), "gone", source=BUCKET) as case:
        yield case


@pytest.fixture(scope="module")
def locked(pg18: EmbeddedServer, weed: Weed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """The same with a version that a lock keeps at the source."""
    until = datetime.now(UTC) + timedelta(days=3)
    with buckets(pg18, weed, tmp_path_factory.mktemp("locked"), "kept", source="locked", until=until) as case:
        yield case


@pytest.fixture(scope="module")
def compared(pg18: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Folders, compared and approved, nothing erased yet. Whoever changes it puts it back."""
    with folders(pg18, tmp_path_factory.mktemp("compared")) as case:
        yield case


# -- what is there, and what is not ------------------------------------------------------------------------------------


def test_p1_p3_every_version_is_at_home_and_none_at_the_source(erased: Case, capsys: Capsys) -> None:
    """Also three versions of the letter, one with traits, and a delete marker; with rights to read and list only."""
    seen = erased.seen(capsys)
    assert {f"media/ca/objects#{number}" for number in range(VERSIONS)} == seen.keys()
    shared = erased.ids(SHARED)
    assert {("same", "stays")} == {seen[id_] for id_ in shared}
    assert {("same", "gone")} == {one for id_, one in seen.items() if id_ not in shared}
    assert (3, 2) == (len(erased.ids(LETTER)), len(erased.ids(HIDDEN)))
    bounds = json.loads(erased.said)["bounds"]
    assert 2 == sum(f"{VERSIONS} of {VERSIONS} versions of objects drawn, 0 wrong" in line for line in bounds)
    assert 0 == erased.look(capsys)
    assert "NOTHING WRONG FOUND" in erased.said


def test_p9_fewer_are_drawn_by_their_tickets_and_the_bound_says_what_is_open(erased: Case, capsys: Capsys) -> None:
    """Tickets made anew as docs/evidence.md has them; the longer draw holds the shorter one."""
    every = erased.seen(capsys)
    root = bytes.fromhex(json.loads(erased.said)["root"])
    known = b"urn:domicile:draw/v1\x00" + root + hashlib.sha256(SEED.encode()).digest()
    tickets = sorted(every, key=lambda id_: hashlib.sha256(known + id_.encode()).digest())
    assert tickets[:3] == list(erased.seen(capsys, "--draws", "3"))
    open_ones = at_most(VERSIONS, 3, 0)
    assert 0 < open_ones < VERSIONS
    assert 2 == erased.said.count(f"3 of {VERSIONS} versions of objects drawn, 0 wrong: at most {open_ones} of")


@pytest.mark.parametrize("how", ["a byte", "metadata", "missing", "marker"])
def test_p1_an_object_altered_or_lost_at_home_is_found(erased: Case, capsys: Capsys, weed: Weed, how: str) -> None:
    client, key = weed.client(), "gone-ca/" + FILM
    gone(client, "gone-ca/", FILM)
    if how == "a byte":
        client.put_object(Bucket=BUCKET, Key=key, Body=b"film of 3")
    if how == "metadata":
        client.put_object(Bucket=BUCKET, Key=key, Body=b"film of 2", Metadata={"x": "y"})
    if how == "marker":
        client.delete_object(Bucket=BUCKET, Key=key)
    try:
        seen = erased.seen(capsys, code=1)
        (found,) = erased.ids(FILM)
        assert [found] == [id_ for id_, one in seen.items() if one == ("differs", "gone")]
    finally:
        gone(client, "gone-ca/", FILM)
        client.put_object(Bucket=BUCKET, Key=key, Body=b"film of 2")


def test_p1_younger_versions_at_home_are_homes_own_life(erased: Case, capsys: Capsys, weed: Weed) -> None:
    client, key = weed.client(), "gone-ca/" + FILM
    client.put_object(Bucket=BUCKET, Key=key, Body=b"cut anew")
    client.delete_object(Bucket=BUCKET, Key=key)
    assert 0 == erased.look(capsys), erased.said
    gone(client, "gone-ca/", FILM)
    client.put_object(Bucket=BUCKET, Key=key, Body=b"film of 2")


@pytest.mark.parametrize("what", ["object", "marker"])
def test_p3_what_came_back_at_the_source_is_found(erased: Case, capsys: Capsys, weed: Weed, what: str) -> None:
    client, key = weed.client(), "gone-sg/" + FILM
    if what == "object":
        client.put_object(Bucket=BUCKET, Key=key, Body=b"film of 2")
    else:  # a name that tells of somebody, and no bytes
        client.delete_object(Bucket=BUCKET, Key=key)
    try:
        seen = erased.seen(capsys, code=1)
        assert erased.ids(FILM) == [id_ for id_, one in seen.items() if one == ("same", "left")]
    finally:
        gone(client, "gone-sg/", FILM)


def test_p11_what_a_lock_keeps_is_open_and_counts_as_wrong(locked: Case, capsys: Capsys) -> None:
    """The log says that one of ten stays, not which."""
    seen = locked.seen(capsys)
    assert locked.ids(KEPT_ONE) == [id_ for id_, one in seen.items() if one == ("same", "kept")]
    source = next(line for line in json.loads(locked.said)["bounds"] if line.startswith("source") and "objects" in line)
    assert f"0 wrong, 1 undecided and counted as wrong: at most 1 of {VERSIONS}" in source
    assert "of which the log keeps 1 versions in all" in locked.said


def test_p1_before_the_erasure_both_ends_are_held_against_the_log(compared: Case, capsys: Capsys) -> None:
    seen = compared.seen(capsys)
    assert (6, {("same", "same")}) == (len(seen), set(seen.values()))
    for side, wrong in (("media", ("same", "differs")), ("media-ca", ("differs", "same"))):
        path = compared.programme.folder.parent / side / LETTER
        before = path.read_bytes()
        path.write_bytes(b"fo 2")
        seen = compared.seen(capsys, code=1)
        assert compared.ids(LETTER) == [id_ for id_, one in seen.items() if one == wrong]
        path.write_bytes(before)


def test_p1_a_link_in_the_place_of_a_file_is_no_file(compared: Case, capsys: Capsys, tmp_path: Path) -> None:
    """It leads to something else whenever its owner likes."""
    path = compared.programme.folder.parent / "media-ca" / LETTER
    before = path.read_bytes()
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(before)
    path.symlink_to(tmp_path / "elsewhere")
    seen = compared.seen(capsys, code=1)
    assert compared.ids(LETTER) == [id_ for id_, one in seen.items() if one == ("differs", "same")]
    assert 1 == compared.look(capsys)
    assert "WRONG: 1 of 8 drawn slices and versions of objects" in compared.said
    path.unlink()
    path.write_bytes(before)


def test_p11_what_people_changed_at_a_home_without_versions_is_left_open(compared: Case, capsys: Capsys) -> None:
    path = compared.programme.folder.parent / "media-ca" / LETTER
    before = path.read_bytes()
    path.write_bytes(b"written anew")
    seen = compared.seen(capsys, "--lived-in")
    assert compared.ids(LETTER) == [id_ for id_, one in seen.items() if one == ("changed since", "same")]
    assert "6 of 6 versions of objects drawn, 0 wrong, 1 undecided and counted as wrong" in compared.said
    path.unlink()
    assert 0 == compared.look(capsys, "--lived-in")
    path.write_bytes(before)


# -- the audit key -----------------------------------------------------------------------------------------------------


def _swap(lines: list[bytes]) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def _alter(lines: list[bytes]) -> None:
    lines[1] = lines[1][:-2] + (b"0" if lines[1][-2:-1] != b"0" else b"1") + b"\n"


def _hush(lines: list[bytes]) -> None:
    at = next(number for number, line in enumerate(lines) if b" leaves " in line)
    lines[at] = lines[at].replace(b" leaves ", b" stays ")


def _count(by: int) -> Callable[[list[bytes]], None]:
    def change(lines: list[bytes]) -> None:
        head = json.loads(lines[0])
        head["objects"]["media/ca/objects"] += by
        lines[0] = json.dumps(head).encode() + b"\n"

    return change


def _unlisted(lines: list[bytes]) -> None:
    head = json.loads(lines[0])
    del head["objects"]
    lines[:] = [json.dumps(head).encode() + b"\n"]


def test_p1_p11_a_list_that_lies_is_not_the_logs(erased: Case, capsys: Capsys, tmp_path: Path) -> None:
    """An object left out, altered, in another order, or called one that stays, so that nobody looks for it outside."""
    other = "are not those of the log"
    key = erased.key
    for number, (change, said) in enumerate((
        (_swap, other), (_alter, other), (_hush, "another number of versions"), (_count(-1), other),
        (lambda lines: (lines.pop(), _count(-1)(lines)), other), (lambda lines: lines.pop(), "is cut"),
        (_count(1), "is cut"), (lambda lines: lines.append(b"x"), "more lines than it says"),
        (lambda lines: lines.insert(1, b"\n"), "is cut, or is none"), (_unlisted, "does not list the objects of slice"),
    )):  # fmt: skip
        key = erased.bent(tmp_path / f"{number}.key", change)
        assert 2 == erased.look(capsys, key=key), number
        assert said in erased.said, number
    assert 0 == erased.look(capsys, key=key, places={}), erased.said  # rows can be looked at all the same


def test_p8_the_audit_key_holds_no_key_of_an_object(erased: Case, compared: Case) -> None:
    for case in (erased, compared):
        held = case.key.read_bytes()
        assert held.isascii()
        assert not [name for name in (b"letter", b"videos", b"u/2", b"mp4") if name in held]


# -- rights, and questions that are none -------------------------------------------------------------------------------


def test_p11_nobody_looked_is_said_and_the_policy_asks_for_it(erased: Case, capsys: Capsys, tmp_path: Path) -> None:
    policy = tmp_path / "sampled.txt"
    report = tmp_path / "report.json"
    final = ["--trust", str(policy), "--spot", str(report)]
    policy.write_text((erased.programme.folder / "trust.txt").read_text() + "sampled 50\n")
    for places, code, said in (
        ({}, 1, "the spot check did not look at objects"),
        ({"media@ca": erased.places["media@ca"]}, 1, "the spot check did not look at the source"),
        (erased.places, 0, f"{VERSIONS} of {VERSIONS} versions of objects drawn"),
    ):
        assert 0 == erased.look(capsys, "--json", places=places), erased.said
        spoken = json.loads(erased.said)["bounds"]
        assert (not places) == (f"objects: nobody looked at the {VERSIONS} versions in the log" in "".join(spoken))
        report.write_text(erased.said)
        assert code == main([str(erased.programme.workspace.bundle), *final]), places
        assert said in " ".join(capsys.readouterr().out.split())
    value = json.loads(report.read_text())
    value["objects"].pop(0)
    report.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n")
    with pytest.raises(SystemExit, match="2"):
        main([str(erased.programme.workspace.bundle), *final])
    assert "other slices than its seed draws" in capsys.readouterr().err


def test_a_place_that_is_none_or_denies_is_told_apart_and_tells_no_secret(
    erased: Case, capsys: Capsys, weed: Weed, tmp_path: Path
) -> None:
    home, address = erased.places["media@ca"], weed.endpoint.removeprefix("http://")
    wrong = Identity(key_id=READER.key_id, secret="not-to-be-seen", actions=())
    for places, said in (
        ({"media": erased.places["media"]}, "give --objects media@ca=PLACE"),
        ({"media@ca": url(weed, "gone-ca/", who=wrong)}, "media@ca: it refuses (SignatureDoesNotMatch)"),
        ({"media@ca": url(weed, "", bucket="nowhere")}, "media@ca: it refuses ("),
        ({"media@ca": "http://a:not-to-be-seen@127.0.0.1:1/b"}, "media@ca: no answer (EndpointConnectionError)"),
        ({"media@ca": f"http://a:not-to-be-seen@{address}/"}, "that is no https://KEY"),
        ({"media@ca": f"http://a:not-to-be-seen@{address}/b?zone=1"}, "that is no https://KEY"),
        ({"media@ca": str(tmp_path / "none")}, "media@ca: no folder, and no URL of a bucket"),
        ({"media@ca": "env:NO_SUCH_VARIABLE"}, "there is no such variable"),
        ({"media@ca": home, "media": ""}, "--objects takes STORE@HOME=PLACE"),
    ):  # fmt: skip
        assert 2 == erased.look(capsys, places=places), said
        assert said in erased.said
        assert "not-to-be-seen" not in erased.said


def test_p11_a_store_that_does_not_tell_of_versions_is_not_believed(weed: Weed) -> None:
    """It answers another question with a list that has none; "nothing is there" would follow from it."""
    weed.bucket(BUCKET)
    place = Bucket("media", url(weed, "gone-sg/"))
    with pytest.raises(ValueError, match="does not tell of versions"):
        place._keep_order({"status_code": 200, "body": b"<ListBucketResult></ListBucketResult>"}, {})


def test_p8_no_key_of_an_object_is_sent_to_the_source(
    erased: Case, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requests would be in the access log of a server that is to be rid of these names."""
    sent: dict[str, list[str]] = {}
    opened = Bucket._opened

    def listening(self: Bucket, endpoint: str, options: dict[str, str]) -> Any:
        client = opened(self, endpoint, options)
        client.meta.events.register(
            "before-send.s3.*", lambda request, **_: sent.setdefault(self.name, []).append(request.url)
        )
        return client

    monkeypatch.setattr(Bucket, "_opened", listening)
    assert 0 == erased.look(capsys), erased.said
    assert 1 == len(sent["media"])
    assert "prefix=gone-sg" in sent["media"][0]
    assert [] == [name for name in ("letter", "videos", "hidden") if name in sent["media"][0]]
    assert any("letter" in one for one in sent["media@ca"])


def test_p9_objects_in_folders_need_neither_the_engine_nor_boto3(compared: Case) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "CA": compared.homes}
    environment |= {"THERE": compared.places["media@ca"], "HERE": compared.places["media"]}
    words = ["spot-check", str(compared.bundle), "--key", str(compared.key), "--seed", SEED, "--home", "ca=env:CA"]
    words += ["--objects", "media@ca=env:THERE", "--objects", "media=env:HERE"]
    done = subprocess.run(
        [sys.executable, "-c", f"FORBIDDEN = ('domicile', 'boto3', 'botocore')\n{FORBIDDING}", *words], env=environment,
        text=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)
    assert "home: 6 of 6 versions of objects drawn, 0 wrong" in done.stdout
    assert "source: nobody looked there for slices" in done.stdout


# -- receipts ----------------------------------------------------------------------------------------------------------


def receipt(case: Case, key: str) -> Any:
    """What somebody's receipt says, by their own program, which must accept it."""
    path = case.programme.folder / f"{key}.tlog-proof"
    with case.programme.opened() as opened:
        path.write_bytes(opened.receipt(key))
    found = check(path.read_bytes())
    assert found.accepted, found.reason
    return {**json.loads(as_json(found)), "text": as_text(found)}


def test_p9_receipts_count_versions_by_rows_keys_and_labels(erased: Case) -> None:
    """By hand: 2 has three letters, a film, an export; 4 three by its key, and a film that one who stays has, too."""
    for key, moved, deleted in (("2", 5, 5), ("4", 4, 3), ("6", 2, 2)):
        said = receipt(erased, key)
        counts = {"moved": moved, "deleted": deleted, "blanked": 0}
        assert {"media": counts} == said["objects"]
        assert counts == said["person"]["rows"]["media"]
        assert f"media                  {moved}          {deleted}          {moved - deleted}" in said["text"]


def test_p11_a_receipt_of_what_a_lock_keeps_says_where_it_still_is(locked: Case) -> None:
    """It was to be erased, and the certificate of all people tells of one version less: no contradiction."""
    said = receipt(locked, "6")
    assert {"media": {"moved": 2, "deleted": 2, "blanked": 0}} == said["objects"]
    assert "Places of media outside:" in said["text"]
    assert "1 STILL THERE: not to be erased before a date" in " ".join(said["text"].split())
