"""Opens the object stores that the file names."""

from __future__ import annotations

from pathlib import Path

from domicile.config import ObjectStoreRule
from domicile.config.belongings import BucketRule
from domicile.host import Host
from domicile.stores.objects import ObjectStore
from domicile.stores.objects.files import FileObjects
from domicile.stores.objects.s3 import S3Objects, S3Place


def open_store(name: str, rule: ObjectStoreRule, *, host: Host, base: Path) -> ObjectStore:
    """The store of that name; nothing is asked of it yet. BadFile where a reference leads nowhere."""
    if not isinstance(rule, BucketRule):
        return FileObjects(Path(rule.path), name=name)
    place = S3Place(
        endpoint=_given(rule.endpoint, host=host, base=base),
        bucket=rule.bucket,
        prefix=rule.prefix,
        region=rule.region,
        key_id=host.secret(rule.key_id, base=base),
        secret=host.secret(rule.secret, base=base),
    )
    return S3Objects(place, name=name)


def prefix_of(rule: ObjectStoreRule) -> str:
    """What stands before every key of the store in its bucket."""
    return rule.prefix if isinstance(rule, BucketRule) else ""


def _given(text: str, *, host: Host, base: Path) -> str:
    return host.secret(text, base=base) if text.startswith(("env:", "file:")) else text
