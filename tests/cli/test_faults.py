"""What goes wrong in a person's hands: one clear message, the code of its class, never a trace, never a secret."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from domicile import config
from domicile.host import Host
from domicile.plan.document import bytes_by_home, decode_plan
from domicile.stores.postgres.doctor import examine
from domicile.stores.postgres.server import EmbeddedServer
from tests.main.conftest import Begin
from tests.main.programme import Answer, Programme, run, value
from tests.servers import Databases

SECRET = "s3cr3t-hunter2"


@pytest.fixture
def bare(tmp_path: Path, database: Databases, pg18: EmbeddedServer) -> Programme:
    """A folder with nothing in it, and two empty databases."""
    return Programme(folder=tmp_path, source=database(pg18), homes={"ca": database(pg18)})


def refused(answer: Answer) -> str:
    """One message on standard error, one line of it at least; no trace, no class names of the language."""
    assert "" == answer.out
    said = [line for line in answer.err.splitlines() if line.startswith("domicile: ")]
    assert 1 == len(said), answer.err
    assert re.search(r"Traceback|psycopg\.|pydantic|File \"|Error\(", answer.err) is None
    return answer.err


@pytest.mark.parametrize(
    "words",
    ["plan", "map", "doctor", "status", "apply", "transfer", "cutover", "verify", "erase", "sweep", "certify", "report",
     "abandon", "log list", "log policy", "log prove 1 --to x", "approve --key x.key"],
)  # fmt: skip
def test_without_a_file_every_command_says_how_to_get_one(bare: Programme, words: str) -> None:
    assert "domicile init" in refused(bare.cli(*words.split(), code=30))
    assert [] == list(bare.folder.iterdir())


USAGE = (
    "frobnicate",
    "init",
    "init --dsn env:X --market CA",
    "apply --until nowhere",
    "log prove",
    "plan --no-such-option",
)


@pytest.mark.parametrize("words", USAGE)
def test_a_wrong_command_line_is_2(bare: Programme, words: str) -> None:
    answer = bare.cli(*words.split(), code=2)
    assert "Usage: domicile" in answer.err
    assert [] == list(bare.folder.iterdir())


EDITS = {
    "a version that is not known": ("version: 1", "version: 2", r"domicile\.yaml:\d+: version"),
    "a key that is not known": ("policy:\n", "policy:\n  colour: red\n", r"domicile\.yaml:\d+: policy\.colour"),
    "a tab": ("  homes:", "\thomes:", r"line \d+"),
    "a value that is not known": ("rows: move", "rows: mvoe", r"domicile\.yaml:\d+: datasets\.app\.public\.\w+\.rows"),
    "a key twice": ("version: 1", "version: 1\nversion: 1", r"line \d+.*duplicate key"),
    "a market twice": ("CA: ca", "CA: ca\n    CA: us", r"line \d+.*duplicate key"),
    "too many approvals": ("threshold: 2", "threshold: 3", r"domicile\.yaml:\d+: .*can't be reached"),
    "a country in words": ("country: ZZ", "country: Singapore", r"domicile\.yaml:\d+: locations\.source\.country"),
    "a column that is not there": ("key: customer_id", "key: customer_ix", r"subject\.key.*customer_ix"),
    "a home without a place": ("CA: ca", "CA: nowhere", r"nowhere"),
    "a table that is not there": (  # a misspelt name
        "\ndatasets:\n", "\ndatasets:\n  app.public.albun: {rows: none, reason: x}\n", "albun"),
    "a path that leads nowhere": ("path: customer_id", "path: customer_ix", r"customer_ix"),
    "brackets that do not close": ("{rows", "{{rows", r"line \d+"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), EDITS.values(), ids=EDITS.keys())
def test_a_mistake_in_the_file_is_named_with_its_place(programme: Begin, old: str, new: str, message: str) -> None:
    begun = programme("chinook", {"CA": "ca"})
    text = begun.file.read_text(encoding="utf-8")
    if old == "{rows":
        text += "\n  app.public.x: {rows: none, reason: x}\n"
    begun.file.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert re.search(message, refused(begun.cli("plan", code=30)))


@pytest.mark.parametrize("data", [b"", b"- 1\n", b"\xff\xfe\x00", b"a: &a [*a]\n", b"x: " + b"[" * 5000, b"42"])
def test_a_file_that_is_something_else(bare: Programme, data: bytes) -> None:
    bare.file.write_bytes(data)
    assert "domicile.yaml" in refused(bare.cli("plan", code=30))


def test_a_secret_as_a_value_is_refused_and_not_repeated(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.edit("{kind: postgresql, location: source, dsn: env:APP_DSN}",
               f"{{kind: postgresql, location: source, dsn: 'postgresql://u:{SECRET}@h/x'}}")  # fmt: skip
    for words, code in (("plan", 30), ("map", 30), ("doctor", 1), ("status", 30)):
        answer = begun.cli(words, code=code)
        assert SECRET not in answer.text
        assert "env:NAME" in answer.text


WRONG = {
    "nobody listens": ("postgresql://u:{secret}@127.0.0.1:1/x", 41),
    "a wrong password": ("host=127.0.0.1 port={port} user=postgres password={secret} dbname=postgres", 41),
    "no such database": ("host=127.0.0.1 port={port} user=postgres password=throw-away dbname=no_such", 41),
    "no such role": ("host=127.0.0.1 port={port} user=nobody_here password={secret} dbname=postgres", 41),
    "no such host": ("postgresql://u:{secret}@no-such-host.invalid/x", 41),
    "only the password": ("{secret}", None),
    "an @ in the password": ("postgresql://u:abc@{secret}@no-such-host.invalid/x", None),
    "a % in the password": ("postgresql://u:{secret}%@127.0.0.1/x", None),
    "a bracket in the host": ("postgresql://u:{secret}@[::1/x", None),
    "a port in words": ("host=127.0.0.1 port={secret} password=x", None),
    "an option that is not known": ("{secret}=1 host=127.0.0.1", None),
    "a quote that does not close": ("host=127.0.0.1 password='{secret}", None),
}


@pytest.mark.parametrize(("dsn", "code"), WRONG.values(), ids=WRONG.keys())
def test_a_dsn_that_does_not_lead_to_a_database_never_shows_its_secret(
    bare: Programme, pg18: EmbeddedServer, dsn: str, code: int | None
) -> None:
    bare.source = dsn.format(secret=SECRET, port=pg18.port)
    for words in (["init", "--dsn", "env:APP_DSN"], ["init", "--dsn", "env:APP_DSN", "--json"]):
        ended = bare.call(*words) if code is None else code
        assert ended in {30, 41}
        answer = bare.cli(*words, code=ended)
        assert SECRET not in answer.out + answer.err
        assert "app" in answer.text
        assert not bare.file.exists()


def test_an_unreachable_store_is_said_by_every_command_that_needs_it(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    begun.source = "host=127.0.0.1 port=1 user=x"
    for words in ("plan", "apply", "map"):
        assert "store app: no connection" in refused(begun.cli(words, code=41))
    answer = begun.cli("doctor", code=1)
    assert "no connection" in answer.text


def test_a_home_that_can_not_be_reached_stops_before_anything_is_done(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    begun.homes["ca"] = "host=127.0.0.1 port=1 user=x"
    begun.cli("apply", code=41)
    assert 0 == value(begun.source, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal")


def test_an_empty_database_is_no_source(bare: Programme) -> None:
    said = refused(bare.cli("init", "--dsn", "env:APP_DSN", "--market", "CA=ca", code=40))
    assert "no tables" in said
    assert not bare.file.exists()


def test_a_database_without_people_is_drafted_and_says_so(bare: Programme) -> None:
    run(bare.source, "CREATE TABLE weather (day date PRIMARY KEY, rain numeric)")
    assert "no table looks like people" in bare.cli("init", "--dsn", "env:APP_DSN", "--market", "CA=ca").out
    bare.cli("plan", code=30)


def test_a_home_that_is_not_empty_is_refused(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    run(begun.homes["ca"], "CREATE TABLE here (x int)")
    assert "empty" in refused(begun.cli("plan", code=1))


def test_a_home_that_is_the_source_is_refused(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.homes["ca"] = begun.source
    assert "app-ca" in refused(begun.cli("plan", code=1))
    assert 59 == value(begun.source, "SELECT count(*) FROM customer")


def test_no_variable_no_file(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.homes.clear()
    assert "APP_CA_DSN is not set" in refused(begun.cli("plan", code=30))
    begun.edit("dsn: env:APP_CA_DSN", "dsn: file:home.dsn")
    assert "home.dsn" in refused(begun.cli("plan", code=30))


@pytest.fixture
def weak(programme: Begin) -> Programme:
    """A programme whose role at the source may connect and nothing else."""
    begun = programme("chinook", {"CA": "ca"})
    name = value(begun.source, "SELECT current_database()")
    run(begun.source, f"CREATE ROLE weak_{name} LOGIN PASSWORD 'throw-away'")
    begun.source = make_conninfo(begun.source, user=f"weak_{name}")
    return begun


def test_doctor_says_which_right_is_missing(weak: Programme) -> None:
    checks = weak.cli("doctor", "--json", code=1).json()
    missing = {check["what"] for check in checks if check["holds"] is False}
    assert {
        "may create a schema", "reads, deletes and guards every table", "may set session_replication_role",
    } <= missing  # fmt: skip
    assert all(check["remedy"] for check in checks if check["holds"] is False)
    unseen = {check["what"] for check in checks if check["holds"] is None}
    assert {"read files", "read settings", "recycle WAL"} <= unseen
    assert "things are missing" in weak.cli("doctor", code=1).text


def test_doctor_is_content_with_a_superuser(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    assert "ready" in begun.cli("doctor").out
    assert {True} == {check["holds"] for check in begun.cli("doctor", "--json").json()}


def test_doctor_says_which_changefeed_would_follow_and_why(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    for change, kind, why in (
        ("SELECT", "slot", "wal_level is logical, the role may, and every followed table has its key"),
        ("ALTER TABLE track REPLICA IDENTITY FULL", "trigger", "the replica identity of public.track is the whole row"),
    ):
        run(begun.source, change)
        checks = {check["what"]: check for check in begun.cli("doctor", "--json").json()}
        told = checks[f"a changefeed by {kind}"]
        assert ("app", True) == (told["store"], told["holds"])
        assert told["needed_for"].endswith(f"; {why}")
    assert "the replica identity of public.track" in begun.cli("doctor").text


def test_doctor_says_before_the_run_that_a_home_is_not_empty(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    run(begun.homes["ca"], "CREATE TABLE here (x int)")
    (missing,) = [check for check in begun.cli("doctor", "--json", code=1).json() if check["holds"] is False]
    assert ("app-ca", "is empty") == (missing["store"], missing["what"])
    assert "here" in missing["remedy"]
    run(begun.homes["ca"], "DROP TABLE here")
    begun.cli("doctor")
    begun.homes["ca"] = begun.source
    begun.cli("doctor", code=1)


def test_doctor_is_content_with_a_home_that_holds_this_runs_rows(waiting: Programme) -> None:
    assert "ready" in waiting.cli("doctor").out


def test_doctor_says_which_right_a_home_lacks_for_the_restore(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    name = value(begun.homes["ca"], "SELECT current_database()")
    run(
        begun.homes["ca"],
        f"CREATE ROLE home_{name} LOGIN PASSWORD 'throw-away'; GRANT ALL ON DATABASE {name} TO home_{name}",
    )
    begun.homes["ca"] = make_conninfo(begun.homes["ca"], user=f"home_{name}")
    answer = begun.cli("doctor", "--json", code=1)
    checks = {check["what"]: check["holds"] for check in answer.json() if check["store"] == "app-ca"}
    assert (False, True) == (checks["may create databases"], checks["may create schemas here"])


@pytest.mark.parametrize(("size", "holds"), [(1, True), (10**18, False)])
def test_doctor_compares_the_room_at_home_with_the_plan(programme: Begin, size: int, holds: bool) -> None:
    """More bytes than any disk has: the room is missing, before anything moves."""
    begun = programme("chinook", {"CA": "ca"})
    parsed, _ = config.read(begun.file)
    host = Host(environment={"APP_DSN": begun.source, "APP_CA_DSN": begun.homes["ca"]})
    checks = list(examine(parsed, host, begun.folder, {"ca": size}))
    (room,) = [check for check in checks if check.store == "app-ca" and "MB free" in check.what]
    assert holds is room.holds
    assert [] == [check for check in checks if check.holds is False and check is not room]


def test_a_plan_knows_what_comes_to_each_home(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    sizes = bytes_by_home(decode_plan((begun.made / "plan.json").read_bytes()))
    assert ["ca"] == list(sizes)
    assert 0 < sizes["ca"] < value(begun.source, "SELECT pg_database_size(current_database())")


def test_giving_up_says_what_there_was_to_give_up(waiting: Programme) -> None:
    assert {"abandoned": True} == waiting.cli("abandon", "--yes", "--json").json()
    assert "nothing is under way" in waiting.cli("abandon", "--yes").out
    assert {"abandoned": False} == waiting.cli("abandon", "--yes", "--json").json()
    assert "given up" in waiting.cli("status").out
    for words in ("plan", "apply"):
        assert "was given up" in refused(waiting.cli(words, code=1))


def test_nothing_is_given_up_where_nothing_is_under_way(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    assert "nothing is under way" in begun.cli("abandon", "--yes").out
    begun.cli("apply", code=14)


@pytest.mark.parametrize("data", [b"{}", b"", b"\xff", b'{"payload": "", "payloadType": "x", "signatures": []}'])
def test_a_stray_file_among_the_approvals_is_named(waiting: Programme, data: bytes) -> None:
    stray = waiting.made / "approvals" / "note.json"
    stray.write_bytes(data)
    for words in ("apply", "status"):
        assert str(stray) in refused(waiting.cli(words, code=50)).replace("\n", "")
    stray.unlink()
    waiting.cli("apply", code=14)


def test_a_role_without_rights_stops_the_plan_and_is_sent_to_the_doctor(weak: Programme) -> None:
    assert "domicile doctor" in refused(weak.cli("plan", code=42))
    weak.file.unlink()
    said = weak.cli("init", "--dsn", "env:APP_DSN", "--market", "CA=ca").out
    assert "may not read the rows" in said


def test_doctor_follows_each_grant_it_names(weak: Programme) -> None:
    """After the grants that it asks for, what was missing is there."""
    admin = make_conninfo(weak.source, user="postgres")
    role, name = f"weak_{value(admin, 'SELECT current_database()')}", value(admin, "SELECT current_database()")
    run(
        admin,
        f"GRANT CREATE ON DATABASE {name} TO {role}; GRANT postgres TO {role};"
        f" GRANT SET ON PARAMETER session_replication_role TO {role}",
    )
    checks = weak.cli("doctor", "--json").json()
    assert set() == {check["what"] for check in checks if check["holds"] is False}
    weak.cli("plan")


def test_keys_are_never_overwritten_and_are_kept_from_others(bare: Programme) -> None:
    bare.cli("keys", "new", "operator")
    secret = bare.folder / "operator.key"
    assert 0o600 == secret.stat().st_mode & 0o777
    whole = secret.read_bytes()
    bare.cli("keys", "new", "operator", code=30)
    assert whole == secret.read_bytes()
    assert whole.strip().decode() not in "".join(bare.shown)
    bare.cli("keys", "new", "other", "--folder", "no/such", code=60)


def test_a_key_that_is_none(waiting: Programme) -> None:
    for name, data in (("text", b"hello\n"), ("empty", b""), ("other", b"\xff\xfe")):
        path = waiting.folder / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        assert name in refused(waiting.cli("approve", "--key", name, code=30))
    public = waiting.folder / "operator.pub"
    public.chmod(0o600)
    refused(waiting.cli("approve", "--key", "operator.pub", code=30))
    secret = waiting.folder / "operator.key"
    secret.chmod(0o644)
    assert "chmod 600" in refused(waiting.cli("approve", "--key", "operator.key", code=30))


def test_an_approver_without_a_key_or_with_anothers(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    text = begun.file.read_text(encoding="utf-8")
    begun.file.write_text(re.sub(r"^    monitor: .*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    assert "no key of monitor" in refused(begun.cli("plan", code=30))
    (line,) = re.findall(r"^    operator: (.*)$", text, re.MULTILINE)
    begun.file.write_text(re.sub(r"^    monitor: .*$", lambda _: f"    monitor: {line}", text, flags=re.MULTILINE))
    assert "same key" in refused(begun.cli("plan", code=30))


def test_paths_that_can_not_be_written(waiting: Programme) -> None:
    for words in (["map", "--picture", "no/such/x.html"], ["log", "prove", "1", "--to", "no/such/x"]):
        assert "no/such/x" in waiting.cli(*words, code=60).err
    assert "statements" in refused(waiting.cli("log", "prove", "999", "--to", "x", code=1))


def test_a_folder_that_is_none(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.made.write_bytes(b"")
    refused(begun.cli("plan", code=60))


def test_a_bent_log_is_refused(waiting: Programme) -> None:
    (checkpoint,) = (waiting.made / "evidence").rglob("checkpoint")
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole.replace(b"\n", b"\nx", 1))
    refused(waiting.cli("status", code=50))
    refused(waiting.cli("apply", "--yes", code=50))
    checkpoint.write_bytes(whole)
    waiting.cli("status")


def test_a_cut_off_log_is_refused(waiting: Programme) -> None:
    """The whole evidence of an earlier moment put back: the journal knows better."""
    kept = waiting.folder / "kept"
    shutil.copytree(waiting.made / "evidence", kept)
    waiting.cli("approve", "--key", "operator.key")
    shutil.rmtree(waiting.made / "evidence")
    kept.rename(waiting.made / "evidence")
    refused(waiting.cli("status", code=50))


def test_names_that_look_like_markup_are_printed_as_they_are(bare: Programme) -> None:
    run(
        bare.source,
        'CREATE TABLE "customer [/]" (customer_id int PRIMARY KEY, email text, first_name text, last_name text,'
        " country text); INSERT INTO \"customer [/]\" SELECT n, n || '@example.invalid', 'a' || n, 'b' || n,"
        " CASE n % 3 WHEN 0 THEN 'Canada' WHEN 1 THEN 'Brazil' ELSE 'France' END FROM generate_series(1, 30) AS n;"
        ' CREATE TABLE "[bold]order" (order_id int PRIMARY KEY, customer_id int REFERENCES "customer [/]", note text)',
    )
    bare.draft({"CA": "ca"})
    for words in (["map"], ["plan"], ["doctor"]):
        bare.cli(*words)
    assert '"customer [/]"' in bare.cli("map").out
    assert "app.public.[bold]order" in bare.cli("map").out
    bare.move()
    bare.approve()
    bare.cli("erase")
    bare.cli("apply", "--yes", "--until", "erase")
    assert 20 == value(bare.source, 'SELECT count(*) FROM "customer [/]"')
    with psycopg.connect(bare.homes["ca"]) as connection:
        assert (10,) == connection.execute('SELECT count(*) FROM "customer [/]"').fetchone()
