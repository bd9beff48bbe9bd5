"""pglz and LZ4 against the server that packed them, whole and damaged."""

from __future__ import annotations

import random
import struct
from collections import defaultdict

import lz4.block
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domicile.stores.postgres.compression import Method, plausible, unpack
from domicile.stores.postgres.pages import carve_chunks, carve_compressed, unpack_external
from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import Databases

VALUES = """
    SELECT 1, repeat('a', 3000) UNION ALL SELECT 2, repeat('ab', 40000)
    UNION ALL SELECT 3, string_agg(md5(g::text), ' ') FROM generate_series(1, 30) g
    UNION ALL SELECT 4, string_agg(g::text, ' the quick brown fox ') FROM generate_series(1, 3000) g
    UNION ALL SELECT 5, string_agg(md5((g % 50)::text), '') FROM generate_series(1, 3000) g
    UNION ALL SELECT 6, string_agg('übergröße ' || g % 7, '·') FROM generate_series(1, 4000) g
    UNION ALL SELECT g, repeat(chr(64 + g), g * 211) || string_agg(md5((h % g)::text), '')
      FROM generate_series(7, 60) g, generate_series(1, 150) h GROUP BY g
"""


@pytest.mark.parametrize("method", ["pglz", "lz4"])
def test_unpacks_what_the_server_packed(distributed: EmbeddedServer, database: Databases, method: str) -> None:
    with psycopg.connect(database(distributed), autocommit=True) as conn:
        conn.execute(f"SET default_toast_compression = {method}")
        conn.execute("CREATE TABLE packed (id int, value text)")
        conn.execute(f"INSERT INTO packed {VALUES}")
        conn.execute("CHECKPOINT")
        expected = {
            value.encode()
            for (value,) in conn.execute("SELECT value FROM packed WHERE pg_column_compression(value) IS NOT NULL")
        }
        paths = conn.execute(
            "SELECT pg_relation_filepath(oid), pg_relation_filepath(reltoastrelid) FROM pg_class"
            " WHERE relname = 'packed'"
        ).fetchone()
    assert paths
    heap, toast = ((distributed.data_directory / path).read_bytes() for path in paths)
    found = {carved.data for carved in carve_compressed(heap, block=8192, aligned=True)} | _external(toast)
    assert len(expected) > 50
    assert set() == expected - found


def _external(toast: bytes) -> set[bytes]:
    parts: dict[int, dict[int, bytes]] = defaultdict(dict)
    for chunk in carve_chunks(toast, chunk_bytes=1996, aligned=True):
        parts[chunk.value][chunk.sequence] = chunk.data
    joined = (b"".join(chunks[number] for number in sorted(chunks)) for chunks in parts.values())
    return {unpack_external(value)[0] for value in joined}


def test_a_value_whose_first_match_comes_as_late_as_the_server_allows_is_unpacked(
    distributed: EmbeddedServer, database: Databases
) -> None:
    """It gives up after 1,024 bytes without a match; what it kept, however late the match, is read."""
    letters, dice = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", random.Random(1)  # noqa: S311
    text, seen = "", set[str]()
    while len(text) < 1100:
        letter = dice.choice(letters)
        if text[-2:] + letter not in seen:
            seen.add(text[-2:] + letter)
            text += letter
    with psycopg.connect(database(distributed), autocommit=True) as conn:
        conn.execute("SET default_toast_compression = pglz")
        conn.execute("CREATE TABLE late (value text); ALTER TABLE late ALTER value SET STORAGE MAIN")
        for length in range(800, 1000, 3):
            conn.execute("INSERT INTO late VALUES (%s)", [text[:length] + "0" * 4000])
        conn.execute("CHECKPOINT")
        kept = conn.execute("SELECT value FROM late WHERE pg_column_compression(value) IS NOT NULL").fetchall()
        row = conn.execute("SELECT pg_relation_filepath('late')").fetchone()
    assert row
    latest = max(len(value.rstrip("0")) for (value,) in kept)
    assert 890 < latest < 920  # eight letters to each nine bytes: the server's own limit was reached
    heap = (distributed.data_directory / row[0]).read_bytes()
    found = {carved.data for carved in carve_compressed(heap, block=8192, aligned=True)}
    assert set() == {value.encode() for (value,) in kept} - found


@pytest.mark.parametrize(("groups", "expected"), [(115, False), (112, True)])
def test_what_no_server_would_have_kept_is_not_unpacked(groups: int, expected: bool) -> None:
    """WAL of small numbers has headers by the ten thousand, each before kilobytes in which nothing is referred to."""
    payload = (b"\x00" + b"literals") * groups + (b"\x01\x00\x08" + b"literal" + b"\x00literals" * 600)
    packed = struct.pack("<II", (len(payload) + 8) << 2 | 2, 65_537) + payload
    assert expected == any(value.data for value in carve_compressed(packed, block=8192, aligned=False))


def test_pglz_by_hand() -> None:
    # control 0b100: literals 'a', 'b', then a tag of length 3 + 3 = 6, 2 back: "ab" + "ababab"
    assert b"abababab" == unpack(Method.PGLZ, bytes([0b100]) + b"ab" + bytes([0x03, 0x02]), 8).data
    # a long tag: 15 + 3 + 10 = 28 bytes, 1 back
    assert b"a" * 29 == unpack(Method.PGLZ, bytes([0b10]) + b"a" + bytes([0x0F, 0x01, 10]), 29).data
    assert not unpack(Method.PGLZ, bytes([0b10]) + b"a" + bytes([0x0F, 0x09, 10]), 29).whole


@given(st.binary(min_size=64, max_size=4000), st.data())
def test_damage_gives_the_bytes_before_it(noise: bytes, data: st.DataObject) -> None:
    plain = b"a value said twice, " * 20 + noise + b"a value said twice, " * 20
    packed = lz4.block.compress(plain, store_size=False)
    whole = unpack(Method.LZ4, packed, len(plain))
    assert (plain, True) == (whole.data, whole.whole)
    cut = data.draw(st.integers(0, len(packed) - 1))
    damaged = unpack(Method.LZ4, packed[:cut], len(plain))
    assert not damaged.whole
    assert plain.startswith(damaged.data)


@example(Method.PGLZ, b"\x04\x00\x00\x00", 1)  # literals go beyond the size, then a tag that leads nowhere
@given(st.sampled_from(Method), st.binary(max_size=600), st.integers(0, 10_000))
def test_any_bytes_give_bytes_within_the_bound(method: Method, payload: bytes, raw: int) -> None:
    assert len(unpack(method, payload, raw).data) <= raw


@pytest.mark.parametrize(
    ("method", "payload", "raw", "expected"),
    [(0, 75, 100, True), (0, 76, 100, False), (0, 10, 920, True), (0, 10, 921, False), (1, 99, 100, True),
     (1, 100, 100, False), (1, 10, 2560, True), (1, 10, 2561, False), (2, 10, 20, False), (0, 0, 20, False)],
)  # fmt: skip
def test_limits_of_what_can_be(method: int, payload: int, raw: int, expected: bool) -> None:
    assert expected == plausible(method, payload, raw)
