"""Parquet, ORC and Arrow: every value of every column is found; what can't be read is a gap (P3, P11)."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import io
import shutil
import sys
import uuid
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
import pytest
from pyarrow import feather, orc, parquet
from pyarrow.parquet import encryption

from domicile.sweep import CopySearch, TokenClass, Tokens
from domicile.sweep.containers import Limits, columns, search_source
from domicile.sweep.search import Tally, View
from tests.sweep.packing import CANARY, OTHER, SPOT, Stored, looked_into, tarred
from tests.sweep.test_containers import verdict, whys

TEXT: Final = CANARY.decode()
PADDING: Final = ["nothing to see here"] * 50


def as_parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, **{"compression": "zstd", "write_statistics": False, **options})
    return buffer.getvalue()


def as_orc(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    orc.write_table(table, buffer, compression="zlib")
    return buffer.getvalue()


def as_arrow(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    feather.write_feather(table, buffer, compression="zstd")
    return buffer.getvalue()


WRITERS: Final[dict[str, Callable[[pa.Table], bytes]]] = {"Parquet": as_parquet, "ORC": as_orc, "Arrow": as_arrow}


def table_of(value: bytes, **more: Any) -> pa.Table:
    """Parts of the value first, so that a packer refers to them where the whole of it stands."""
    text = value.decode()
    return pa.table({"who": [*PADDING, text[:15], text[15:], text, *PADDING], **more})


def found_for(data: bytes, *tokens: bytes) -> CopySearch:
    tally = Tally(Tokens(dict.fromkeys(tokens, TokenClass.IDENTIFIER)).matcher())
    search_source(Stored(data), SPOT, tally)
    return tally.result([SPOT.copy])[0]


@pytest.mark.parametrize("name", WRITERS)
def test_p3_a_packed_value_is_found_and_another_is_not(name: str) -> None:
    data = WRITERS[name](table_of(CANARY))
    found = looked_into(data)
    assert View.PACKED in {finding.view for finding in found.findings}
    assert [] == whys(found)
    clean = looked_into(WRITERS[name](table_of(OTHER)))
    assert 0 == clean.hits
    assert [] == whys(clean)
    assert clean.bytes_unpacked > len(PADDING[0])


SHAPES: Final[dict[str, Callable[[str], pa.Array]]] = {
    "list": lambda text: pa.array([["x"], None, [text]]),
    "list of struct": lambda text: pa.array([[{"a": 1, "b": {"c": text}}], [], None]),
    "map key": lambda text: pa.array([[(text, 1)], None, None], pa.map_(pa.string(), pa.int64())),
    "map value": lambda text: pa.array(
        [[("k", {"deep": [text]})], None, None], pa.map_(pa.string(), pa.struct({"deep": pa.list_(pa.string())}))
    ),
    "dictionary": lambda text: pa.array(["x", text, "x"]).dictionary_encode(),
    "large": lambda text: pa.array([text, None, None], pa.large_string()),
    "binary": lambda text: pa.array([b"\xff\xfe" + text.encode(), None, None]),
    "fixed": lambda text: pa.array([text.encode(), None, None], pa.binary(len(text))),
    "small integers": lambda text: pa.array([list(text.encode()), None, None], pa.list_(pa.uint8())),
    "packed": lambda text: pa.array([gzip.compress(PADDING[0].encode() * 100 + text.encode()), None, None]),
    "packed Parquet": lambda text: pa.array([as_parquet(table_of(text.encode())), None, None]),
}


@pytest.mark.parametrize("name", ["Parquet", "Arrow"])
def test_p3_values_of_every_shape_of_column_are_found(name: str) -> None:
    """Each in a column of its own, under a name with a dot in it; a value that is in none isn't found."""
    values = {shape: f"a-value-of-the-shape-{number:04}" for number, shape in enumerate(SHAPES)}
    table = pa.table({f"a.{shape}": SHAPES[shape](text) for shape, text in values.items()})
    data = WRITERS[name](table)
    found = found_for(data, *(text.encode() for text in values.values()), b"a-value-of-the-shape-9999")
    assert [] == whys(found)
    packed = sum(finding.view is View.PACKED for finding in found.findings)
    assert packed
    assert len(values) == found.distinct


