"""What `domicile.yaml` says of object stores: where they are, whose each object is, and what becomes of it. Pure.

A rule says it by rows (a column of a dataset names the object, so it is whose the row is), by the key itself, or by
what goes along with the object: metadata or a tag. All rules that are about an object count together; only the one
without any of these is for what no other is about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, model_validator

from domicile.config.rules import FileModel

SUBJECT: Final = "{subject}"
ANY: Final = "*"
PATTERN_CHARS_MAX: Final = 1_024
LABEL_CHARS_MAX: Final = 128
RULES_MAX: Final = 64


class ObjectRule(FileModel):
    """Whose objects are, and what becomes of them.

    `of` and `column`: rows name the objects; the value, less the prefix `cut`, is the key, `spelled` as it is or as a
    URL spells it. `pattern`: the key tells; `{subject}` stands for the person's key, `*` for any text. `metadata`,
    `tag`: the name of one whose value, on any version of the object, is the person's key.
    """

    disposition: Literal["move", "public", "none"]
    of: str | None = None
    column: str | None = None
    cut: Annotated[str, Field(max_length=PATTERN_CHARS_MAX)] = ""
    spelled: Literal["key", "url"] = "key"
    pattern: Annotated[str, Field(min_length=1, max_length=PATTERN_CHARS_MAX)] | None = None
    metadata: Annotated[str, Field(min_length=1, max_length=LABEL_CHARS_MAX)] | None = None
    tag: Annotated[str, Field(min_length=1, max_length=LABEL_CHARS_MAX)] | None = None
    ownerless: Literal["stay"] | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> ObjectRule:
        if (self.of is None) != (self.column is None):
            raise ValueError("`of` and `column` go together: the dataset and its column that names the objects")
        if sum(way is not None for way in (self.of, self.pattern, self.metadata, self.tag)) > 1:
            raise ValueError("give either `of` and `column`, `pattern`, `metadata` or `tag`; two rules say both")
        if self.has_label and self.disposition != "move":
            raise ValueError("`metadata` and `tag` name a person, so they are for `move`")
        if self.of is None and (self.cut or self.spelled != "key"):
            raise ValueError("`cut` and `spelled` are about the values of a `column`; give `of` and `column`, too")
        if self.pattern is not None:
            pattern_of(self.pattern)
        return self._has_what_it_needs()

    def _has_what_it_needs(self) -> ObjectRule:
        if self.disposition == "none" and (self.of is not None or not self.reason):
            raise ValueError("`none` needs a `reason` why nobody's data is in these objects, and no `of`")
        tells = self.of is not None or self.has_label or (self.pattern is not None and SUBJECT in self.pattern)
        if self.disposition == "move" and not tells:
            raise ValueError(
                "`move` needs a way to the person: `of` and `column`, a `pattern` with {subject}, `metadata` or `tag`"
            )
        if self.disposition != "move" and self.ownerless is not None:
            raise ValueError("`ownerless` is for `move`")
        if self.disposition == "public" and self.of is None and self.pattern is None:
            raise ValueError('`public` needs `of` and `column`, or a `pattern`; pattern: "*" means all')
        return self

    @property
    def is_rest(self) -> bool:
        """Whether it is for what no other rule is about."""
        return self.of is None and self.pattern is None and not self.has_label

    @property
    def has_label(self) -> bool:
        """Whether it asks what goes along with an object."""
        return self.metadata is not None or self.tag is not None

    @property
    def tells_person(self) -> bool:
        """Whether an object's key, or what goes along with it, has a person's key in it."""
        return self.has_label or (self.pattern is not None and SUBJECT in self.pattern)

    def key_named(self, value: str) -> str | None:
        """The key that a row's value names; None where it names nothing in this store."""
        if not value.startswith(self.cut):
            return None
        rest = value[len(self.cut) :]
        if self.spelled == "url":
            parts = urlsplit("x://x/" + rest)
            rest = unquote(parts.path[1:], errors="surrogateescape")
        return rest or None


class ObjectsRule(FileModel):
    """What the two kinds of object stores share."""

    location: str
    home_of: str | None = None
    objects: Annotated[tuple[ObjectRule, ...], Field(max_length=RULES_MAX)] = ()

    @model_validator(mode="after")
    def _one_rest(self) -> ObjectsRule:
        if sum(rule.is_rest for rule in self.objects) > 1:
            raise ValueError("two rules are for what no other rule is about; keep one")
        if self.home_of is not None and self.objects:
            raise ValueError("`objects` stands with the store that data leaves, not with its home")
        return self


class BucketRule(ObjectsRule):
    """A bucket, or what lies under a `prefix` in it, at any S3-compatible endpoint."""

    kind: Literal["s3"]
    endpoint: Annotated[str, Field(min_length=1, max_length=2_048)]
    bucket: Annotated[str, Field(min_length=1, max_length=255)]
    key_id: str
    secret: str
    prefix: Annotated[str, Field(max_length=512)] = ""
    region: str = "us-east-1"


class FolderRule(ObjectsRule):
    """A folder on this machine or mounted here; an object's key is its path in it."""

    kind: Literal["files"]
    path: Annotated[str, Field(min_length=1, max_length=4096)]


@cache
def pattern_of(text: str) -> re.Pattern[str]:
    """What a pattern of keys is as a regular expression for whole keys, with a group `subject` where it tells one.

    ValueError where it could name two persons: the subject begins behind plain text and ends before a plain letter.
    """
    before, found, after = text.partition(SUBJECT)
    if not found:
        return re.compile(_loosely(text), re.DOTALL)
    if ANY in before or SUBJECT in after or after.startswith(ANY):
        raise ValueError(
            "a pattern has one {subject}, with no * before it and a plain letter (such as /) or nothing behind it, so "
            "that it can't name two persons"
        )
    end = re.escape("/" + after[:1])
    return re.compile(f"{re.escape(before)}(?P<subject>[^{end}]+){_loosely(after)}", re.DOTALL)


def _loosely(text: str) -> str:
    return ".*".join(re.escape(part) for part in text.split(ANY))


def rest_of(rules: Sequence[ObjectRule]) -> ObjectRule | None:
    """The rule for what no other rule is about."""
    return next((rule for rule in rules if rule.is_rest), None)
