"""What the file may say of keys: what is unclear, or can't be meant, is refused with its place."""

from __future__ import annotations

import pytest

from domicile import config
from domicile.config.custody import CopiesRule, FileKeysRule, TokenKeysRule
from domicile.errors import BadFile

FILE = """
version: 1
programme: {name: homecoming}
policy:
  homes: {US: us}
  approvals: {erase: {threshold: 1, of: [operator]}}
locations:
  sg: {country: SG, operator: Origin Ltd}
  us: {country: US, operator: Home Inc}
stores:
  app: {kind: postgresql, location: sg, dsn: env:APP_DSN}
  app-us: {kind: postgresql, location: us, dsn: env:APP_US_DSN, home_of: app}
  dumps: {kind: dumps, location: sg, of: app, path: /srv/dumps, removed_by: engine,
    encrypted: {service: hsm, key: backups-us, since: 2019-01-01}}
  wal: {kind: archive, location: sg, of: app, path: /srv/wal, removed_by: engine,
    encrypted: {service: desk, key: wal-us, since: 2019-01-01}}
key_services:
  hsm: {kind: pkcs11, module: /usr/lib/hsm.so, token: domicile, pin: env:HSM_PIN, copies: [standby]}
  desk: {kind: file, path: /run/keys, copies: [], forgets: true}
subject: {dataset: app.public.person, key: id, market: {field: market}}
datasets:
  app.public.person: {rows: move}
"""


def test_the_file_says_under_which_key_of_which_service_a_folder_is_encrypted() -> None:
    parsed = config.load(FILE.encode())
    folder = parsed.around["dumps"]
    assert isinstance(folder, CopiesRule)
    rule = folder.encrypted
    assert rule
    assert ("hsm", "backups-us", "2019-01-01") == (rule.service, rule.key, str(rule.since))
    hsm, desk = parsed.key_services["hsm"], parsed.key_services["desk"]
    assert isinstance(hsm, TokenKeysRule)
    assert isinstance(desk, FileKeysRule)
    assert (False, True) == (hsm.forgets, desk.forgets)


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("service: hsm", "service: vault", "stores.dumps.encrypted.service: vault is not in `key_services`"),
        ("path: /srv/dumps, removed_by: engine,", "path: /srv/dumps,", "write `removed_by: engine`"),
        ("service: desk, key: wal-us", "service: hsm, key: backups-us", "backups-us is the key of dumps as well"),
        ("key: backups-us", "key: ../backups", "encrypted.key"),
        ("key: backups-us", 'key: ""', "encrypted.key"),
        (", since: 2019-01-01}}\n  wal", "}}\n  wal", "since"),
        ("since: 2019-01-01}}\n  wal", "since: yesterday}}\n  wal", "since"),
        (", copies: [standby]", "", "copies"),
        (", copies: []", "", "copies"),
        ("pin: env:HSM_PIN, ", "", "pin"),
        ("module: /usr/lib/hsm.so", "module: hsm.so", "key_services.hsm: hsm.so is not absolute"),
        ("path: /run/keys, copies: []", "path: /run/keys, copies: [x]", "key_services.desk: x is not absolute"),
        ("kind: pkcs11", "kind: kmip", "key_services.hsm"),
        ("  desk: {kind", "  'a desk': {kind", "names of stores, locations and key services"),
        ("location: sg, of: app, path: /srv/dumps, removed_by: engine,", "location: us, of: app-us, path: /srv/dumps,",
         "are for what has to go; backups of a home stay"),
    ],
)  # fmt: skip
def test_what_is_unclear_about_keys_is_refused(before: str, after: str, word: str) -> None:
    assert before in FILE
    with pytest.raises(BadFile) as refused:
        config.load(FILE.replace(before, after).encode())
    assert word in str(refused.value)