def test_p3_numbers_moments_and_uuids_are_found_as_they_are_written() -> None:
    number, small = 15551234567, uuid.UUID("5b1d2f6e-1c3a-4a77-9e0f-77c1d2e3f4a5")
    moment = dt.datetime(2001, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    table = pa.table({
        "phone": [number], "amount": [decimal.Decimal("12345678.90")], "seen": [moment], "born": [moment.date()],
        "half": pa.array([1.5], pa.float16()), "took": [dt.timedelta(days=1)],
        "key": pa.array([small.bytes], pa.uuid()), "nothing": pa.nulls(1), "flag": [True],
        "at": [dt.time(1, 2, 3)],
    })  # fmt: skip
    data = as_parquet(table.drop_columns(["took"]))
    for token in (str(number).encode(), b"12345678.90", b"2001-02-03 04:05:06", str(small).encode()):
        found = found_for(data, token)
        assert found.hits, token
        assert [] == whys(found)
    assert [] == whys(found_for(as_arrow(table), b"x"))


def test_p3_what_the_footer_says_is_found() -> None:
    """Metadata in any encoding of the whole, and least and greatest values of numbers, which lie there in binary."""
    table = table_of(OTHER).replace_schema_metadata({"note": TEXT})
    assert looked_into(as_parquet(table)).hits
    assert looked_into(as_arrow(table)).hits
    statistics = as_parquet(pa.table({"n": [15551234567, 2]}), write_statistics=True)
    assert found_for(statistics, b"15551234567").hits
    named = pa.table({TEXT: [1]})
    assert looked_into(as_orc(named)).hits


def test_p3_every_row_group_is_read_and_one_value_is_told_once_for_many() -> None:
    rows = pa.table({"who": ["same"] * 200_000 + [TEXT], "also": [0] * 200_001})
    data = as_parquet(rows, row_group_size=20_000)
    found = looked_into(data, limits=Limits(unpacked_bytes_free=10_000, ratio_max=5))
    assert found.hits
    assert [] == whys(found)


@pytest.mark.parametrize("name", WRITERS)
def test_p3_it_is_opened_within_other_containers(name: str) -> None:
    data = WRITERS[name](table_of(CANARY))
    for outer in (gzip.compress(data), tarred(data)):
        found = looked_into(outer, streamed=True)
        assert found.hits
        assert [] == whys(found)


@pytest.mark.parametrize("name", WRITERS)
def test_p11_what_is_damaged_or_cut_off_is_a_gap(name: str) -> None:
    whole = WRITERS[name](table_of(OTHER))
    cut = looked_into(whole[: len(whole) // 2])
    assert [f"a{'n' * (name != 'Parquet')} {name} file: cut off, or damaged at its end"] == whys(cut)
    footer, at = bytearray(whole), -40
    if name == "Parquet":
        at = -8 - int.from_bytes(whole[-8:-4], "little")
    footer[at : at + 20] = bytes(20)
    assert looked_into(bytes(footer)).gaps
    page = bytearray(whole)
    middle = whole.index(b"\x28\xb5\x2f\xfd") + 8 if name == "Arrow" else 70
    page[middle : middle + 8] = b"\x55" * 8
    search = looked_into(bytes(page))
    assert search.gaps
    assert "unknown" == verdict(search).value


def test_p11_a_flipped_bit_in_a_page_with_a_checksum_is_a_gap_and_the_other_columns_are_read() -> None:
    table = pa.table(
        {
            "a": ["x" * 100 + str(at) for at in range(100)],
            "b": pa.array([gzip.compress(PADDING[0].encode() * 9 + CANARY)] * 100),
        }
    )
    data = bytearray(as_parquet(table, compression="none", use_dictionary=False, write_page_checksum=True))
    data[data.index(b"x" * 100 + b"50") + 5] ^= 1
    search = looked_into(bytes(data))
    assert ["a Parquet file: holds something that can't be read: damaged, encrypted, or of an unknown kind"] == whys(
        search
    )
    assert View.PACKED in {finding.view for finding in search.findings}


class Kms(encryption.KmsClient):  # type: ignore[misc]
    """A key service that keeps nothing secret."""

    def __init__(self, _: object) -> None:
        super().__init__()

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        del master_key_identifier
        return key_bytes.hex().encode()

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        del master_key_identifier
        return bytes.fromhex(wrapped_key.decode())


@pytest.mark.parametrize("plain_footer", [True, False])
def test_p11_encrypted_columns_are_a_gap(*, plain_footer: bool) -> None:
    factory, connection = encryption.CryptoFactory(Kms), encryption.KmsConnectionConfig()
    rules = encryption.EncryptionConfiguration(
        footer_key="k", column_keys={"k": ["who"]}, plaintext_footer=plain_footer
    )
    table = pa.table({"who": [TEXT], "open": ["nothing"]})
    data = as_parquet(table, encryption_properties=factory.file_encryption_properties(connection, rules))
    search = looked_into(data)
    assert 1 == len(search.gaps)
    assert "unknown" == verdict(search).value


def test_p11_without_pyarrow_the_gap_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "find_spec", lambda _: None)
    search = looked_into(as_parquet(table_of(OTHER)))
    assert ["a Parquet file: needs pyarrow to be opened; install domicile[parquet]"] == whys(search)
    assert "unknown" == verdict(search).value


def test_p11_what_needs_more_memory_than_is_given_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file with a value that is large once unpacked; and a program that ends before its end is told."""
    large = as_parquet(pa.table({"a": [b"x" * 200_000_000]}), use_dictionary=False)
    assert len(large) < 1_000_000
    monkeypatch.setattr(columns, "MEMORY_BYTES_MAX", 400_000_000)
    search = looked_into(large)
    assert ["a Parquet file: needs more than 400000000 bytes of memory to be read"] == whys(search)
    monkeypatch.setattr(columns, "PROGRAM", shutil.which("true"))
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    assert ["a Parquet file: damaged"] == whys(looked_into(as_parquet(table_of(CANARY))))
