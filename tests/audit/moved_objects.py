"""Worlds with objects, in buckets and in folders, moved by an engine, and what their auditor holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from blake3 import blake3

from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import run
from tests.attack.programme import PERSON, make
from tests.audit.handed import Capsys, Handed
from tests.objects.conftest import DATASETS, PEOPLE, RULES, SCHEMA, written
from tests.servers import databases_of
from tests.stores.objects.weed import OWNER, READER, Identity, Weed

BUCKET: Final = "versioned"
STORE: Final = """
  {name}:
    kind: s3
    location: {location}
    endpoint: env:S3_ENDPOINT
    bucket: {bucket}
    prefix: {prefix}
    key_id: env:S3_KEY
    secret: env:S3_SECRET
"""
SHARED: Final = "videos/of-4.mp4"
"""Somebody who stays has it as well."""
LETTER, FILM, HIDDEN, KEPT_ONE = "u/2/letter.txt", "videos/of-2.mp4", "u/4/hidden.txt", "u/6/kept.txt"
LABELLED: Final = "exports/1.bin"
LABEL: Final = "      - {metadata: whose, disposition: move}\n"
VERSIONS: Final = 11
"""Of people who go: three of a letter, one of another, a hidden one and its marker, three films, one that a lock may
keep, one that bears somebody's key as metadata."""


@dataclass(slots=True, kw_only=True)
class Case(Handed):
    """A moved world with objects; `places` says where each of its stores is."""

    DRAWN: ClassVar = "objects"
    homes: str
    places: dict[str, str]

    def look(self, capsys: Capsys, *more: str, places: dict[str, str] | None = None, key: Path | None = None) -> int:
        given = self.places if places is None else places
        words = ["--home", f"ca={self.homes}", "--source", self.programme.environment["APP_DSN"], *more]
        words += [word for name, place in given.items() for word in ("--objects", f"{name}={place}")]
        code = self.ask(capsys, *words, key=key)
        assert not [name for name in (LETTER, FILM, HIDDEN, KEPT_ONE, SHARED) if name in self.said]
        return code

    def seen(self, capsys: Capsys, *more: str, code: int = 0) -> dict[str, tuple[str, str]]:
        """Each drawn version, as it was seen at home and at the source."""
        assert code == self.look(capsys, "--json", *more), self.said
        return self.drawn()

    def ids(self, key: str) -> list[str]:
        """What the versions of an object are called, by a count of the lines of the audit key."""
        head, *lines = self.key.read_bytes().splitlines()
        name = blake3(b"domicile object key v1\x00" + key.encode(), key=bytes.fromhex(json.loads(head)["key"]))
        number, found = 0, []
        for line in lines:
            whose, _, *versions = line.decode().split(" ")
            if whose == name.hexdigest():
                found = [f"media/ca/objects#{number + place}" for place in range(len(versions))]
            number += len(versions)
        return found

    def bent(self, path: Path, change: Callable[[list[bytes]], object]) -> Path:
        """The audit key with its lines changed."""
        lines = self.key.read_bytes().splitlines(keepends=True)
        change(lines)
        path.write_bytes(b"".join(lines))
        return path


def url(weed: Weed, prefix: str, *, bucket: str = BUCKET, who: Identity = READER) -> str:
    """Where an auditor reads, with rights of their own."""
    return f"http://{who.key_id}:{who.secret}@{weed.endpoint.removeprefix('http://')}/{bucket}/{prefix}"


