"""Packed files: what is inside is found; what can't be opened is a gap with its reason, never passed over (P3, P11)."""

from __future__ import annotations

import gzip
import io
import sqlite3
import struct
import subprocess
import tarfile
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import lz4.block
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domicile.errors import NotPermitted
from domicile.proof import Verdict
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment
from domicile.sweep import CopySearch, TokenClass, Tokens, decide
from domicile.sweep.containers import Limits, search_source
from domicile.sweep.search import TOKEN_IN_NAME, Tally, View
from domicile.sweep.verdict import Question
from tests.sweep.packing import CANARY, OTHER, PACKS, SPOT, Stored, content, looked_into, pdf, tarred, zipped

SMALL = Limits(unpacked_bytes_free=1_000_000, ratio_max=20)


def whys(search: CopySearch) -> list[str]:
    return [gap.why for gap in search.gaps]


def verdict(search: CopySearch) -> Verdict:
    """What a copy gets that was treated, and of which this was searched."""
    copy = Copy(id=SPOT.copy, kind=CopyKind.SERVER_FILES, relation=None, method="", observable=True, why="")
    outcome = Outcome(copy=SPOT.copy, treatment=Treatment.OBSERVED, why="looked at")
    return decide(copy, outcome, search, Question(tokens_searched=1, sampled=False, rows_erased=True)).verdict


@pytest.mark.parametrize("streamed", [False, True], ids=["file", "stream"])
@pytest.mark.parametrize("name", PACKS)
def test_p3_what_is_packed_is_found_and_another_value_is_not(name: str, streamed: bool) -> None:
    found = looked_into(PACKS[name](content()), streamed=streamed)
    assert View.PACKED in {finding.view for finding in found.findings}
    assert {SPOT.path} == {finding.path for finding in found.findings}
    assert [] == whys(found)
    assert Verdict.PRESENT == verdict(found)
    clean = looked_into(PACKS[name](content(OTHER)), streamed=streamed)
    assert 0 == clean.hits
    assert [] == whys(clean)
    assert Verdict.ERASED_VERIFIED == verdict(clean)


