"""`domicile.yaml`: bytes → typed models, strict and bounded; every refusal names line, key and remedy.

Only what can be said without a store is checked here; that a column or an edge exists is `plan`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from domicile.catalogue import TableName
from domicile.config.belongings import BucketRule, FolderRule
from domicile.config.custody import (
    AnyKeys,
    AroundRule,
    BackupRule,
    CopiesRule,
    FileKeysRule,
    RepositoryRule,
    ResticRule,
    ServerLogRule,
    wrong_repositories,
)
from domicile.config.people import SubjectRule
from domicile.config.policy import Policy, PublicRule
from domicile.config.rules import NAME, DatasetRule, FileModel, Pause
from domicile.config.tree import load_tree, read_bytes
from domicile.config.witnesses import WitnessRule
from domicile.errors import BadFile


class Location(FileModel):
    """Country and operator of a place where stores stand."""

    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    operator: Annotated[str, Field(min_length=1, max_length=200)]


class StoreRule(FileModel):
    """One database; `files` says how a sweep reads its server's files: on this machine if it can, or by SQL.

    A `standby_of` the source is treated after it and swept like it.
    """

    kind: Literal["postgresql"]
    location: str
    dsn: str
    home_of: str | None = None
    standby_of: str | None = None
    files: Literal["auto", "sql"] = "auto"
    server_log: ServerLogRule | None = None


ObjectStoreRule = BucketRule | FolderRule
AnyStore = Annotated[StoreRule | AroundRule | ObjectStoreRule, Field(discriminator="kind")]


class Programme(FileModel):
    """Name and date of the whole undertaking."""

    name: Annotated[str, Field(pattern=NAME.pattern)]
    deadline: date | None = None


class SigningRule(FileModel):
    """Where the engine's key lies that signs log and statements; without it, in the programme's folder."""

    key: Annotated[str, Field(min_length=1, max_length=1_024)]
    secret: str | None = None


class DirectoryRule(FileModel):
    """Keep whose home is where, beyond the erasure: the key of each who moved and a location, no more."""

    purpose: Annotated[str, Field(min_length=1, max_length=500)]


class CutoverRule(FileModel):
    """Move people in cohorts, while everybody writes; without it all are moved at once, under one fence.

    `canaries` are keys of people who go first, `grow` the shares of all that go then, the last one again and again.
    `pause` says after which cohorts `apply` stops for a person to look. For each second that the engine copies, follows
    or cuts over it rests for `nice_ratio` seconds (gh-ost's word).
    """

    feed: Literal["auto", "slot", "trigger"] = "auto"
    canaries: Annotated[tuple[str, ...], Field(max_length=10_000)] = ()
    grow: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)], ...], Field(min_length=1, max_length=64)
    ] = (0.01, 0.05, 0.1)
    wait_s_max: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = 5.0
    pause: Pause = Pause.FIRST
    nice_ratio: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0.0
    retained_mib_max: Annotated[int, Field(ge=16, le=16_777_216)] = 4_096


class Config(FileModel):
    """The whole file."""

    version: Literal[1]
    programme: Programme
    policy: Policy
    signing: SigningRule | None = None
    locations: Annotated[dict[str, Location], Field(min_length=1)]
    stores: Annotated[dict[str, AnyStore], Field(min_length=1)]
    key_services: dict[str, AnyKeys] = Field(default_factory=dict)
    subject: SubjectRule
    other_subjects: Annotated[tuple[SubjectRule, ...], Field(max_length=16)] = ()
    directory: DirectoryRule | None = None
    cutover: CutoverRule | None = None
    witnesses: WitnessRule | None = None
    datasets: dict[str, DatasetRule]

    @model_validator(mode="after")
    def _joined(self) -> Config:
        for problem in _dangling(self):
            raise ValueError(problem)
        return self

    @property
    def keeps_directory(self) -> bool:
        """Whether a directory stays at the source: where the file asks for it, and after every move by cohorts."""
        return self.directory is not None or self.cutover is not None

    @property
    def kinds(self) -> tuple[SubjectRule, ...]:
        """All kinds of people, the market's own subjects first."""
        return (self.subject, *self.other_subjects)

    @property
    def source(self) -> str:
        """The name of the store that data leaves."""
        return self.subject.dataset.split(".", 1)[0]

    @property
    def databases(self) -> dict[str, StoreRule]:
        """The stores that are databases, by name."""
        return {name: store for name, store in self.stores.items() if isinstance(store, StoreRule)}

    @property
    def standbys(self) -> dict[str, StoreRule]:
        """The standbys of the source, by name."""
        return {name: store for name, store in self.databases.items() if store.standby_of == self.source}

    @property
    def around(self) -> dict[str, AroundRule]:
        """The folders and repositories of copies of the source, by name."""
        return {
            name: store
            for name, store in self.stores.items()
            if isinstance(store, CopiesRule | RepositoryRule | ResticRule) and store.of == self.source
        }

    @property
    def backups(self) -> dict[str, BackupRule]:
        """The homes' own backups, by the home's store: folders of dumps, and repositories of pgBackRest."""
        return {
            store.of: store
            for store in self.stores.values()
            if isinstance(store, CopiesRule | RepositoryRule) and store.of != self.source
        }

    @property
    def object_stores(self) -> dict[str, ObjectStoreRule]:
        """The object stores that data leaves, by name."""
        return {name: store for name, store in self.buckets_and_folders.items() if store.home_of is None}

    def object_homes(self, source: str) -> dict[str, str]:
        """Home location → the object store there that takes the objects of `source`."""
        wanted = set(self.policy.homes.values())
        return {
            store.location: name
            for name, store in self.buckets_and_folders.items()
            if store.home_of == source and store.location in wanted
        }

    @property
    def buckets_and_folders(self) -> dict[str, ObjectStoreRule]:
        """All object stores, those of homes as well, by name."""
        return {name: store for name, store in self.stores.items() if isinstance(store, BucketRule | FolderRule)}

    @property
    def home_stores(self) -> dict[str, str]:
        """Home location → the store there that takes the source's data, for the homes that the policy names."""
        wanted = set(self.policy.homes.values())
        return {
            store.location: name
            for name, store in self.databases.items()
            if store.home_of == self.source and store.location in wanted
        }


def _dangling(config: Config) -> Iterator[str]:
    """Yield what the file names and doesn't have."""
    yield from _wrong_names(config)
    yield from _wrong_stores(config)
    yield from _wrong_homes(config)
    yield from _wrong_objects(config)
    yield from _wrong_public(config)
    yield from _wrong_keys(config)
    exceptions = {rule.id for rule in config.policy.exceptions}
    for name, rule in config.datasets.items():
        for other in rule.of or ():
            if other == name or other not in config.datasets:
                yield f"datasets.{name}.of: {other} is {'itself' if other == name else 'not in `datasets`'}"
        for column, field in rule.fields.items():
            if field.exception and field.exception not in exceptions:
                yield f"datasets.{name}.fields.{column}: exception {field.exception} is not in policy.exceptions"


def _wrong_names(config: Config) -> Iterator[str]:
    places = [kind.dataset for kind in config.kinds]
    yield from (f"other_subjects: {place} is named twice" for place in sorted(set(places)) if places.count(place) > 1)
    for name in (*config.stores, *config.locations, *config.key_services):
        if not NAME.match(name):
            yield f"{name!r}: names of stores, locations and key services are letters, digits, - and _"


def _wrong_stores(config: Config) -> Iterator[str]:
    databases = config.databases
    for name, store in config.stores.items():
        if store.location not in config.locations:
            yield f"stores.{name}.location: {store.location} is not in `locations`"
    for name, database in databases.items():
        if database.home_of and database.home_of not in databases:
            yield f"stores.{name}.home_of: {database.home_of} is not in `stores`, or no database"
        if database.standby_of not in {None, config.source}:
            yield f"stores.{name}.standby_of: {database.standby_of} is not {config.source}, the store that data leaves"
        if database.standby_of and (database.home_of or name == config.source):
            yield f"stores.{name}: a standby of the source is neither the source nor a home"
    if config.source not in databases:
        yield f"subject.dataset: {config.source} is not in `stores`, or no database"
    elif databases[config.source].home_of:
        yield f"subject.dataset: {config.source} is a home; the subject dataset lies at the source"
    taken = [store.location for store in databases.values() if store.home_of == config.source]
    for location in {place for place in taken if taken.count(place) > 1}:
        yield f"stores: two stores at {location} have `home_of: {config.source}`"
    yield from _wrong_around(config)


def _wrong_around(config: Config) -> Iterator[str]:
    yield from wrong_repositories(config.stores, config.source)
    for name, database in config.databases.items():
        if database.server_log and name != config.source and not database.standby_of:
            yield f"stores.{name}.server_log: only of what data leaves, and its standbys; a home's own log stays"
    paths: dict[str, str] = {}
    for name, store in config.stores.items():
        if isinstance(store, CopiesRule | RepositoryRule) and store.of != config.source:
            yield from _wrong_backups(config, name, store)
        if not isinstance(store, CopiesRule | FolderRule | ResticRule):
            continue
        own, key = (store.repository, "repository") if isinstance(store, ResticRule) else (store.path, "path")
        if not own.startswith("/"):
            yield f"stores.{name}.{key}: {own} is not absolute; write it from / on"
        place = own.rstrip("/") + "/"
        for other, path in paths.items():
            if place.startswith(path) or path.startswith(place):
                yield f"stores.{name}.{key}: lies in, or around, the path of {other}; each file belongs to one store"
        paths[name] = place


def _wrong_backups(config: Config, name: str, store: BackupRule) -> Iterator[str]:
    """What is wrong with backups that aren't the source's: they have to be a home's, at home, and no bare archive."""
    if store.of not in config.home_stores.values():
        yield f"stores.{name}.of: {store.of} is neither {config.source}, which data leaves, nor a home of it"
        return
    home = config.stores[store.of].location
    if store.location != home:
        yield f"stores.{name}.location: {store.location} is not {home}, where {store.of} is: no backup at home"
    if store.kind == "archive":
        yield f"stores.{name}.kind: backups of a home are `dumps` or `pgbackrest`"
    goes = isinstance(store, CopiesRule) and store.encrypted is not None
    if goes or store.removed_by != "operator" or store.keep_until is not None:
        yield f"stores.{name}: `removed_by`, `keep_until`, `encrypted` are for what has to go; backups of a home stay"
    theirs = [other.of for other in config.stores.values() if isinstance(other, CopiesRule | RepositoryRule)]
    if theirs.count(store.of) > 1:
        yield f"stores.{name}: {store.of} has two stores of backups; name the one that is to be restored"


def _wrong_homes(config: Config) -> Iterator[str]:
    homes = config.home_stores
    for market, location in config.policy.homes.items():
        if location not in config.locations:
            yield f"policy.homes.{market}: {location} is not in `locations`"
        elif location not in homes:
            yield f"policy.homes.{market}: no store at {location} has `home_of: {config.source}`"
    if config.source in config.stores and config.stores[config.source].location in config.policy.homes.values():
        yield "policy.homes: the source's own location can't be a home"
    for kind in config.kinds:
        answer = kind.market.conflict
        if answer not in (None, "stay") and answer not in config.policy.homes:
            yield f"{kind.dataset}: market.conflict: {answer} is neither `stay` nor a market of policy.homes"
    unknown = config.policy.unknown_market
    if unknown not in ("in-scope", "stay") and unknown not in config.policy.homes:
        yield f"policy.unknown_market: {unknown} is neither `in-scope`, `stay`, nor a market of policy.homes"


def _wrong_objects(config: Config) -> Iterator[str]:
    """What is wrong with object stores: one at each home for each that data leaves, and rules of datasets that are."""
    sources = config.object_stores
    for name, store in sources.items():
        yield from _wrong_object_store(config, name, store)
    for name, other in config.stores.items():
        if isinstance(other, BucketRule | FolderRule) and other.home_of and other.home_of not in sources:
            yield f"stores.{name}.home_of: {other.home_of} is not in `stores`, or no object store that data leaves"


def _wrong_object_store(config: Config, name: str, store: ObjectStoreRule) -> Iterator[str]:
    homes = set(config.policy.homes.values())
    if store.location in homes:
        yield f"stores.{name}.location: {store.location} is a home; a home's own objects stay, so leave the store out"
    there = [
        other.location
        for other in config.stores.values()
        if isinstance(other, BucketRule | FolderRule) and other.home_of == name
    ]
    for location in sorted(homes | set(there)):
        if location not in homes or there.count(location) != 1:
            wrong = f"{there.count(location)} stores" if location in homes else "that is no home, but a store"
            yield f"stores.{name}: at {location}, {wrong} with `home_of: {name}`; each home needs one, others none"
    for other, home in config.stores.items():
        if isinstance(store, BucketRule) and isinstance(home, FolderRule) and home.home_of == name:
            yield f"stores.{other}: a folder keeps no versions and no content types; {name} needs a bucket at home"
    for number, rule in enumerate(store.objects):
        if rule.of is not None and rule.of not in config.datasets:
            yield f"stores.{name}.objects.{number}.of: {rule.of} is not in `datasets`"


def _wrong_public(config: Config) -> Iterator[str]:
    rule = config.policy.public or PublicRule()
    for key, names in (("connections", rule.connections), ("trusted", rule.trusted)):
        for name in names:
            if name not in config.locations:
                yield f"policy.public.{key}: {name} is not in `locations`"
    for name in rule.only:
        if name not in config.datasets:
            yield f"policy.public.only: {name} is not in `datasets`"


def _wrong_keys(config: Config) -> Iterator[str]:
    """What is wrong with key services, and with folders that are encrypted under their keys."""
    for name, service in config.key_services.items():
        paths = (service.path, *service.copies) if isinstance(service, FileKeysRule) else (service.module,)
        yield from (f"key_services.{name}: {path} is not absolute" for path in paths if not path.startswith("/"))
    users: dict[tuple[str, str], str] = {}
    for name, store in config.stores.items():
        rule = store.encrypted if isinstance(store, CopiesRule) else None
        if rule is None or not isinstance(store, CopiesRule):
            continue
        if rule.service not in config.key_services:
            yield f"stores.{name}.encrypted.service: {rule.service} is not in `key_services`"
        if store.of == config.source and store.removed_by != "engine":
            yield f"stores.{name}.encrypted: it is the engine that destroys the key; write `removed_by: engine`"
        other = users.setdefault((rule.service, rule.key), name)
        if other != name:
            yield f"stores.{name}.encrypted.key: {rule.key} is the key of {other} as well; each folder has its own"


def dataset_id(store: str, table: TableName) -> str:
    """Spell the id of a table's dataset, as `domicile.yaml` does."""
    return f"{store}.{table}"


def split_dataset_id(text: str) -> tuple[str, TableName]:
    """Split `store.schema.table`, parts in double quotes when they hold dots; raise BadFile otherwise."""
    parts = re.findall(r'(?:"((?:[^"]|"")*)"|([^."]+))(?:\.|$)', text)
    names = [quoted.replace('""', '"') or plain for quoted, plain in parts]
    if len(names) != 3 or dataset_id(names[0], TableName(schema=names[1], name=names[2])) != text:
        raise BadFile(f'{text!r} is not a dataset id: write store.schema.table, "quoting" a part that holds a dot')
    return names[0], TableName(schema=names[1], name=names[2])


def load(data: bytes, *, origin: str = "domicile.yaml") -> Config:
    """Parse the file's bytes; raise BadFile with line, key and remedy."""
    tree = load_tree(data, origin=origin, remedy="start with `domicile init` or `version: 1`")
    return tree.model(Config, hint="docs/domicile-yaml.md")


def read(path: Path) -> tuple[Config, bytes]:
    """Read the file at `path`; return the model and the exact bytes that are hashed."""
    data = read_bytes(path, remedy="run `domicile init` or name it with --file")
    return load(data, origin=path.name), data


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file."""
    return Config.model_json_schema(by_alias=True)
