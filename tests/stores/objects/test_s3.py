"""S3 itself, on a real server: denial, absence, broken lines, pages, locks, and what stays in the store's files."""

from __future__ import annotations

import hashlib
import random
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from domicile.errors import BadFile, HostFault, Locked, NotEqual, NotPermitted, StoreFault, Unreachable
from domicile.stores.objects import NULL_VERSION, Observed, Removal, Rule, RuleKind, Traits, Versioning
from domicile.stores.objects.copying import copy_key
from domicile.stores.objects.parts import PART_BYTES
from domicile.stores.objects.s3 import S3Objects, S3Place, requests, rules, spelling, store
from tests.stores.objects.benches import (
    DIGEST_KEY,
    SECRET_KEY,
    TRAITS,
    Broken,
    MemoryBench,
    S3Bench,
    blocks_of,
    put,
    read,
)
from tests.stores.objects.lines import answering, line_to
from tests.stores.objects.weed import READER, Weed

COMPACTIONS_MAX = 20
"""The server compacts a volume once it has heard what was deleted in it, some seconds later."""
LARGE_BYTES = 70 * 1024 * 1024 + 1


@pytest.fixture
def bench(weed: Weed) -> S3Bench:
    weed.bucket("plain")
    return S3Bench(weed)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried twice."""
    monkeypatch.setattr(requests, "TRIES_MAX", 1)


# -- who may, and where ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"secret": "wrong-secret"}, {"key_id": "wrong-id"}])
def test_wrong_credentials_are_denied_and_not_shown(bench: S3Bench, wrong: dict[str, str]) -> None:
    place = bench.place("plain", **wrong)
    denied = S3Objects(place, name="media")
    with pytest.raises(NotPermitted, match="store media: it denies access") as refusal:
        list(denied.versions())
    shown = f"{refusal.value!r} {place!r} {denied!r}"
    assert [] == [
        text for text in (place.key_id, place.secret, "127.0.0.1:") if text in shown.replace(place.endpoint, "")
    ]


def test_who_may_only_read_reads_and_is_told_what_stays_unseen(bench: S3Bench) -> None:
    owner = bench.store(versioned=False)
    put(owner, "k", b"content")
    reader = S3Objects(
        bench.place("plain", prefix=f"{owner.name}/", key_id=READER.key_id, secret=READER.secret), name="r"
    )
    assert b"content" == read(reader, "k", NULL_VERSION)
    with pytest.raises(NotPermitted):
        put(reader, "k", b"")
    with pytest.raises(NotPermitted):
        reader.remove("k", NULL_VERSION)
    unseen = [rule for rule in reader.rules() if rule.observed is Observed.UNSEEN]
    assert RuleKind.LOCK in {rule.kind for rule in unseen}
    assert b"content" == read(owner, "k", NULL_VERSION)


@pytest.mark.usefixtures("hasty")
def test_an_endpoint_that_nobody_answers_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = S3Place(endpoint=f"http://127.0.0.1:{port}", bucket="b", key_id="an-id", secret="a-secret")
    with pytest.raises(Unreachable, match="store media: no connection") as refusal:
        S3Objects(place, name="media").versioning()
    assert [] == [text for text in ("an-id", "a-secret", str(port), "/b") if text in str(refusal.value)]


def test_a_bucket_that_is_not_there_is_not_made(bench: S3Bench) -> None:
    with pytest.raises(StoreFault, match="its bucket is not there"):
        put(S3Objects(bench.place("absent"), name="media"), "k", b"")
    assert "absent" not in {bucket["Name"] for bucket in bench.weed.client().list_buckets()["Buckets"]}


@pytest.mark.parametrize(
    "endpoint", ["", "localhost:8333", "ftp://host", "https://key:secret@host", "https://", "http://[", "http://h:x"]
)
def test_an_endpoint_that_is_none_or_holds_credentials_is_refused(endpoint: str) -> None:
    with pytest.raises(BadFile) as refusal:
        S3Place(endpoint=endpoint, bucket="b", key_id="k", secret="s")
    assert "secret" not in str(refusal.value)


def test_boto3_is_loaded_when_it_is_asked_for_and_missed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys, domicile.stores.objects.s3; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": "src"}, check=False).returncode
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(HostFault, match=r"install domicile\[s3\]"):
        S3Objects(S3Place(endpoint="http://h", bucket="b", key_id="k", secret="s"), name="media").versioning()


def test_a_setting_of_the_machine_that_boto3_cannot_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_session", requests._session.__wrapped__)
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(HostFault, match="ProfileNotFound"):
        S3Objects(S3Place(endpoint="http://h", bucket="b", key_id="k", secret="s"), name="media").versioning()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("status", "body", "ours"),
    [
        (200, "<ListBucketResult></ListBucketResult>", StoreFault),
        (200, "<html>", Unreachable),
        (200, "", StoreFault),
        (200, "<ListVersionsResult><Version>", Unreachable),
        (503, "<Error><Code>SlowDown</Code></Error>", Unreachable),
        (500, "", Unreachable),
        (403, "<Error><Code>RequestTimeTooSkewed</Code></Error>", StoreFault),
        (400, "<Error><Code>anna@example.org/a</Code><Message>anna</Message></Error>", StoreFault),
    ],
)
def test_an_answer_that_is_none_is_never_taken_for_nothing(status: int, body: str, ours: type[StoreFault]) -> None:
    with answering(status, body) as endpoint:
        media = S3Objects(S3Place(endpoint=endpoint, bucket="b", key_id="k", secret="s"), name="media")
        for attempt in (lambda: list(media.versions()), lambda: media.history("k"), lambda: list(media.uploads())):
            with pytest.raises(ours) as refusal:
                attempt()
            assert "anna@" not in str(refusal.value)
            assert isinstance(refusal.value, Unreachable) == (ours is Unreachable)


# -- broken lines ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
def test_a_read_that_breaks_off_goes_on_where_it_broke(bench: S3Bench) -> None:
    owner, data = bench.store(), random.Random(2).randbytes(3 * PART_BYTES)  # noqa: S311 - a seed
    version_id = put(owner, "k", data)
    with line_to(bench.weed.endpoint) as line:
        broken = S3Objects(bench.place("versioned", prefix=f"{owner.name}/", endpoint=line.endpoint), name="media")
        broken.versioning()
        line.break_answers(3, keep=5_000_000)
        assert data == read(broken, "k", version_id)
        assert 0 == line.times
        line.break_answers(100, keep=10)
        with pytest.raises(Unreachable):
            read(broken, "k", version_id)


def test_a_write_whose_answer_is_lost_is_not_doubled(bench: S3Bench) -> None:
    owner = bench.store()
    with line_to(bench.weed.endpoint) as line:
        broken = S3Objects(bench.place("versioned", prefix=f"{owner.name}/", endpoint=line.endpoint), name="media")
        broken.versioning()
        line.break_answers(1, keep=10)
        with pytest.raises(Unreachable):
            put(broken, "k", b"content")
        assert 1 == len(owner.history("k"))
        source = bench.store()
        put(source, "k", b"content")
        copied = copy_key(source, broken, source.history("k"), digest_key=DIGEST_KEY)
        assert [(True, 0)] == [(one.was_there, one.bytes_sent) for one in copied]


# -- large objects -----------------------------------------------------------------------------------------------------


def test_a_large_copy_that_breaks_goes_on_with_the_parts_that_are_there(
    bench: S3Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, home = MemoryBench().store(versioned=False), bench.store()
    data = random.Random(3).randbytes(LARGE_BYTES)  # noqa: S311 - a seed
    put(source, "k", data, TRAITS)
    with monkeypatch.context() as patched:
        patched.setattr(source, "read", lambda *_, **__: blocks_of(data, break_at=40 * 1024 * 1024))
        with pytest.raises(Broken):
            copy_key(source, home, source.history("k"), digest_key=DIGEST_KEY)
    (upload,) = home.uploads()
    assert (PART_BYTES,) * 5 == upload.parts
    sent: list[int] = []
    again = bench.again(home)
    assert isinstance(again, S3Objects)
    events = again._requests._clients[0].meta.events
    events.register("before-call.s3.UploadPart", lambda params, **_: sent.append(params["url_path"] is not None))
    tracemalloc.start()
    try:
        (copied,) = copy_key(source, again, source.history("k"), digest_key=DIGEST_KEY)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (LARGE_BYTES - 5 * PART_BYTES, 4) == (copied.bytes_sent, len(sent))
    assert peak < 4 * PART_BYTES
    assert [] == list(home.uploads())
    with httpx.stream("GET", bench.address(home, "k", copied.version_id)) as answer:  # by another way than S3
        found = hashlib.sha256()
        for block in answer.iter_raw():
            found.update(block)
    assert hashlib.sha256(data).digest() == found.digest()
    head = home.head("k", copied.version_id)
    assert head is not None
    assert (TRAITS, LARGE_BYTES) == (head.traits, head.size)


def test_an_upload_that_was_begun_with_other_traits_is_not_kept(bench: S3Bench) -> None:
    source, home, data = bench.store(), bench.store(), bytes(PART_BYTES + 1)
    with pytest.raises(Broken):
        home.put("k", blocks_of(data, break_at=PART_BYTES), Traits(content_type="old/type"), size=len(data))
    put(source, "k", data, TRAITS)
    with pytest.raises(NotEqual, match="run again"):
        copy_key(source, home, source.history("k"), digest_key=DIGEST_KEY)
    assert [] == [*home.versions(), *home.uploads()]
    (copied,) = copy_key(source, home, source.history("k"), digest_key=DIGEST_KEY)
    assert len(data) == copied.bytes_sent


# -- listings ----------------------------------------------------------------------------------------------------------


def test_listings_go_over_many_pages(bench: S3Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    media = bench.store()
    for number in range(7):
        put(media, "a", b"%d" % number)
        media.put_marker("a")
        put(media, f"b{number}", b"")
    whole, history = list(media.versions()), media.history("a")
    assert [False, True] * 7 == [version.is_delete_marker for version in history]
    for page in (1, 2, 3):
        monkeypatch.setattr(store, "PAGE", page)
        monkeypatch.setattr(store, "PAGE_OF_KEY", page)
        assert whole == list(media.versions())
        assert history == media.history("a")


def test_uploads_that_a_store_tells_of_and_does_not_show_are_not_passed_over(
    bench: S3Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SeaweedFS says that there are more, and not from where on."""
    media = bench.store(versioned=False)
    assert isinstance(media, S3Objects)
    client = bench.weed.client()
    for number in range(5):
        client.create_multipart_upload(Bucket="plain", Key=f"{media.name}/k{number // 2}")
    assert ["k0", "k0", "k1", "k1", "k2"] == sorted(upload.key for upload in media.uploads())
    ask = media._requests.ask
    monkeypatch.setattr(
        media._requests,
        "ask",
        lambda operation, **what: ask(operation, **what, **({"MaxUploads": 2} if "uploads" in operation else {})),
    )
    with pytest.raises(StoreFault, match="more incomplete uploads than it shows"):
        list(media.uploads())