@pytest.mark.parametrize("streamed", [False, True], ids=["file", "stream"])
@pytest.mark.parametrize("name", PACKS)
def test_p11_a_container_that_is_cut_off_is_a_gap(name: str, streamed: bool) -> None:
    whole = PACKS[name](content(OTHER)).rstrip(b"\0")  # a tar is padded
    search = looked_into(whole[: len(whole) // 2], streamed=streamed)
    assert search.gaps
    assert Verdict.UNKNOWN == verdict(search)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd", "lz4", "zip", "zip, bzip2", "zip, lzma", "zlib"])
def test_p11_a_container_with_a_damaged_middle_is_a_gap(name: str) -> None:
    data = bytearray(PACKS[name](content(OTHER)))
    data[len(data) // 2] ^= 0x55
    assert looked_into(bytes(data)).gaps


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd", "lz4"])
def test_p11_what_stands_behind_a_container_is_a_gap(name: str) -> None:
    """It may be a second member whose beginning is damaged."""
    assert looked_into(PACKS[name](content(OTHER)) + b"something else").gaps


def test_p3_a_member_far_behind_the_first_is_found() -> None:
    """Members may be padded by more than is read at a time."""
    assert looked_into(gzip.compress(b"first") + bytes(200_000) + gzip.compress(content())).hits
    assert looked_into(gzip.compress(b"first") + bytes(200_000) + b"something else").gaps


def test_p11_a_tar_that_ends_behind_a_member_is_a_gap() -> None:
    """There may have been more of them: nothing but its end says that it is whole."""
    whole = tarred(b"x" * 512)
    assert [] == whys(looked_into(whole))
    assert ["a tar: cut off"] == whys(looked_into(whole[:1024]))


@pytest.mark.parametrize("program", ["gzip", "bzip2", "xz", "zstd", "lz4"])
def test_p3_what_other_programs_packed_is_found(program: str) -> None:
    done = subprocess.run([program, "-c"], input=content(), capture_output=True, check=True)
    assert looked_into(done.stdout).hits
    assert not looked_into(done.stdout).gaps


def test_p3_what_other_programs_archived_is_found(tmp_path: Path) -> None:
    """GNU tar with a sparse file, and zip as a stream, whose sizes stand behind the members."""
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content()))
    with (tmp_path / "sparse").open("wb") as sparse:
        for _ in range(30):
            sparse.seek(100_000, io.SEEK_CUR)
            sparse.write(b"data")
    tar = ["tar", "-C", str(tmp_path), "--sparse", "-cf", "-", "sparse", "packed.gz"]
    found = looked_into(subprocess.run(tar, capture_output=True, check=True).stdout)
    assert (True, []) == (found.hits > 0, whys(found))
    streamed = subprocess.run(["zip", "-q", "-", "-"], input=content(), capture_output=True, check=True)
    found = looked_into(streamed.stdout)
    assert (True, []) == (found.hits > 0, whys(found))


def test_p3_a_zip_that_is_encrypted_is_a_gap(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content(OTHER))
    command = ["zip", "-q", "-j", "-P", "secret", str(tmp_path / "a.zip"), str(tmp_path / "a.csv")]
    subprocess.run(command, check=True)
    search = looked_into((tmp_path / "a.zip").read_bytes())
    assert ["a zip file: holds an encrypted member"] == whys(search)
    assert Verdict.UNKNOWN == verdict(search)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"PAR1" + bytes(100) + b"\xff\xff\xff\xffPAR1", "a Parquet file: cut off, or damaged at its end"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "a 7z file: nothing here opens it"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(100), "a rar file: nothing here opens it"),
        (b"Salted__" + bytes(100), "a file that openssl encrypted"),
        (b"age-encryption.org/v1\n-> X25519 x\n", "a file that age encrypted"),
        (b"-----BEGIN PGP MESSAGE-----\n\nx", "a file that PGP encrypted"),
        (b"Obj\x01" + bytes(100), "an Avro file: its blocks may be packed"),
        (pdf(b"x").replace(b"trailer\n<< >>", b"trailer\n<< /Encrypt 9 0 R >>"), "a PDF: is encrypted"),
        (
            b"%PDF-1.4\n1 0 obj\n<< /Filter /LZWDecode >>\nstream\n\x80\x0b\x60\nendstream\n",
            "a PDF: holds a stream packed in a way that nothing here unpacks",
        ),
        (
            b"%PDF-1.4\n1 0 obj\n<< /Filter /FlateDecode >>\nstream\n\x80\x0b\x60\nendstream\n",
            "a PDF: holds a damaged or encrypted stream",
        ),
    ],
)
def test_p11_what_nothing_here_opens_is_a_gap_with_its_reason(data: bytes, why: str) -> None:
    for packed in (data, gzip.compress(data), tarred(data), zipped(data)):
        search = looked_into(packed)
        assert [why] == whys(search)
        assert Verdict.UNKNOWN == verdict(search)


def test_p3_names_of_members_and_of_files_are_searched_and_not_told() -> None:
    token = CANARY.decode()
    for packed in (zipped(b"x", name=f"{token}.csv"), gzip.compress(tarred(b"x", name=f"{token}.csv"))):
        assert looked_into(packed).hits
    search = looked_into(b"nothing in it", path=f"exports/{token}.csv")
    assert [(f"exports/{TOKEN_IN_NAME}", View.NAME)] == [(found.path, found.view) for found in search.findings]
    assert token not in repr(search)
    assert 0 == looked_into(b"nothing in it", path=f"exports/{OTHER.decode()}.csv").hits


