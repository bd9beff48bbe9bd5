"""What the file may say of object stores, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from domicile import config
from domicile.errors import BadFile
from tests.objects.conftest import RULES, written

BUCKET = "kind: s3\n    endpoint: https://s3.example\n    bucket: b\n    key_id: env:K\n    secret: env:S"


def _read(folder: Path, rules: str = RULES, **changes: str) -> config.Config:
    """The file after some of its text was replaced."""
    file = written(folder, rules).folder / "domicile.yaml"
    text = file.read_text()
    for old, new in changes.items():
        before = {"kind": f"kind: files\n    location: here\n    path: {folder / 'media'}"}.get(old, old)
        assert before in text
        text = text.replace(before, new)
    file.write_text(text)
    return config.read(file)[0]


def test_stores_that_data_leaves_and_their_homes_are_told_apart(tmp_path: Path) -> None:
    read = _read(tmp_path)
    assert {"media"} == read.object_stores.keys()
    assert {"ca": "media-ca"} == read.object_homes("media")
    assert {"app", "app-ca"} == read.databases.keys()


@pytest.mark.parametrize(
    ("rules", "wrong"),
    [
        ("{of: app.public.film, column: address, disposition: move}", "app.public.film is not in `datasets`"),
        ("{of: app.public.video, disposition: move}", "`of` and `column` go together"),
        ('{of: app.public.video, column: address, pattern: "*", disposition: move}', "give either"),
        ('{pattern: "u/{subject}/*", cut: x, disposition: move}', "`cut` and `spelled`"),
        ('{pattern: "u/*", disposition: move}', "`move` needs a way to the person"),
        ('{pattern: "*/{subject}/*", disposition: move}', r"with no \* before it"),
        ('{pattern: "{subject}*", disposition: move}', "can't name two persons"),
        ("{disposition: public}", "`public` needs"),
        ("{disposition: none}", "`none` needs a `reason`"),
        ('{pattern: "*", disposition: public, ownerless: stay}', "`ownerless` is for `move`"),
        ("{metadata: owner, tag: owner, disposition: move}", "two rules say both"),
        ('{metadata: owner, pattern: "*", disposition: move}', "two rules say both"),
        ("{metadata: owner, disposition: public}", "`metadata` and `tag` name a person"),
        ("{tag: owner, disposition: none, reason: r}", "`metadata` and `tag` name a person"),
        ("{meta: owner, disposition: move}", "meta"),
    ],
)
def test_rules_that_say_nothing_are_refused(tmp_path: Path, rules: str, wrong: str) -> None:
    with pytest.raises(BadFile, match=wrong):
        _read(tmp_path, f"\n      - {rules}\n")


def test_two_rules_for_the_rest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="two rules are for what no other rule is about"):
        _read(tmp_path, 2 * "\n      - {disposition: none, reason: r}" + "\n")


def test_objects_may_move_while_people_write(tmp_path: Path) -> None:
    assert _read(tmp_path, **{"datasets:\n": "cutover: {}\ndatasets:\n"}).cutover is not None


def test_each_home_needs_a_store_for_objects(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="at ca, 0 stores with `home_of: media`"):
        _read(tmp_path, **{"home_of: media": "home_of: nothing"})


def test_a_folder_is_no_home_for_a_bucket(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="a folder keeps no versions and no content types; media needs a bucket"):
        _read(tmp_path, kind=f"{BUCKET}\n    location: here")


def test_p1_two_folders_that_lie_in_one_another_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="lies in, or around, the path of"):
        _read(tmp_path, **{"/media-ca,": "/media/ca,"})
