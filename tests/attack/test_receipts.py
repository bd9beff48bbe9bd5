"""Receipts from a real database: every person's rows counted as by hand, whatever way they lead, and what follows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from domicile import config
from domicile.errors import Refused, WorldChanged
from domicile.evidence.predicates import CertificatePredicate, ErasurePredicate, ReceiptsPredicate
from domicile.evidence.receipts.keeping import Receipts
from domicile.host import Host
from domicile.run import Run, guarding, receipting
from domicile.run.at_once import AtOnce
from domicile.run.clearing import Clearing
from tests.attack.conftest import World, Worlds
from tests.attack.programme import PERSON
from tests.servers import ROOT

SCHEMA: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text, handle text, email text);
INSERT INTO person SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, 'h' || i, 'e' || i
    FROM generate_series(1, 8) AS i;
CREATE TABLE shop (code text PRIMARY KEY, market text, email text);
INSERT INTO shop VALUES ('2', 'CA', 'a'), ('s''x', 'CA', 'b'), ('s3', 'SG', 'c');
CREATE TABLE letter (id int PRIMARY KEY, sender int REFERENCES person, recipient int REFERENCES person, body text);
INSERT INTO letter SELECT 10 * s.id + r.id, s.id, r.id, 'l' FROM person AS s, person AS r WHERE s.id <= r.id;
CREATE TABLE bill (id int PRIMARY KEY, payer int REFERENCES person, seller text REFERENCES shop, body text);
INSERT INTO bill SELECT i, CASE WHEN i % 5 > 1 THEN i % 8 + 1 END,
    CASE WHEN i % 4 > 0 THEN (ARRAY['2', 's''x', 's3'])[i % 3 + 1] END, 'b'
    FROM generate_series(1, 60) AS i WHERE i % 5 > 1 OR i % 4 > 0;
CREATE TABLE gift (id int PRIMARY KEY, giver int REFERENCES person, taker int REFERENCES person, body text);
INSERT INTO gift SELECT 10 * s.id + r.id, s.id, r.id, 'g' FROM person AS s, person AS r;
CREATE TABLE post (id int PRIMARY KEY, author int NOT NULL REFERENCES person, mentions int[], body text);
INSERT INTO post SELECT i, i % 8 + 1, ARRAY[i % 5 + 1, i % 3 + 1, i % 8 + 1], 'p' FROM generate_series(1, 30) AS i;
CREATE TABLE clip (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, title text, ip text);
INSERT INTO clip SELECT i, i % 8 + 1, 't', '10.0.0.1' FROM generate_series(1, 20) AS i;
CREATE TABLE remark (id int PRIMARY KEY, clip_id int NOT NULL REFERENCES clip, body text);
INSERT INTO remark SELECT i, i % 20 + 1, 'r' FROM generate_series(1, 50) AS i;
CREATE TABLE seen (person_id int NOT NULL REFERENCES person, what text);
INSERT INTO seen SELECT i % 8 + 1, 'w' || i % 2 FROM generate_series(1, 40) AS i;
"""
RULES: Final = (
    PERSON
    + """
other_subjects:
  - {dataset: app.public.shop, key: code, market: {field: market}}
datasets:
  app.public.person:
    rows: split
    fields: {id: public, market: public, handle: public, email: private}
  app.public.shop: {rows: move}
  app.public.letter: {rows: move, subjects: {by: [sender, recipient], shared: each}}
  app.public.bill:
    rows: move
    subjects: {by: [payer, seller], shared: first}
    edges: {seller: {apart: {home: whole, source: whole}}}
  app.public.gift: {rows: move, subjects: {by: [giver, taker], shared: any}}
  app.public.post: {rows: move, subjects: {by: [author, {via: "mentions[]", to: app.public.person}], shared: each}}
  app.public.clip:
    rows: split
    path: person_id
    fields: {id: public, person_id: public, title: public, ip: private}
  app.public.remark: {rows: move, path: [clip_id, person_id]}
  app.public.seen: {rows: move, path: person_id}
"""
)
# Of one person (or shop): which rows lead there, and which of them leave, by hand.
BY_HAND: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "app.public.person": {
        "app.public.person": ("id = {}", "true"),
        "app.public.letter": ("{} IN (sender, recipient)", "sender % 2 = 0 AND recipient % 2 = 0"),
        "app.public.bill": ("payer = {}", "true"),
        "app.public.gift": ("{} IN (giver, taker)", "true"),
        "app.public.post": (
            "(author = {0} OR {0} = ANY(mentions))", "author % 2 = 0 AND NOT mentions && ARRAY[1, 3, 5, 7]"),
        "app.public.clip": ("person_id = {}", "true"),
        "app.public.remark": ("(SELECT c.person_id FROM clip AS c WHERE c.id = clip_id) = {}", "true"),
        "app.public.seen": ("person_id = {}", "true"),
    },
    "app.public.shop": {
        "app.public.shop": ("code = {}", "false"),  # bills of others refer to both
        "app.public.bill": ("payer IS NULL AND seller = {}", "true"),
    },
}  # fmt: skip
SPLIT: Final = ("app.public.person", "app.public.clip")
PEOPLE: Final = {"app.public.person": ("2", "4", "6", "8"), "app.public.shop": ("2", "s'x")}


