"""The reference of `domicile.yaml` and the models agree: every key, every default, every word of a closed set."""

from __future__ import annotations

import re
from enum import Enum
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import BaseModel

from domicile import config
from domicile.config import belongings, custody, people, policy, rules, tree, witnesses
from domicile.errors import BadFile

PAGE = Path(__file__).resolve().parents[2] / "docs" / "domicile-yaml.md"
SECTIONS: dict[str, type[BaseModel]] = {
    "The file": config.Config,
    "programme": config.Programme,
    "policy": policy.Policy,
    "signing": config.SigningRule,
    "policy.approvals": policy.ApprovalRules,
    "policy.approvals.erase": policy.Approvals,
    "policy.exceptions": policy.ExceptionRule,
    "policy.public": policy.PublicRule,
    "locations": config.Location,
    "stores": config.StoreRule,
    "server logs": custody.ServerLogRule,
    "stores of copies": custody.CopiesRule,
    "encrypted": custody.EncryptedRule,
    "key services: files": custody.FileKeysRule,
    "key services: tokens": custody.TokenKeysRule,
    "stores of pgBackRest": custody.RepositoryRule,
    "stores of restic": custody.ResticRule,
    "buckets": belongings.BucketRule,
    "folders of objects": belongings.FolderRule,
    "objects": belongings.ObjectRule,
    "subject": people.SubjectRule,
    "subject.market": people.Market,
    "subject.market.evidence": people.EvidenceRule,
    "directory": config.DirectoryRule,
    "cutover": config.CutoverRule,
    "witnesses": witnesses.WitnessRule,
    "datasets": rules.DatasetRule,
    "datasets.fields": rules.FieldRule,
    "Hops": rules.Hop,
    "datasets.subjects": rules.Subjects,
    "datasets.subjects.by": rules.PathRule,
    "datasets.edges": rules.EdgeRule,
    "datasets.edges.apart": rules.ApartRule,
}
ENUMS = (rules.FieldClass, rules.Disposition, rules.Shared, rules.HomeRows, rules.Apart, rules.Decide, rules.Pause)
LINE = re.compile(r"^\| `([a-z_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def documented(title: str) -> dict[str, str]:
    """Key → default of the section's first table; it has the head `key | default | meaning`."""
    table = section(title).split("| key | default | meaning |")[1].split("\n\n")[0]
    return {key: default.strip("`") for key, default, _ in LINE.findall(table)}


def spelled(model: type[BaseModel]) -> dict[str, str]:
    """Key → default as the page should say it."""
    return {
        field.alias or name: "required" if field.is_required() else spell(field.get_default(call_default_factory=True))
        for name, field in model.model_fields.items()
    }


def spell(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, rules.ApartRule):
        return str(value.home.value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return str(list(value))
    if value == "":
        return "empty"
    return {str({}): "{}"}.get(str(value), str(value))


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_and_default_is_documented(title: str) -> None:
    assert documented(title) == spelled(SECTIONS[title])


def test_every_model_has_a_section() -> None:
    models = {
        kind
        for module in (config, people, policy, belongings, custody, rules, witnesses)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == module.__name__
    }
    assert models - {rules.FileModel, belongings.ObjectsRule} == set(SECTIONS.values())


def test_every_word_of_a_closed_set_is_explained() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [word.value for kind in ENUMS for word in kind if f"`{word.value}`" not in page] == []


def test_a_key_that_is_left_out_would_be_seen() -> None:
    class Longer(config.Programme):
        colour: str = "blue"

    assert documented("programme") != spelled(Longer)


def test_the_example_is_a_file_that_is_accepted() -> None:
    blocks = re.findall(r"```yaml\n(version: 1\n.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    parsed = config.load(blocks[0].encode())
    assert parsed.home_stores == {"us": "app-us", "ca": "app-ca"}


def test_the_limits_that_the_page_names_are_those_of_the_code() -> None:
    assert tree.FILE_BYTES_MAX == 4 * 2**20
    assert "At most 4 MiB" in PAGE.read_text(encoding="utf-8")


def test_ten_lines_that_mean_a_thousand_million_values_are_refused() -> None:
    names = "abcdefghij"
    lines = ["a: &a [" + ",".join("x" * 10) + "]"]
    lines += [f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]" for before, name in pairwise(names)]
    with pytest.raises(BadFile, match="once its aliases are expanded"):
        config.load("\n".join(lines).encode())


def test_a_value_that_holds_itself_is_refused_and_one_that_is_used_twice_is_not() -> None:
    with pytest.raises(BadFile, match=r"domicile\.yaml:1: \*a stands inside of what it names"):
        config.load(b"version: &a {b: *a}")
    with pytest.raises(BadFile, match=r"domicile\.yaml:1: x: no such key here"):
        config.load(b"x: &a {b: 1}\nversion: *a")
