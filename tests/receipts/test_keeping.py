"""The private folder: trees, what it tells without its key, and how a nonce goes."""

from __future__ import annotations

import hashlib
import json
import random
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domicile.errors import BadFile, Refused
from domicile.evidence import predicates as p
from domicile.evidence.codec import encode
from domicile.evidence.receipts import keeping, trees
from domicile.evidence.receipts.keeping import Receipts
from domicile.evidence.receipts.leaf import Person, Rows, commit
from domicile.evidence.tlog.merkle import Tree, hash_leaf, root_from_inclusion
from domicile.host import Host
from tests.vectors import receipts as r
from tests.vectors import scenario as s

KEY = bytes(range(32))


def stated(cohort: int, part: int, homes: Mapping[str, int], root: bytes) -> p.ReceiptsPredicate:
    """A statement as a run makes it, of whatever homes."""
    return p.ReceiptsPredicate(
        plan=s.PLAN, clearance=s.digest("clearance"), cohort=cohort, part=part, home_since=s.at(10),
        counted_at=s.at(32),
        homes={home: p.Received(country="US", operator="Home Inc", subjects=count) for home, count in homes.items()},
        root=root.hex(),
    )  # fmt: skip


def made(folder: Path, people: list[Person], *, cohort: int = 0) -> Receipts:
    receipts = Receipts(folder, KEY)
    receipts.make(((cohort, person) for person in people), stated, Host())
    return receipts


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 140), seed=st.integers(0, 2**32))
def test_a_tree_in_a_file_is_that_of_rfc_6962(count: int, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("tree") / "1.tree"
    dice = random.Random(seed)  # noqa: S311 - a test's own dice
    commitments = [dice.randbytes(32) for _ in range(count)]
    root = trees.write(path, commitments)
    expected = Tree(hash_leaf(one) for one in sorted(commitments))
    assert expected.root() == root
    tree, one = trees.Tree(path, count), dice.choice(commitments)
    place = tree.place(one)
    assert expected.inclusion(place) == tree.path(place)
    assert root == root_from_inclusion(hash_leaf(one), index=place, size=count, path=tree.path(place))
    with pytest.raises(BadFile, match="doesn't hold what the log names"):
        tree.place(dice.randbytes(32))


def test_each_person_finds_their_own_leaf_under_the_root_that_was_stated(tmp_path: Path) -> None:
    people = [*r.people(40, "us"), *r.people(10, "ca", first=41)]
    with closing(made(tmp_path / "receipts", people)) as receipts:
        (one,) = receipts.stated()
        assert {"us": 40, "ca": 10} == {home: place.subjects for home, place in one.homes.items()}
        for person in people:
            leaf = receipts.find(person.key, receipts.kinds())
            assert (person.home, person.rows) == (leaf.person.home, leaf.person.rows)
            found = root_from_inclusion(
                hash_leaf(commit(person, leaf.nonce)), index=leaf.place, size=50, path=leaf.path
            )
            assert one.root == found.hex()
        with pytest.raises(Refused, match="no receipt for that key"):
            receipts.find("51", receipts.kinds())


def test_more_people_than_a_tree_holds_are_in_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PART_PEOPLE_MAX", 7)
    monkeypatch.setattr(keeping, "BATCH_PEOPLE", 3)
    receipts = Receipts(tmp_path / "receipts", KEY)
    cohorts = [(1, person) for person in r.people(16, "us")] + [(2, person) for person in r.people(2, "us", first=17)]
    receipts.make(iter(cohorts), stated, Host())
    sizes = [(one.cohort, one.part, one.homes["us"].subjects) for one in receipts.stated()]
    assert [(1, 1, 7), (1, 2, 7), (1, 3, 2), (2, 1, 2)] == sizes
    assert {key: str(n) for n in range(1, 19) if (key := str(n))} == {
        key: receipts.find(key, receipts.kinds()).person.key for key in map(str, range(1, 19))
    }
    assert 18 == receipts.count()
    receipts.close()


def test_one_key_of_two_kinds_of_people_asks_which(tmp_path: Path) -> None:
    people = [Person(kind=kind, key="7", home="us", rows={}) for kind in ("app.public.shop", "app.public.users")]
    with closing(made(tmp_path / "receipts", people)) as receipts:
        with pytest.raises(Refused, match=r"app.public.shop, app.public.users; say which with --kind"):
            receipts.find("7", receipts.kinds())
        assert "app.public.shop" == receipts.find("7", ["app.public.shop"]).person.kind


def test_what_was_broken_off_is_made_anew(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path / "receipts", KEY)

    def broken() -> Iterator[tuple[int, Person]]:
        yield from ((0, person) for person in r.people(5, "us"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        receipts.make(broken(), stated, Host())
    receipts.close()
    again = Receipts(tmp_path / "receipts", KEY)
    assert () == again.stated()
    again.make(((0, person) for person in r.people(5, "us")), stated, Host())
    assert (5, 1) == (again.count(), len(again.stated()))
    again.close()


# -- what it tells -----------------------------------------------------------------------------------------------------


def emails(count: int) -> list[Person]:
    rows = {"app.public.messages": Rows(moved=2, deleted=1, blanked=0)}
    return [Person(kind=r.KIND, key=f"person.{n}@mail.example", home="us", rows=rows) for n in range(count)]


def test_p8_no_file_holds_a_key_and_everything_is_for_its_owner_alone(tmp_path: Path) -> None:
    people = emails(30)
    made(tmp_path / "receipts", people).close()
    assert 0o700 == (tmp_path / "receipts").stat().st_mode & 0o777
    files = {path.name: path for path in (tmp_path / "receipts").iterdir()}
    assert {"people.db", "nonces", "1.tree"} == files.keys()
    assert {0o600} == {path.stat().st_mode & 0o777 for path in files.values()}
    digests = {hashlib.sha256(person.key.encode()).digest() for person in people}
    for path in files.values():
        data = path.read_bytes()
        assert b"mail.example" not in data
        assert not [one for one in digests if one in data or one.hex().encode() in data]


def test_p8_the_log_alone_reveals_nobody_not_even_to_who_knows_all_but_the_nonce(tmp_path: Path) -> None:
    """A cohort of one is the worst case: its root is one leaf. Who guesses e-mail, home and rows right still sees
    nothing; and two runs of the same people have nothing in common."""
    (person,) = emails(1)
    roots = []
    for name in ("one", "two"):
        with closing(made(tmp_path / name, [person])) as receipts:
            (one,) = receipts.stated()
        roots.append(one.root)
        text = encode(one).decode()
        assert not re.search(r"mail|person|messages", text)
        assert {"plan", "clearance", "cohort", "part", "home_since", "counted_at", "homes", "root"} == set(
            json.loads(text)
        )
    assert roots[0] != roots[1]
    email = person.key.encode()
    guesses = [
        bytes(32), b"\xff" * 32, hashlib.sha256(email).digest(), hashlib.sha256(b"\x00" + email).digest(),
        hashlib.sha256(b"").digest(), KEY, *(number.to_bytes(32, "big") for number in range(2_000)),
    ]  # fmt: skip
    assert not {hash_leaf(commit(person, guess)).hex() for guess in guesses} & set(roots)
    openings = [email, json.dumps(person.key).encode(), b"1", hashlib.sha256(email).digest()]
    assert not {hash_leaf(one).hex() for one in openings} & set(roots)


def test_p8_the_place_of_a_leaf_tells_nothing_of_its_key(tmp_path: Path) -> None:
    people = emails(64)
    orders = []
    for name in ("one", "two"):
        with closing(made(tmp_path / name, people)) as receipts:
            orders.append([receipts.find(person.key, receipts.kinds()).place for person in people])
    assert list(range(64)) == sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]  # the same order has a chance of 1 in 64!
    assert list(range(64)) not in orders


def test_p8_two_people_with_the_same_rows_have_nothing_in_common(tmp_path: Path) -> None:
    one, two = emails(2)
    with closing(made(tmp_path / "receipts", [one, two])) as receipts:
        nonces = [receipts.find(person.key, receipts.kinds()).nonce for person in (one, two)]
    assert nonces[0] != nonces[1]
    assert {32} == {len(nonce) for nonce in nonces}


def test_p8_a_leaf_and_a_person_say_nothing_of_themselves() -> None:
    (person,) = emails(1)
    assert "Person(…)" == repr(person) == str(person)


# -- destroying --------------------------------------------------------------------------------------------------------


def test_p8_a_destroyed_nonce_is_in_no_file_and_the_others_still_hold(tmp_path: Path) -> None:
    folder = tmp_path / "receipts"
    with closing(made(folder, emails(9))) as receipts:
        kinds = receipts.kinds()
        gone, kept = (receipts.find(f"person.{n}@mail.example", kinds) for n in (4, 5))
        choice = receipts.choose(["person.4@mail.example"], kinds, s.at(70))
        assert (1, s.at(70)) == (choice.count, choice.moment)
        receipts.overwrite()
        receipts.settle()
        assert 8 == receipts.count()
        with pytest.raises(Refused, match="or its nonce was destroyed"):
            receipts.find("person.4@mail.example", kinds)
        assert kept == receipts.find("person.5@mail.example", kinds)
    for path in folder.iterdir():
        assert gone.nonce not in path.read_bytes()
    assert kept.nonce in (folder / "nonces").read_bytes()


def test_when_the_last_nonce_goes_the_folder_goes_too(tmp_path: Path) -> None:
    with closing(made(tmp_path / "receipts", emails(3))) as receipts:
        assert 3 == receipts.choose(None, receipts.kinds(), s.at(70)).count
        receipts.overwrite()
        assert bytes(96) == (tmp_path / "receipts" / "nonces").read_bytes()
        receipts.settle()
    assert not (tmp_path / "receipts").exists()


def test_a_key_without_a_receipt_destroys_none(tmp_path: Path) -> None:
    with closing(made(tmp_path / "receipts", emails(3))) as receipts:
        with pytest.raises(Refused, match="no receipt for that key"):
            receipts.choose(["person.1@mail.example", "nobody"], receipts.kinds(), s.at(70))
        assert receipts.chosen() is None
        assert 3 == receipts.count()


@pytest.mark.parametrize("rows", ["[" * 100_000, "", "[[0, 1, 2]]", "[[99, 1, 1, 0]]", "7"])
def test_rows_of_a_person_that_are_none_of_ours_are_refused(tmp_path: Path, rows: str) -> None:
    folder = tmp_path / "receipts"
    with closing(made(folder, emails(1))) as receipts:
        with closing(sqlite3.connect(folder / "people.db")) as database:
            database.execute("UPDATE person SET rows = ?", (rows,))
            database.commit()
        with pytest.raises(BadFile, match="can't be read; restore the folder from a copy") as caught:
            receipts.find("person.0@mail.example", receipts.kinds())
        assert "mail.example" not in str(caught.value)


def test_a_damaged_folder_is_said_to_be_one(tmp_path: Path) -> None:
    folder = tmp_path / "receipts"
    with closing(made(folder, emails(3))) as receipts:
        kinds = receipts.kinds()
        (folder / "1.tree").write_bytes(bytes(96))
        with pytest.raises(BadFile, match="doesn't hold what the log names"):
            receipts.find("person.1@mail.example", kinds)
        (folder / "nonces").write_bytes(b"")
        with pytest.raises(BadFile, match="lacks a nonce"):
            receipts.find("person.1@mail.example", kinds)