@contextmanager
def buckets(
    server: EmbeddedServer, weed: Weed, folder: Path, name: str, *, source: str, until: datetime | None = None
) -> Iterator[Case]:
    """A programme whose objects lie in two buckets, erased; `until` locks one version."""
    with databases_of(server, [f"{name}_source", f"{name}_home"]) as dsns:
        run(dsns[f"{name}_source"], SCHEMA)
        run(
            dsns[f"{name}_source"],
            f"INSERT INTO video (person_id, address) VALUES (1, 'https://cdn.example.org/{SHARED}')",
        )
        for bucket in {source, BUCKET}:
            weed.bucket(bucket)
        stores = STORE.format(name="media", location="here", bucket=source, prefix=f"{name}-sg/")
        stores += f"    objects:{RULES}{LABEL}"
        stores += STORE.format(name="media-ca", location="ca", bucket=BUCKET, prefix=f"{name}-ca/")
        stores += "    home_of: media\n"
        programme = make(
            folder, stores.removeprefix("\n") + PERSON + DATASETS, source=dsns[f"{name}_source"],
            homes={"CA": dsns[f"{name}_home"]},
        )  # fmt: skip
        programme.environment = {
            **programme.environment, "S3_ENDPOINT": weed.endpoint, "S3_KEY": OWNER.key_id, "S3_SECRET": OWNER.secret,
        }  # fmt: skip
        fill(weed.client(), source, f"{name}-sg/", until)
        programme.plan()
        programme.clear_again()
        programme.apply(yes=True)
        places = {"media": url(weed, f"{name}-sg/", bucket=source), "media@ca": url(weed, f"{name}-ca/")}
        case = Case(programme=programme, homes=dsns[f"{name}_home"], places=places)
        case.hand_over()
        yield case


def fill(client: Any, bucket: str, prefix: str, until: datetime | None) -> None:
    """Versions, a marker, traits, an object that somebody shares who stays, and what is nobody's."""
    for number in range(1, PEOPLE + 1):
        client.put_object(Bucket=bucket, Key=f"{prefix}videos/of-{number}.mp4", Body=b"film of %d" % number)
    traits = {"ContentType": "text/plain", "Metadata": {"owner": "two"}, "Tagging": "a=b&c=d"}
    client.put_object(Bucket=bucket, Key=prefix + LETTER, Body=b"first")
    client.put_object(Bucket=bucket, Key=prefix + LETTER, Body=b"another")
    client.put_object(Bucket=bucket, Key=prefix + LETTER, Body=b"second", CacheControl="no-store", **traits)
    client.put_object(Bucket=bucket, Key=prefix + HIDDEN, Body=b"hidden")
    client.delete_object(Bucket=bucket, Key=prefix + HIDDEN)
    said = client.put_object(Bucket=bucket, Key=prefix + KEPT_ONE, Body=b"kept")
    if until is not None:
        client.put_object_retention(
            Bucket=bucket, Key=prefix + KEPT_ONE, VersionId=said["VersionId"],
            Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
        )  # fmt: skip
    client.put_object(Bucket=bucket, Key=prefix + LABELLED, Body=b"export", Metadata={"whose": "2"})
    client.put_object(Bucket=bucket, Key=f"{prefix}u/1/letter.txt", Body=b"of one who stays")
    client.put_object(Bucket=bucket, Key=f"{prefix}u/4/letter.txt", Body=b"a letter")
    client.put_object(Bucket=bucket, Key=f"{prefix}logo.png", Body=b"nobody's")


def gone(client: Any, prefix: str, key: str) -> None:
    """Remove all versions and markers of a key in the bucket of homes."""
    said = client.list_object_versions(Bucket=BUCKET, Prefix=prefix + key)
    for one in (*said.get("Versions", ()), *said.get("DeleteMarkers", ())):
        client.delete_object(Bucket=BUCKET, Key=prefix + key, VersionId=one["VersionId"])


@contextmanager
def folders(server: EmbeddedServer, folder: Path) -> Iterator[Case]:
    """A programme whose objects lie in two folders, compared and approved."""
    with databases_of(server, ["spot_folders", "spot_folders_ca"]) as dsns:
        run(dsns["spot_folders"], SCHEMA)
        programme = written(folder, RULES, source=dsns["spot_folders"], home=dsns["spot_folders_ca"])
        for number in range(1, PEOPLE + 1):
            for key in (f"videos/of-{number}.mp4", f"u/{number}/letter.txt"):
                path = folder / "media" / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"of %d" % number)
        (folder / "media-ca").mkdir()
        programme.plan()
        programme.clear_again()
        places = {"media": str(folder / "media"), "media@ca": f"file://{folder / 'media-ca'}"}
        case = Case(programme=programme, homes=dsns["spot_folders_ca"], places=places)
        case.hand_over()
        yield case
