"""The dataset resource of fideslang (ethyca/fideslang, `fideslang.models.Dataset`), as far as it is read or written.

Strict: a key that fideslang does not know, today or in its older versions, is refused with its line. What it knows and
Domicile does not use is `Unused` here: the reader reports those that change what would be erased, and passes over the
others.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from domicile.config.people import SubjectRule
from domicile.config.rules import DatasetRule, FieldRule

Unused = Any
Key = Annotated[str, Field(min_length=1, max_length=500)]
Categories = tuple[Key, ...] | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


class Reference(_Part):
    """Another collection's field that this one goes together with; `direction` says who is asked first."""

    dataset: Key
    field: Key
    direction: str | None = None


class FieldMeta(_Part):
    """What fideslang says of a field for requests; `domicile` is our own rule of it."""

    references: tuple[Reference, ...] | None = None
    identity: str | None = None
    primary_key: bool | None = None
    data_type: str | None = None
    length: int | None = None
    return_all_elements: Unused = None
    read_only: Unused = None
    custom_request_field: Unused = None
    masking_strategy_override: Unused = None
    redact: Unused = None
    domicile: FieldRule | None = None


class _Described(_Part):
    description: str | None = None
    data_categories: Categories = None
    data_uses: Unused = None
    data_purposes: Unused = None
    data_subjects: Unused = None
    data_qualifier: Unused = None
    retention: Unused = None


class FidesField(_Described):
    """A field, or what lies inside a JSON column (`fields`)."""

    name: Key
    fides_meta: FieldMeta | None = None
    fidesops_meta: FieldMeta | None = None
    fields: tuple[FidesField, ...] | None = None

    @property
    def meta(self) -> FieldMeta:
        """The field's metadata, under its present name or the older one."""
        return self.fides_meta or self.fidesops_meta or FieldMeta()


class OurCollection(_Part):
    """What fideslang can't say of a dataset: its id and all of its rule but the fields, which stand with the fields."""

    dataset: Key
    rule: DatasetRule


class CollectionMeta(_Part):
    """What fideslang says of a collection for requests."""

    after: tuple[Key, ...] | None = None
    erase_after: tuple[Key, ...] | None = None
    skip_processing: bool | None = None
    masking_strategy_override: Unused = None
    partitioning: Unused = None
    redact: Unused = None
    domicile: OurCollection | None = None


class Collection(_Described):
    """A table."""

    name: Key
    fields: tuple[FidesField, ...]
    fides_meta: CollectionMeta | None = None
    fidesops_meta: CollectionMeta | None = None

    @property
    def meta(self) -> CollectionMeta:
        """The collection's metadata, under its present name or the older one."""
        return self.fides_meta or self.fidesops_meta or CollectionMeta()


class Namespace(BaseModel):
    """Where the collections are; only the schema matters here."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, defer_build=True)
    schema_: Key | None = Field(default=None, alias="schema")


class OurDataset(_Part):
    """The store, and who the people are."""

    store: Key
    subject: SubjectRule | None = None
    other_subjects: tuple[SubjectRule, ...] = ()


class DatasetMeta(_Part):
    """What fideslang says of a dataset for requests."""

    resource_id: Unused = None
    after: Unused = None
    namespace: Namespace | None = None
    redact: Unused = None
    domicile: OurDataset | None = None


class Dataset(_Described):
    """A database, or one schema of it."""

    fides_key: Key
    organization_fides_key: Unused = None
    tags: Unused = None
    name: str | None = None
    meta: Unused = None
    fidesctl_meta: Unused = None
    third_country_transfers: Unused = None
    joint_controller: Unused = None
    collections: tuple[Collection, ...]
    fides_meta: DatasetMeta | None = None
    fidesops_meta: DatasetMeta | None = None

    @property
    def our(self) -> DatasetMeta:
        """The dataset's metadata, under its present name or the older one."""
        return self.fides_meta or self.fidesops_meta or DatasetMeta()


class FidesFile(_Part):
    """A file of resources; only datasets are looked into."""

    dataset: Annotated[tuple[Dataset, ...], Field(min_length=1, max_length=1_000)]
    data_category: Unused = None
    data_subject: Unused = None
    data_use: Unused = None
    data_qualifier: Unused = None
    evaluation: Unused = None
    organization: Unused = None
    policy: Unused = None
    registry: Unused = None
    system: Unused = None
