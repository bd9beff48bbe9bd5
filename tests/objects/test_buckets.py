"""Objects in buckets of a real S3 server: versions, a delete marker, an incomplete upload, a lock, and a leftover."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from domicile.errors import Refused, Waiting
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import run
from tests.attack.programme import PERSON, allow_one, call_lost, make
from tests.objects.conftest import DATASETS, MOVER, SCHEMA, Stored
from tests.servers import Databases
from tests.stores.objects.weed import OWNER, Weed

NAMED: Final = f"u/2/{MOVER.decode()}.txt"
"""A key with somebody's address in it."""
STORES: Final = """
  media:
    kind: s3
    location: here
    endpoint: env:S3_ENDPOINT
    bucket: locked
    prefix: sg/
    key_id: env:S3_KEY
    secret: env:S3_SECRET
    objects:
      - {pattern: "u/{subject}/*", disposition: move}
      - {disposition: none, reason: "said to be nobody's"}
  media-ca:
    kind: s3
    location: ca
    endpoint: env:S3_ENDPOINT
    bucket: versioned
    prefix: ca/
    key_id: env:S3_KEY
    secret: env:S3_SECRET
    home_of: media
"""


@pytest.fixture
def buckets(weed: Weed, pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Iterator[tuple[Stored, Any]]:
    """A programme over two prefixes, and a client of the tests' own."""
    source, home = database(pg18), database(pg18)
    run(source, SCHEMA)
    for name in ("locked", "versioned"):
        weed.bucket(name)
    programme = make(tmp_path / "programme", STORES + PERSON + DATASETS, source=source, homes={"CA": home})
    programme.environment = {
        **programme.environment, "S3_ENDPOINT": weed.endpoint, "S3_KEY": OWNER.key_id, "S3_SECRET": OWNER.secret,
    }  # fmt: skip
    client = weed.client()
    yield Stored(programme=programme, source=source), client
    for bucket in ("locked", "versioned"):  # the next test finds them empty
        said = client.list_object_versions(Bucket=bucket)
        for one in (*said.get("Versions", ()), *said.get("DeleteMarkers", ())):
            client.delete_object(
                Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"], BypassGovernanceRetention=True
            )  # fmt: skip
        for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ()):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _listed(client: Any, bucket: str, prefix: str) -> dict[str, int]:
    """Versions and markers by key, as S3's own answer has them."""
    said = client.list_object_versions(Bucket=bucket, Prefix=prefix)
    found: dict[str, int] = {}
    for one in (*said.get("Versions", ()), *said.get("DeleteMarkers", ())):
        key = one["Key"].removeprefix(prefix)
        found[key] = found.get(key, 0) + 1
    return found


def _put(client: Any, key: str, body: bytes) -> str:
    return str(client.put_object(Bucket="locked", Key=f"sg/{key}", Body=body)["VersionId"])


def _fill(client: Any, until: datetime) -> None:
    """Two versions, a delete marker, a lock until then, an upload that nobody completes, and what nobody thought of."""
    _put(client, NAMED, b"first")
    _put(client, NAMED, b"second")
    _put(client, "u/4/hidden", b"hidden")
    client.delete_object(Bucket="locked", Key="sg/u/4/hidden")
    client.put_object_retention(
        Bucket="locked", Key="sg/u/6/kept", VersionId=_put(client, "u/6/kept", b"kept"),
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
    )  # fmt: skip
    client.create_multipart_upload(Bucket="locked", Key="sg/u/2/half")
    _put(client, "u/1/letter", b"of one who stays")
    _put(client, "backup/old.txt", b"exported: " + MOVER)