def test_p8_a_gap_tells_no_name_of_a_file_or_member() -> None:
    token = CANARY.decode()
    inner = gzip.compress(content())[:-9]
    for packed in (zipped(inner, name=token), tarred(inner, name=token), inner):
        search = looked_into(packed, path=f"{token}/export")
        assert search.gaps
        assert token not in repr(search)


@pytest.mark.parametrize(("levels", "gaps"), [(6, 0), (7, 1)])
def test_limit_of_depth(levels: int, gaps: int) -> None:
    data = content()
    for _ in range(levels):
        data = gzip.compress(data)
    search = looked_into(data)
    assert (gaps == 0, gaps) == (search.hits > 0, len(search.gaps))


def test_limit_of_what_comes_out() -> None:
    """Twenty times the size, and a million bytes for free; the twin stays below."""
    assert ["a gzip file: unpacks to more than is searched"] == whys(
        looked_into(gzip.compress(bytes(1_000_001)), limits=SMALL)
    )
    assert [] == whys(looked_into(gzip.compress(bytes(1_000_000)), limits=SMALL))
    assert [] == whys(looked_into(gzip.compress(bytes(1_000_001)), limits=replace(SMALL, ratio_max=2_000)))


def test_limit_of_what_comes_out_of_all_members_and_levels() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(30):
            archive.writestr(f"{number}", bytes(90_000))
    assert {"a zip file: unpacks to more than is searched"} == set(whys(looked_into(buffer.getvalue(), limits=SMALL)))
    twice = gzip.compress(gzip.compress(bytes(5_000_000)))
    assert {"a gzip file: unpacks to more than is searched"} == set(whys(looked_into(twice, limits=SMALL)))


def test_p3_a_value_that_a_server_packed_is_found_in_a_packed_copy_of_its_files() -> None:
    """The token's halves came before, so lz4 stores it as two references."""
    for token, views in ((CANARY, {View.UNPACKED}), (OTHER, set())):
        value = (token[:15] + b"|" + token[15:] + b"|") * 40 + b"x" * 2500 + token
        packed = lz4.block.compress(value, store_size=False)
        stored = struct.pack("<II", (len(packed) + 8) << 2 | 2, len(value) | 1 << 30) + packed
        assert token not in stored
        search = looked_into(gzip.compress(bytes(1000) + stored + bytes(1000)))
        assert views == {finding.view for finding in search.findings}


def test_limit_of_values_that_are_packed_in_what_was_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes can be made so that a long value begins at each of them."""
    monkeypatch.setattr("domicile.sweep.carving.UNPACKED_BYTES_FREE", 1_000_000)
    again = b"\x0f\x01\xff"  # pglz: 273 times the byte before
    letters = b"\xfeA" + again * 7 + (b"\xff" + again * 8) * 36
    value = struct.pack("<II", (len(letters) + 8) << 2 | 2, 80_000) + letters
    many = looked_into(gzip.compress(value * 200))
    assert ["the values packed in it unpack to more than is searched"] == whys(many)
    assert [] == whys(looked_into(gzip.compress(value * 5)))


def test_limit_of_members() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in range(11):
            archive.addfile(tarfile.TarInfo(str(number)))
    few = replace(SMALL, members_max=10)
    assert ["a tar: has more members than are searched"] == whys(looked_into(buffer.getvalue(), limits=few))
    assert [] == whys(looked_into(buffer.getvalue(), limits=replace(SMALL, members_max=11)))


def test_limit_of_the_copy_that_is_made_of_a_stream() -> None:
    data = zipped(content())
    narrow = replace(SMALL, spool_bytes_max=len(data) - 1)
    search = looked_into(data, limits=narrow, streamed=True)
    assert ["a zip file: is larger than what is copied to look into it"] == whys(search)
    assert looked_into(data, limits=replace(SMALL, spool_bytes_max=len(data)), streamed=True).hits


def test_no_temporary_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("domicile.sweep.containers.opened.SPOOL_MEMORY_BYTES", 10)
    monkeypatch.setattr("domicile.sweep.containers.databases.SQLITE_MEMORY_BYTES_MAX", 10)
    for name in ("sqlite", "zip", "pdf"):
        assert looked_into(PACKS[name](content()), streamed=True).hits
        whole = PACKS[name](content())
        assert looked_into(whole[: len(whole) // 2] + whole[len(whole) // 2 + 1 :], streamed=True).gaps
    assert [] == list(tmp_path.iterdir())


def test_nothing_of_a_sqlite_file_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views, generated columns and virtual tables could compute for ever; they hold nothing of their own."""
    monkeypatch.setattr("domicile.sweep.containers.databases.SQLITE_CELL_BYTES_MAX", 1_000_000)
    with sqlite3.connect(":memory:") as conn:
        conn.execute("CREATE TABLE t (a text, b text GENERATED ALWAYS AS (zeroblob(2000000)) VIRTUAL)")
        conn.execute("INSERT INTO t (a) VALUES (?)", (CANARY.decode(),))
        conn.execute("CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT * FROM n")
        conn.execute("CREATE VIRTUAL TABLE f USING fts5(note)")
        conn.execute("INSERT INTO f VALUES (?)", (content().decode(),))
        conn.commit()
        data = bytes(conn.serialize())
    search = looked_into(data)
    assert [] == whys(search)
    assert search.hits


