"""Reads a real database into a draft, the way `domicile init` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile import map as datamap
from domicile.catalogue import Catalogue, TableName
from domicile.catalogue.samples import Samples
from domicile.config import Config, load
from domicile.config.rules import DatasetRule
from domicile.model import Scope
from domicile.plan.resolve import resolve
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.samples import read_samples

CANADA: Mapping[str, str] = {"CA": "ca"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """A draft and what it was made from."""

    catalogue: Catalogue
    samples: Samples
    draft: datamap.Draft

    @property
    def config(self) -> Config:
        return load(self.draft.text.encode())

    def scope(self) -> Scope:
        return resolve(self.config, self.catalogue)

    def rule(self, name: str) -> DatasetRule:
        return self.config.datasets[f"app.public.{name}"]

    def path(self, name: str) -> list[str]:
        """The paths of a dataset, hops by their columns, `<` before one that goes down."""
        return [
            ".".join(("<" if hop.from_ else "") + ",".join(hop.via) for hop in way.path)
            for way in self.rule(name).paths
        ]


def draft_of(dsn: str, markets: Mapping[str, str] = CANADA) -> Drafted:
    with psycopg.connect(dsn, autocommit=True) as conn:
        catalogue = read_catalogue(conn)
        samples = read_samples(conn, catalogue, datamap.questions(catalogue))
    return Drafted(
        catalogue=catalogue,
        samples=samples,
        draft=datamap.draft(catalogue, samples, frame=datamap.Frame(markets=markets)),
    )


def run(dsn: str, script: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(sql.SQL(script))


def public(text: str) -> TableName:
    return TableName(schema="public", name=text)


def ask(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(sql.SQL(query)).fetchall()