def test_a_key_with_more_versions_than_may_be_is_refused(bench: S3Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    media = bench.store()
    for _ in range(3):
        put(media, SECRET_KEY, b"")
    monkeypatch.setattr(store, "VERSIONS_OF_KEY_MAX", 2)
    for attempt in (lambda: list(media.versions()), lambda: media.history(SECRET_KEY)):
        with pytest.raises(StoreFault, match="more than 2 versions"):
            attempt()


def test_keys_that_the_listing_cannot_tell_are_counted(bench: S3Bench) -> None:
    media = bench.store()
    put(media, "good", b"")
    put(media, "bad\x01", b"")
    assert [1] == [gap.count for gap in media.gaps()]


@pytest.mark.parametrize("key", ["folder/", "a//b", "a\\b"])
def test_what_the_store_does_not_keep_as_given_is_noticed(bench: S3Bench, key: str) -> None:
    """SeaweedFS drops the content of a key that ends in a slash, and folds two slashes into one."""
    source, home = MemoryBench().store(), bench.store()
    put(source, key, b"content")
    with pytest.raises((NotEqual, StoreFault)):
        copy_key(source, home, source.history(key), digest_key=DIGEST_KEY)
    assert [] == list(home.versions())


def test_a_bucket_whose_versioning_is_suspended_says_so(bench: S3Bench) -> None:
    client = bench.weed.client()
    client.create_bucket(Bucket="suspended")
    for status, key in (("Enabled", "a"), ("Suspended", "a")):
        client.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": status})
        client.put_object(Bucket="suspended", Key=key, Body=status.encode())
    media = S3Objects(bench.place("suspended"), name="media")
    assert media.versioning() is Versioning.SUSPENDED
    first, last = media.history("a")
    assert (False, True, NULL_VERSION) == (first.is_latest, last.is_latest, last.version_id)
    assert [b"Enabled", b"Suspended"] == [read(media, "a", version.version_id) for version in (first, last)]
    with pytest.raises(StoreFault, match="turn versioning on"):
        media.put_marker("a")
    assert [Removal.REMOVED] * 2 == [media.remove("a", version.version_id) for version in (last, first)]
    assert [] == list(media.versions())


# -- rules and locks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_a_lock_of_either_mode_is_told_with_its_date_and_not_bypassed(bench: S3Bench, mode: str) -> None:
    lockable = bench.lockable()
    assert lockable is not None
    media, lock = lockable
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    version_id = put(media, "k", b"x")
    lock("k", version_id, until=until, mode=mode)
    with pytest.raises(Locked, match=f"locked until {until:%Y-%m-%d %H:%M} UTC") as refusal:
        media.remove("k", version_id)
    assert until == refusal.value.until
    assert [(version_id, False)] == [(one.version_id, one.is_delete_marker) for one in media.history("k")]


def test_rules_are_told_as_the_bucket_tells_them(bench: S3Bench) -> None:
    bench.lockable()
    client = bench.weed.client()
    client.put_object_lock_configuration(
        Bucket="locked",
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}},
        },
    )
    client.create_bucket(Bucket="ruled")
    expiry = {"ID": "tmp", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}}
    client.put_bucket_lifecycle_configuration(Bucket="ruled", LifecycleConfiguration={"Rules": [expiry]})
    told = {rule.kind: rule for rule in S3Objects(bench.place("locked"), name="media").rules()}
    assert (Observed.PRESENT, "new objects: governance, 3 days") == (
        told[RuleKind.LOCK].observed,
        told[RuleKind.LOCK].why,
    )
    told = {rule.kind: rule for rule in S3Objects(bench.place("ruled"), name="media").rules()}
    assert Observed.ABSENT is told[RuleKind.LOCK].observed
    assert (Observed.PRESENT, "rules: 1") == (told[RuleKind.LIFECYCLE].observed, told[RuleKind.LIFECYCLE].why)
    assert Observed.ABSENT is told[RuleKind.REPLICATION].observed
    assert Observed.ABSENT is told[RuleKind.LOGGING].observed
    client.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})


