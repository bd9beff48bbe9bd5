"""P8: whatever is kept, signed, shown or handed over holds no value of a person: searched for every one of them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from blake3 import blake3

from domicile.stores.traces import PURPOSE
from tests.main.conftest import MAJORS, Begin, Moves
from tests.main.guessing import Guesses, Value, files_of, prefixes
from tests.main.programme import Programme, ask, run

BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")
KEYS = re.compile(rb"[A-Za-z0-9+/]{43,}={0,2}")  # 32 bytes and more
# Of each sample: every private text of the movers; short ones are no evidence.
PRIVATE = {
    "pagila": (
        "SELECT email, first_name, last_name FROM customer",
        "SELECT address, phone, postal_code, district FROM address JOIN customer USING (address_id)",
    ),
    "chinook": (
        "SELECT email, first_name, last_name, phone, fax, address, postal_code, company, city FROM customer",
        "SELECT billing_address, billing_postal_code FROM invoice",
    ),
    "northwind": (
        "SELECT customer_id, company_name, contact_name, address, phone, fax, city FROM customers",
        "SELECT ship_name, ship_address FROM orders",
    ),
}  # fmt: skip
SHORTEST, LONGER = 5, 9  # five digits stand in every time and digest
CANARIES = ("canary0f3a9b1c7d2e", "canary55aa00ff33cc")


def values(dsn: str, sample: str) -> set[bytes]:
    found = {str(text) for query in PRIVATE[sample] for row in ask(dsn, query) for text in row if text is not None}
    return {text.encode() for text in found if len(text) >= (LONGER if text.isdigit() else SHORTEST)}


def kept(programme: Programme) -> Iterator[tuple[str, bytes]]:
    """All that a programme leaves: its files, what lies in its zips, what base64 hides, and all that was shown."""
    for path in programme.folder.rglob("*"):
        if path.is_file():
            for name, data in _parts(path):
                yield name, data
                yield f"{name} (base64)", b"\n".join(_decoded(data))
    for number, text in enumerate(programme.shown):
        yield f"shown {number}", text.encode()


def _parts(path: Path) -> Iterator[tuple[str, bytes]]:
    yield path.name, path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield f"{path.name}/{name}", archive.read(name)


def _decoded(data: bytes) -> Iterator[bytes]:
    for match in BASE64.finditer(data):
        text = match[0].rstrip(b"=")
        yield base64.b64decode(text[: len(text) // 4 * 4])


def leaks(programme: Programme, needles: set[bytes]) -> set[tuple[str, bytes]]:
    return {(name, needle) for name, data in kept(programme) for needle in _within(data, needles)}


def _within(data: bytes, needles: set[bytes]) -> Iterator[bytes]:
    """The needles there; five letters stand by chance in keys and signatures, which are searched decoded anyway."""
    without_keys = KEYS.sub(b" ", data)
    for needle in needles:
        if needle in (data if len(needle) >= LONGER else without_keys):
            yield needle


@pytest.mark.parametrize(("sample", "country"), MAJORS)
def test_p8_nothing_that_a_run_leaves_or_shows_holds_a_value_of_a_mover(
    moved: Moves, sample: str, country: str
) -> None:
    result = moved(sample, country)
    result.programme.cli("report")
    result.programme.cli("status")
    result.programme.cli("map", "--picture", "map.html")
    result.programme.cli("export", "oscal")
    result.programme.cli("export", "csv")
    needles = values(result.home, sample.removesuffix("_identity"))
    assert len(needles) > 12
    assert set() == {(name, needle) for name, needle in leaks(result.programme, needles)}


def test_p8_the_search_does_find_what_is_there(waiting: Programme) -> None:
    needles = values(waiting.homes["ca"], "chinook")
    secret = max(needles, key=len)
    assert set() == leaks(waiting, needles)
    (waiting.made / "plain.txt").write_bytes(b"x" + secret)
    (waiting.made / "hidden.json").write_bytes(b'{"payload":"' + base64.b64encode(b"some text, " + secret) + b'"}')
    with zipfile.ZipFile(waiting.made / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", secret)
    waiting.shown.append(secret.decode())
    found = {name for name, _ in leaks(waiting, needles)}
    assert {"plain.txt", "hidden.json (base64)", "a.zip/inner", f"shown {len(waiting.shown) - 1}"} <= found


def test_p8_faults_and_refusals_hold_no_value(waiting: Programme) -> None:
    """Everything that goes wrong with the rows themselves, and what the terminal, status and journal say then."""
    home, source = waiting.homes["ca"], waiting.source
    needles = values(home, "chinook") | values(source, "chinook")
    run(home, "UPDATE customer SET email = 'other@example.invalid', city = 'Elsewhere' WHERE customer_id = 3")
    run(home, "INSERT INTO customer SELECT 0, first_name, last_name, company, address, city, state, country,"
              " postal_code, phone, fax, email, support_rep_id FROM customer WHERE customer_id = 14")  # fmt: skip
    waiting.cli("verify", code=20)
    waiting.cli("verify", "--json", code=20)
    waiting.approve()
    waiting.cli("apply", "--yes", code=20)
    waiting.cli("status")
    run(
        home,
        "DELETE FROM invoice_line; DELETE FROM invoice; ALTER TABLE customer ADD CHECK (customer_id > 20) NOT VALID",
    )
    waiting.cli("verify", code=20)
    waiting.cli("verify", "--repair", code=40)  # the new constraint refuses rows, and quotes them
    waiting.cli("status")
    assert set() == leaks(waiting, needles)


def private(dsn: str, *tables: str) -> Iterator[Value]:
    """Every value of the movers' own rows in these tables; their country is the market, and told."""
    for table in tables:
        for (row,) in ask(dsn, f"SELECT to_jsonb(t) FROM {table} AS t"):
            for column, value in row.items():
                if value is not None and "country" not in column:
                    yield Value(dataset=f"app.public.{table}", text=str(value))


