"""What `domicile.yaml` says of copies around the source, and of the keys under which they are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from domicile.config.rules import FileModel


class EncryptedRule(FileModel):
    """The key under which all of a folder is encrypted, and since when nothing lay there in plain."""

    service: str
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    since: date


class FileKeysRule(FileModel):
    """A key service that is a folder: in it a folder for each key, in that a PEM file for each generation.

    `copies` are all other folders in which its keys lie; `forgets` is the operator's word that the medium keeps nothing
    of what was overwritten: memory, or a disk without snapshots that writes in place.
    """

    kind: Literal["file"]
    path: Annotated[str, Field(min_length=1, max_length=4096)]
    copies: Annotated[tuple[str, ...], Field(max_length=32)]
    forgets: bool = False


class TokenKeysRule(FileModel):
    """A key service behind PKCS#11: the maker's library, the token's label, and its pin by reference.

    `copies` are the labels of all other tokens that hold its keys; `forgets`, of a token that is a program, is the
    operator's word that its files go nowhere else and nothing is kept of a key that it destroyed.
    """

    kind: Literal["pkcs11"]
    module: Annotated[str, Field(min_length=1, max_length=4096)]
    token: Annotated[str, Field(min_length=1, max_length=32)]
    pin: str
    copies: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=32)], ...], Field(max_length=32)]
    forgets: bool = False


AnyKeys = Annotated[FileKeysRule | TokenKeysRule, Field(discriminator="kind")]


class ServerLogRule(FileModel):
    """What becomes of a server's log files from before the end of its treatment: who removes them, and not before when.

    `alone` is the operator's word that no other server logs into `log_directory`; the engine wants it where that lies
    outside of the data directory.
    """

    removed_by: Literal["operator", "engine"]
    keep_until: date | None = None
    alone: bool = False


class CopiesRule(FileModel):
    """A folder of copies of the store `of`: its archived WAL, or its dumps.

    Of the source: `removed_by` says who removes those made before the erasure: `apply` waits for the operator, or does
    it itself; those that have to be kept until a day are `blocked-until` that day. Dumps of a home are its backups: the
    newest one has to hold what home holds before anything is erased. What is `encrypted` isn't removed: its key is
    destroyed.
    """

    kind: Literal["archive", "dumps"]
    location: str
    of: str
    path: Annotated[str, Field(min_length=1, max_length=4096)]
    removed_by: Literal["operator", "engine"] = "operator"
    keep_until: date | None = None
    encrypted: EncryptedRule | None = None


class RepositoryRule(FileModel):
    """A stanza of a pgBackRest repository that holds backups and archived WAL of the store `of`.

    `config` is pgBackRest's own configuration on this machine, `user` as whom it is run when we are root, `scratch`
    where a backup is restored to be searched. Of a home, it is the home's backup: the newest one and the WAL after it
    are restored in `scratch`, and have to hold what home holds before anything is erased.
    """

    kind: Literal["pgbackrest"]
    location: str
    of: str
    stanza: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    config: Annotated[str, Field(min_length=1, max_length=4096)] = "/etc/pgbackrest/pgbackrest.conf"
    user: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}$")] | None = None
    scratch: Annotated[str, Field(min_length=1, max_length=4096)] = "/var/tmp"  # noqa: S108 - made private there
    removed_by: Literal["operator", "engine"] = "operator"
    keep_until: date | None = None


class ResticRule(FileModel):
    """A repository of restic, in a folder of this machine, that holds backups of the source's machine.

    Those are the snapshots of `hosts` that hold one of `paths`, or lie in one; no `paths`: all of them. `user` is as
    whom restic is run when we are root, `scratch` where a snapshot is restored to be searched.
    """

    kind: Literal["restic"]
    location: str
    of: str
    repository: Annotated[str, Field(min_length=1, max_length=4096)]
    password: str
    hosts: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=255)], ...], Field(min_length=1, max_length=64)
    ]
    paths: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...], Field(max_length=256)] = ()
    user: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}$")] | None = None
    scratch: Annotated[str, Field(min_length=1, max_length=4096)] = "/var/tmp"  # noqa: S108 - made private there
    removed_by: Literal["operator", "engine"] = "operator"
    keep_until: date | None = None


AroundRule = CopiesRule | RepositoryRule | ResticRule


BackupRule = CopiesRule | RepositoryRule
"""What a home's own backups can be."""


def wrong_repositories(stores: Mapping[str, object], source: str) -> Iterator[str]:
    """Yield what is wrong with repositories: each once, in places that are written out, restic's of the source."""
    taken: dict[tuple[str, str], str] = {}
    for name, store in stores.items():
        if not isinstance(store, RepositoryRule | ResticRule):
            continue
        yield from _not_absolute(name, store)
        if isinstance(store, ResticRule) and store.of != source:
            yield (
                f"stores.{name}.of: {store.of} is not {source}, which data leaves; backups of a home are `dumps` or "
                "`pgbackrest`"
            )
        if isinstance(store, RepositoryRule):
            other = taken.setdefault((store.config, store.stanza), name)
            if other != name:
                yield f"stores.{name}.stanza: {store.stanza} is {other} already"


def _not_absolute(name: str, store: RepositoryRule | ResticRule) -> Iterator[str]:
    paths = [("scratch", store.scratch)]
    if isinstance(store, RepositoryRule):
        paths.append(("config", store.config))
    else:
        paths += [("paths", path) for path in store.paths]
    for key, path in paths:
        if not path.startswith("/"):
            yield f"stores.{name}.{key}: {path} is not absolute; write it from / on"