def by_hand(made: World, kind: str, key: str) -> dict[str, dict[str, int]]:
    """The rows of one person, by dataset."""
    found = {}
    literal = key if kind == "app.public.person" else "'" + key.replace("'", "''") + "'"
    for dataset, (leads, leaves) in BY_HAND[kind].items():
        ((moved, gone),) = made.at_source(
            f"SELECT count(*), count(*) FILTER (WHERE {leaves}) FROM {dataset.removeprefix('app.')}"
            f" WHERE {leads.format(literal)}"
        )
        split = dataset in SPLIT
        if moved:
            found[dataset] = {"moved": moved, "deleted": 0 if split else gone, "blanked": gone if split else 0}
    return found


def audited(world: World, file: str, *options: str, code: int | None = None) -> Any:
    """The word of the person's own program on a receipt, as values; without a policy it holds together, no more."""
    done = subprocess.run(
        [sys.executable, "-m", "domicile_audit", "receipt", file, *options, "--json"], cwd=world.programme.folder,
        env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (code if code is not None else 0 if options else 3) == done.returncode, done.stdout + done.stderr
    return json.loads(done.stdout)


def receipt_of(world: World, kind: str, key: str) -> Any:
    done = world.programme.command("subject", "receipt", key, "--kind", kind)
    assert 0 == done.returncode, done.stderr
    return audited(world, "receipt.tlog-proof")


def kinds(world: World) -> list[str]:
    with world.programme.opened() as run:
        return [one.predicate.KIND for one in run.ledger.statements()]


def test_p9_every_person_is_told_the_rows_that_are_counted_by_hand(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    expected = {(kind, key): by_hand(made, kind, key) for kind, keys in PEOPLE.items() for key in keys}
    assert {8, 2} == {len(rows) for rows in expected.values()}
    made.programme.finish()
    told = kinds(made)
    assert told.index("clearance/v1") < told.index(ReceiptsPredicate.KIND) < told.index(ErasurePredicate.KIND)
    for (kind, key), rows in expected.items():
        said = receipt_of(made, kind, key)
        assert (kind, key, "ca") == (said["person"]["kind"], said["person"]["key"], said["person"]["home"])
        assert rows == said["person"]["rows"], (kind, key)
    for key in ("1", "3", "s3", "e2", ""):
        refused = made.programme.command("subject", "receipt", key)
        assert (1, True) == (refused.returncode, "no receipt for that key" in refused.stderr)
    assert 1 == made.programme.command("subject", "receipt", "2").returncode  # a person's and a shop's
    _hand_the_key_on_and_look(made, *next(iter(expected)))
    _destroy_and_look(made)


def _hand_the_key_on_and_look(made: World, kind: str, key: str) -> None:
    """The log's key changes: each receipt holds with each policy, and a monitor goes on from what it saw."""
    folder, command = made.programme.folder, made.programme.command
    watch = (
        "monitor",
        str(made.programme.workspace.evidence / "log"),
        "--trust",
        "old.txt",
        "--state",
        "seen",
        "--json",
    )
    receipt_of(made, kind, key)
    (folder / "receipt.tlog-proof").rename(folder / "before.tlog-proof")
    (folder / "old.txt").write_text(command("log", "policy").stdout)
    first = json.loads(command(*watch).stdout)["log"]
    assert 0 == command("keys", "rotate", "--log", "--why", "yearly").returncode
    made.programme.apply(yes=True)
    (folder / "new.txt").write_text(command("log", "policy").stdout)
    receipt_of(made, kind, key)
    log_keys = [
        audited(made, file, "--trust", policy)["log_keys"]
        for file in ("before.tlog-proof", "receipt.tlog-proof")
        for policy in ("old.txt", "new.txt")
    ]
    looked = command(*watch)
    assert (0, "") == (looked.returncode, looked.stderr)
    last = json.loads(looked.stdout)["log"]
    assert [[first], [first], [first, last], [first, last]] == log_keys
    (folder / "new.txt").write_text((folder / "new.txt").read_text().replace("\nbefore ", "\n# "))
    audited(made, "before.tlog-proof", "--trust", "new.txt", code=1)


class _Stopped(Host):
    """A clock that stands still, and is behind."""

    def now(self) -> datetime:
        return datetime(2026, 11, 22, tzinfo=UTC)


def _destroy_and_look(made: World) -> None:
    """Two in a row, each told; the certificate is the last word after each, and the bundle is accepted."""
    size = len(kinds(made))
    assert 1 == made.programme.command("subject", "forget", "4").returncode
    assert size == len(kinds(made))
    assert 0 == made.programme.command("subject", "forget", "4", "--yes").returncode
    parsed, data = config.read(made.programme.folder / "domicile.yaml")
    host = _Stopped(environment=made.programme.environment)
    with Run.opened(made.programme.workspace, parsed, data, host=host) as run:
        assert [1, 1] == [run.destroy_receipts([key], kind="app.public.person") for key in ("6", "2")]
    assert ["finding/v1", "finding/v1", CertificatePredicate.KIND] * 3 == kinds(made)[size:]
    assert 1 == made.programme.command("subject", "receipt", "4").returncode
    assert made.programme.audit().returncode == 0
    assert "8" == receipt_of(made, "app.public.person", "8")["person"]["key"]
    done = made.programme.command("restore-guard", "--destroy-key", "--yes")
    assert (0, True) == (done.returncode, "3 people's receipts with it" in done.stdout)
    assert not (made.programme.folder / ".domicile" / "receipts").exists()
    refused = made.programme.command("subject", "receipt", "8")
    assert (1, True) == (refused.returncode, "no receipts are kept here" in refused.stderr)
    assert made.programme.audit().returncode == 0
    made.programme.apply(yes=True)  # finished before: nothing to do
    assert CertificatePredicate.KIND == kinds(made)[-1]


SMALL: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text);
INSERT INTO person VALUES (1, 'SG'), (2, 'CA'), (4, 'CA');
CREATE TABLE note (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, body text);
INSERT INTO note SELECT i, CASE WHEN i % 2 = 0 THEN 2 ELSE 1 END, 'n' FROM generate_series(1, 8) AS i;
"""
SMALL_RULES: Final = (
    PERSON + "datasets: {app.public.person: {rows: move}, app.public.note: {rows: move, path: person_id}}\n"
)


def test_p5_killed_between_the_folder_and_the_log_the_same_receipts_are_stated(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world(SMALL, SMALL_RULES)
    made.programme.clear()
    with monkeypatch.context() as patched:
        patched.setattr(receipting, "_refuse_others", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            made.programme.apply(yes=True)
    with made.programme.opened() as run:
        before = _stated(run.workspace.folder)
        assert run.last(ReceiptsPredicate) is None
        assert run.last(ErasurePredicate) is None
    made.programme.apply(yes=True)
    with made.programme.opened() as run:
        found = [one.predicate for one in run.ledger.statements() if isinstance(one.predicate, ReceiptsPredicate)]
    assert before == tuple(found)
    assert 4 == receipt_of(made, "app.public.person", "2")["person"]["rows"]["app.public.note"]["deleted"]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _stated(folder: Path) -> tuple[ReceiptsPredicate, ...]:
    kept = Receipts(folder / "receipts", bytes(32))
    try:
        return kept.stated()
    finally:
        kept.close()


@pytest.mark.parametrize("killed", [False, True])
def test_other_people_than_went_home_stop_the_erasure(
    world: Worlds, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> None:
    """Somebody takes a person off the source's list: receipts of fewer people than the log names are not stated.

    Also not by the next run, where this one is killed as they are made and before they are counted; nor is the fence
    stated once more, of fewer people.
    """
    made = world(SMALL, SMALL_RULES)
    made.programme.clear()
    commit = guarding.commit

    def tampered(*given: Any) -> None:
        query = r"SELECT tablename FROM pg_tables WHERE schemaname = 'domicile' AND tablename LIKE 's\_%'"
        ((table,),) = made.at_source(query)
        made.at_source(f"DELETE FROM domicile.{table} WHERE key = 4")
        commit(*given)

    said = "1 people are in the source's list where the log says that 2 went home"
    with monkeypatch.context() as patched:
        patched.setattr(guarding, "commit", tampered)
        if killed:
            patched.setattr(receipting, "_refuse_others", _interrupt)
        with pytest.raises(KeyboardInterrupt if killed else WorldChanged, match=None if killed else said):
            made.programme.apply(yes=True)
    assert killed == (made.programme.folder / ".domicile" / "receipts").exists()
    with monkeypatch.context() as patched:
        if killed:  # as if the fence had been the same: what was made is counted all the same
            patched.setattr(AtOnce, "_cut_over", lambda *_: None)
        with pytest.raises(WorldChanged, match=said if killed else "the fence at the source is not the one in the log"):
            made.programme.apply(yes=True)
    assert {ReceiptsPredicate.KIND, ErasurePredicate.KIND}.isdisjoint(kinds(made))
    assert not (made.programme.folder / ".domicile" / "receipts").exists()


def test_a_run_whose_erasure_began_without_them_has_none(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world(SMALL, SMALL_RULES)
    made.programme.clear()
    with monkeypatch.context() as patched:
        patched.setattr(receipting, "make", lambda *_: None)  # as an engine did that knew no receipts
        patched.setattr(Clearing, "_erase_group", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            made.programme.apply(yes=True)
    assert ErasurePredicate.KIND == kinds(made)[-1]
    made.programme.apply(yes=True)
    assert ReceiptsPredicate.KIND not in kinds(made)
    assert made.programme.audit().returncode == 0
    with made.programme.opened() as run, pytest.raises(Refused, match="no receipts are kept here"):
        receipting.receipt(run.record, "2")