def handed_out(programme: Programme) -> dict[str, bytes]:
    """What anybody gets: all files of the bundle, and the page."""
    programme.cli("report")
    return {**files_of(programme.made / "bundle.zip"), "report.html": (programme.made / "report.html").read_bytes()}


def _named(name: str, text: str) -> str:
    return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()


FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "a row's key, digested without a key": lambda text: blake3(
        PURPOSE + b"19:app.public.customer%d:%b" % (len(text), text.encode())
    ).hexdigest()[:16],
    "SHA-1 of the lower case, in capitals": lambda text: _named("sha1", text.lower()).upper(),
    "20 digits of MD5": lambda text: _named("md5", text)[:20],
    "the last 16 digits of SHA-256": lambda text: hashlib.sha256(text.encode()).hexdigest()[-16:],
    "SHA-512 in base64 of URLs": lambda text: base64.urlsafe_b64encode(hashlib.sha512(text.encode()).digest()).decode(),
    "BLAKE2b in base32": lambda text: base64.b32encode(hashlib.blake2b(text.upper().encode()).digest()).decode(),
    "SHA-256 behind the run's prefix": lambda text: hashlib.sha256(b"domicile run\x00" + text.encode()).hexdigest(),
    "40 digits of BLAKE3 behind the slices' prefix": lambda text: blake3(
        b"domicile slice v1\x00" + text.encode()
    ).hexdigest()[:40],
    "the text in hexadecimal": lambda text: text.encode().hex(),
    "the text in the middle of base64": lambda text: base64.b64encode(f"to: {text}!".encode()).decode(),
    "the text in capitals": str.upper,
}


def test_p8_keys_that_are_people_stay_out(programme: Begin) -> None:
    """The subject's key is an e-mail address: only `verify` names it, and only on the terminal.

    One customer is without a country, which the plan tells by the digest of the key.
    """
    begun = programme("chinook", {"CA": "ca"})
    run(
        begun.source,
        "ALTER TABLE invoice DROP CONSTRAINT invoice_customer_id_fkey;"
        " ALTER TABLE customer DROP CONSTRAINT customer_pkey;"
        " ALTER TABLE customer ADD PRIMARY KEY (email); ALTER TABLE invoice ADD COLUMN email varchar(60);"
        " UPDATE invoice SET email = (SELECT email FROM customer c WHERE c.customer_id = invoice.customer_id);"
        " ALTER TABLE invoice ADD FOREIGN KEY (email) REFERENCES customer (email);"
        " UPDATE customer SET country = NULL WHERE customer_id = 3",
    )
    begun.file.unlink()
    for name in ("operator", "monitor"):
        (begun.folder / f"{name}.key").unlink()
    begun.draft({"CA": "ca"})
    begun.edit("unknown_market: in-scope", "unknown_market: CA")
    begun.move()
    begun.finish()
    needles = values(begun.homes["ca"], "chinook")
    assert 8 == sum(b"@" in needle for needle in needles)
    assert set() == leaks(begun, needles)
    assert ["app.public.customer"] == [
        one["dataset"]
        for one in json.loads((begun.made / "plan.json").read_bytes())["findings"]
        if one["kind"] == "unknown-market" and one["keys"]
    ]
    guesses = Guesses(private(begun.homes["ca"], "customer"))
    assert 100_000 < guesses.count
    assert set() == guesses.within(handed_out(begun).items())


@pytest.fixture(scope="module")
def guesses(moved: Moves) -> Guesses:
    """All that could be guessed of Chinook's Canadians."""
    return Guesses(private(moved("chinook", "Canada").home, "customer", "invoice"))


def test_p8_nothing_that_is_handed_out_could_be_guessed(moved: Moves, guesses: Guesses) -> None:
    assert {PURPOSE, b"domicile slice v1\x00", b"domicile receipt v1\x00"} <= prefixes()
    assert set() == guesses.within(handed_out(moved("chinook", "Canada").programme).items())


@pytest.mark.parametrize("form", FORMS)
def test_p8_the_search_does_find_what_could_be_guessed(moved: Moves, guesses: Guesses, form: str) -> None:
    """The twin: one such digest in a text of the plan, as it is or in an envelope."""
    result = moved("chinook", "Canada")
    ((address,),) = ask(result.home, "SELECT email FROM customer WHERE customer_id = 14")
    files = handed_out(result.programme)
    text = FORMS[form](address)
    plan = files["plan.json"].replace(b'"findings":', b'"more": "see %b.", "findings":' % text.encode(), 1)
    assert plan != files["plan.json"]
    envelope = b'{"payload":"%b"}' % base64.b64encode(plan)
    assert {"plan.json", "envelope"} == {
        name for name, _ in guesses.within([("plan.json", plan), ("envelope", envelope), ("x", files["plan.json"])])
    }


def test_p8_canaries_are_looked_for_and_never_told(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"}, major=17)
    (begun.folder.parent / "words.txt").write_text("\n".join(CANARIES) + "\n", encoding="utf-8")
    begun.edit("policy:\n", "policy:\n  canaries: file:../words.txt\n")
    run(begun.source, f"UPDATE customer SET company = '{CANARIES[0]}', fax = '{CANARIES[1]}' WHERE customer_id = 3")
    begun.move()
    begun.finish()
    assert "2 canaries" in begun.audit().text
    assert set() == leaks(begun, {word.encode() for word in CANARIES})
