"""What an instance is told from outside: read once, here, from the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = "sg"
"""The location of the commons, and of everybody who has no residence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One instance's place in the world."""

    location: str
    home_dsn: str = field(repr=False)
    commons_dsn: str = field(repr=False)
    s3_endpoint: str
    s3_key: str = field(repr=False)
    s3_secret: str = field(repr=False)
    bucket: str
    commons_bucket: str
    directory: str
    """Address of Domicile's directory, which says who lives where."""
    peers: Mapping[str, str]
    """Location → address of its instance; without one's own."""
    token: str = field(repr=False)
    """What instances show one another on /internal."""
    state: Path
    works: bool = True
    """Whether this process also does the location's jobs."""

    @property
    def is_commons(self) -> bool:
        """Whether the private data of this location lies in the database of the public data."""
        return self.location == SOURCE


def from_environment(variables: Mapping[str, str] | None = None) -> Settings:
    """Read the settings; a missing one is a KeyError with its name."""
    given = os.environ if variables is None else variables
    location = given["SV_LOCATION"]
    peers: dict[str, str] = json.loads(given.get("SV_PEERS", "{}"))
    return Settings(
        location=location,
        home_dsn=given["SV_HOME_DSN"],
        commons_dsn=given["SV_COMMONS_DSN"],
        s3_endpoint=given["SV_S3_ENDPOINT"],
        s3_key=given["SV_S3_KEY"],
        s3_secret=given["SV_S3_SECRET"],
        bucket=given["SV_BUCKET"],
        commons_bucket=given["SV_COMMONS_BUCKET"],
        directory=given["SV_DIRECTORY"],
        peers={name: url.rstrip("/") for name, url in peers.items() if name != location},
        token=given["SV_TOKEN"],
        state=Path(given["SV_STATE"]),
        works=given.get("SV_WORKER", "on") != "off",
    )