def test_p3_p8_p11_versions_go_locks_stay_until_their_day_and_what_was_planted_is_found(
    buckets: tuple[Stored, Any],
) -> None:
    made, client = buckets
    until = datetime.now(UTC) + timedelta(days=3)
    _fill(client, until)
    planned = made.programme.command("plan")
    shown = " ".join(planned.stdout.split())
    day = (until + timedelta(days=1)).date()
    assert f"1 versions of people who move are locked: blocked until {day}" in shown, planned.stdout + planned.stderr
    assert "3 objects (5 versions" in shown
    assert "1 incomplete uploads, 1 of people who move: aborted, not moved" in shown
    made.programme.clear_again()
    made.programme.apply(yes=True)

    assert {"backup/old.txt": 1, "u/1/letter": 1, "u/6/kept": 1} == _listed(client, "locked", "sg/")
    assert {NAMED: 2, "u/4/hidden": 2, "u/6/kept": 1} == _listed(client, "versioned", "ca/")
    assert not client.list_multipart_uploads(Bucket="locked", Prefix="sg/").get("Uploads")
    told = made.told()
    assert "present" == told["objects"]
    assert "erased-verified" == told["object-versions"] == told["incomplete-uploads"]
    assert "blocked-until" == told["locked-versions"]
    assert "erased-unverified" == told["store-files"]
    assert {"ca": (5, 4, 1)} == made.counts()
    left = (made.programme.workspace.folder / "left-media.txt").read_text()
    (place,) = [line.split("\t")[0] for line in left.splitlines() if "backup/old.txt" in line]
    assert place in made.why("objects")
    assert ["media/incomplete-uploads"] == [one.where for one in made.findings("to be removed")]
    audited = made.programme.audit()
    assert 0 == audited.returncode, audited.stdout + audited.stderr
    assert str(day) in audited.stdout
    folder = made.programme.workspace.folder
    for path in (one for one in folder.rglob("*") if one.is_file() and one.name != "left-media.txt"):
        assert MOVER not in path.read_bytes(), path.name
        assert OWNER.secret.encode() not in path.read_bytes(), path.name
    before = (_listed(client, "locked", "sg/"), made.statements())
    made.programme.apply()
    assert before == (_listed(client, "locked", "sg/"), made.statements())
    made.programme.apply(yes=True)  # treats and searches again, as something is `present`
    assert before[0] == _listed(client, "locked", "sg/")
    assert told == made.told()
    assert 0 == made.programme.audit().returncode
    _when_the_day_has_come(made, client)


@pytest.mark.parametrize("lost", [("monitor",), ("monitor", "operator")])
def test_p2_what_a_lock_kept_goes_on_its_day_only_while_enough_approvals_count(
    buckets: tuple[Stored, Any], lost: tuple[str, ...]
) -> None:
    """One approval is enough, two were given, and then keys are called lost."""
    made, client = buckets
    _fill(client, datetime.now(UTC) + timedelta(days=3))
    allow_one(made.programme)
    made.programme.finish()
    for name in lost:
        call_lost(made.programme, name)
    made.programme.apply()  # certified anew, behind the changes
    _the_day_comes(client)
    said = made.programme.command("apply", "--yes")
    told = " ".join((said.stdout + said.stderr).split())
    stays = lost[1:]
    assert bool(stays) == ("what a lock kept of objects stays" in told), told
    assert bool(stays) == ("u/6/kept" in _listed(client, "locked", "sg/"))
    if stays:
        assert 0 == made.programme.command("certify").returncode
    audited = made.programme.audit()
    assert (1 if stays else 0) == audited.returncode, audited.stdout
    if stays:
        assert "without what a lost key signed, has 0 approvals" in audited.stdout


def _when_the_day_has_come(made: Stored, client: Any) -> None:
    """The lock's end, brought near by somebody who may, is over: the next treatment removes what it kept."""
    _the_day_comes(client)
    made.programme.apply(yes=True)
    assert {"backup/old.txt": 1, "u/1/letter": 1} == _listed(client, "locked", "sg/")
    assert {"ca": (5, 5, 0)} == made.counts()
    assert "erased-verified" == made.told()["locked-versions"]
    for kind, count in (("to be removed", 1), ("removed", 0)):
        assert ("media/locked-versions", count) == [(one.where, one.count) for one in made.findings(kind)][-1]
    audited = made.programme.audit()
    assert 0 == audited.returncode, audited.stdout + audited.stderr