def test_a_sqlite_file_that_leads_in_circles_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domicile.sweep.containers.databases.SQLITE_STEPS_FREE", 100_000)
    monkeypatch.setattr("domicile.sweep.containers.databases.SQLITE_STEPS_PER_BYTE_MAX", 0)
    with sqlite3.connect(":memory:") as conn:
        conn.execute("CREATE TABLE t (a)")
        conn.executemany("INSERT INTO t VALUES (?)", ((number,) for number in range(60_000)))
        conn.commit()
        data = bytes(conn.serialize())
    assert ["a SQLite database: holds a damaged table (OperationalError)"] == whys(looked_into(data))


def test_a_fault_of_the_store_passes() -> None:
    """It is the caller's to name; it is not the container's damage."""

    class Broken(Stored):
        def read(self, offset: int, length: int) -> bytes:
            if offset:
                raise NotPermitted("the object can't be read; grant the role to read it")
            return super().read(offset, length)

    data = gzip.compress(content(), 0) * 2000
    tally = Tally(Tokens({CANARY: TokenClass.CANARY}).matcher())
    with pytest.raises(NotPermitted):
        search_source(Broken(data), SPOT, tally)


MAGICS = [
    b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ\x00", b"PAR1", b"\x28\xb5\x2f\xfd", b"P*M\x18", b"\x04\x22\x4d\x18",
    b"PK\x03\x04",    b"PK\x05\x06", b"SQLite format 3\x00", b"%PDF-1.4\nstream\n", b"x\x9c", b"\x5d\x00\x00",
    b"\x16\xd1\x05\x00",
]  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(magic=st.sampled_from(MAGICS), rest=st.binary(max_size=3000), streamed=st.booleans())
def test_any_bytes_behind_a_magic_give_hits_gaps_or_nothing(magic: bytes, rest: bytes, streamed: bool) -> None:
    assert 0 == looked_into(magic + rest, streamed=streamed).hits


WHOLE = {name: pack(content()) for name, pack in PACKS.items()}


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(PACKS)), data=st.data())
def test_any_damage_gives_hits_gaps_or_nothing(name: str, data: st.DataObject) -> None:
    damaged = bytearray(WHOLE[name])
    for at, bit in data.draw(st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 7)), max_size=8)):
        damaged[at] ^= 1 << bit
    cut = data.draw(st.integers(0, len(damaged)))
    looked_into(bytes(damaged[: cut or len(damaged)]), limits=Limits(unpacked_bytes_free=10_000_000, ratio_max=1))