def test_an_answer_to_another_question_is_no_answer() -> None:
    with answering(200, "<ListBucketResult></ListBucketResult>") as endpoint:
        told = S3Objects(S3Place(endpoint=endpoint, bucket="b", key_id="k", secret="s"), name="media").rules()
    assert {(Observed.UNSEEN, "the store doesn't know the question (UnknownQuestion)")} == {
        (rule.observed, rule.why) for rule in told
    }


def test_targets_of_rules_are_named() -> None:
    destination = {"Bucket": "arn:aws:s3:::elsewhere"}
    answers: dict[Callable[[dict[str, Any]], Rule], dict[str, Any]] = {
        rules._replication: {"ReplicationConfiguration": {"Rules": [{"Destination": destination}] * 2}},
        rules._logging: {"LoggingEnabled": {"TargetBucket": "elsewhere"}},
        rules._inventory: {"InventoryConfigurationList": [{"Destination": {"S3BucketDestination": destination}}]},
    }
    for read_answer, answer in answers.items():
        assert (Observed.PRESENT, ("elsewhere",)) == (read_answer(answer).observed, read_answer(answer).targets)
        assert Observed.ABSENT is read_answer({}).observed


def test_headers_beyond_ascii_are_read_and_not_written() -> None:
    said = {"ContentLength": 1, "ETag": "e", "Metadata": {"Owner": "größe".encode().decode("latin-1"), "old": "gr\xf6"}}
    traits = spelling.head_of(said, []).traits
    assert (("old", "gr\xf6"), ("owner", "größe")) == traits.metadata
    with pytest.raises(StoreFault, match="ASCII"):
        spelling.request_of(traits, store="media")
    with pytest.raises(StoreFault, match="ASCII"):
        spelling.request_of(replace(Traits(), cache_control="a\r\nX-Header: b"), store="media")


# -- removed is not erased ---------------------------------------------------------------------------------------------


def test_removed_objects_lie_in_the_stores_own_files_until_these_are_compacted(bench: S3Bench) -> None:
    media, canary = bench.store(), b"CANARY-" + hashlib.sha256(b"canary").hexdigest().encode()
    noise = random.Random(4)  # noqa: S311 - a seed
    version_id = put(media, "k", noise.randbytes(50_000) + canary + noise.randbytes(50_000), Traits(content_type="a/b"))
    assert 1 == bench.weed.on_disk(canary)
    assert media.remove("k", version_id) is Removal.REMOVED
    assert [] == [*media.versions(), *media.uploads()]
    assert 1 == bench.weed.on_disk(canary)
    for _ in range(COMPACTIONS_MAX):
        bench.weed.compact()
        if not bench.weed.on_disk(canary):
            return
    pytest.fail("the canary is still there")