def _the_day_comes(client: Any) -> None:
    until = datetime.now(UTC) + timedelta(seconds=1)
    (kept,) = client.list_object_versions(Bucket="locked", Prefix="sg/u/6/kept")["Versions"]
    client.put_object_retention(
        Bucket="locked", Key="sg/u/6/kept", VersionId=kept["VersionId"], BypassGovernanceRetention=True,
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
    )  # fmt: skip
    while datetime.now(UTC) <= until + timedelta(seconds=1):  # S3 knows whole seconds
        pass


def test_p3_p10_a_bucket_alone_that_was_restored_is_found_by_the_guard(buckets: tuple[Stored, Any]) -> None:
    """Its rows did not come back, all was certified: `apply` does not look, the guard does."""
    made, client = buckets
    _put(client, "u/2/letter", b"first")
    _put(client, "u/2/letter", b"second")
    _put(client, "u/1/letter", b"of one who stays")
    made.programme.finish()
    assert "erased-verified" == made.told()["objects"]
    quiet = made.programme.command("restore-guard")
    assert (0, True) == (quiet.returncode, "no erased object is there again" in quiet.stdout), quiet.stderr

    for body in (b"first", b"second"):  # as a restored bucket has them: other version ids, the same keys
        _put(client, "u/2/letter", body)
    client.create_multipart_upload(Bucket="locked", Key="sg/u/2/letter")
    before = made.statements()
    made.programme.apply()
    assert before == made.statements()  # finished before: nothing was looked at
    dry = made.programme.command("restore-guard", "--json")
    assert 1 == dry.returncode
    assert [{"store": "media", "came_back": 3, "not_asked": None}] == json.loads(dry.stdout)["objects"]
    assert before == made.statements()
    assert 0 == made.programme.audit().returncode

    said = made.programme.command("restore-guard", "--yes")
    assert 1 == said.returncode
    assert "store media: 3 versions of erased objects are there again" in " ".join(said.stdout.split())
    assert [("media", 3)] == [(one.where, one.count) for one in made.findings("objects came back")]
    assert "the certificate is not the last statement" in made.programme.audit().stdout
    assert 2 == _listed(client, "locked", "sg/")["u/2/letter"]  # the guard itself removes none
    with pytest.raises(Waiting, match="1 objects, 1 older versions and 1 incomplete uploads"):
        made.programme.apply(yes=True)
    for one in client.list_object_versions(Bucket="locked", Prefix="sg/u/2/")["Versions"]:
        client.delete_object(Bucket="locked", Key=one["Key"], VersionId=one["VersionId"])
    for upload in client.list_multipart_uploads(Bucket="locked", Prefix="sg/")["Uploads"]:
        client.abort_multipart_upload(Bucket="locked", Key=upload["Key"], UploadId=upload["UploadId"])
    made.programme.apply(yes=True)
    assert "erased-verified" == made.told()["objects"]
    assert 0 == made.programme.audit().returncode
    assert 0 == made.programme.command("restore-guard").returncode


def test_p11_a_bucket_that_cannot_be_asked_is_told_by_the_guard(buckets: tuple[Stored, Any]) -> None:
    made, client = buckets
    _put(client, "u/2/letter", b"first")
    made.programme.finish()
    made.programme.environment = {**made.programme.environment, "S3_SECRET": "another one"}
    asked = made.programme.command("restore-guard", "--json")
    assert 1 == asked.returncode, asked.stderr
    (media,) = json.loads(asked.stdout)["objects"]
    assert 0 == media["came_back"]
    assert media["not_asked"]


def test_a_home_that_would_keep_the_newest_version_only_is_refused(buckets: tuple[Stored, Any], weed: Weed) -> None:
    made, _ = buckets
    weed.bucket("plain")
    file = made.programme.folder / "domicile.yaml"
    file.write_text(file.read_text().replace("bucket: versioned", "bucket: plain"))
    with pytest.raises(Refused, match="would keep the newest only"):
        made.programme.plan()
