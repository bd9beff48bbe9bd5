"""Objects in folders go home with the rows, are erased where they were, and nobody else's are touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from domicile.cli.moving import _would_erase
from domicile.errors import BadFile, Refused, Unclassed, Waiting
from domicile.evidence.commitments import Commitments
from domicile.evidence.predicates import ErasurePredicate, Phase
from domicile.host import Host
from domicile.objects import erasing, moving
from domicile.objects.book import Book
from domicile.record.journal import Journal
from domicile.record.workspace import Workspace
from domicile.run import Stage, guarding
from domicile.status import read_status
from domicile.stores.objects import Removal, Upload
from domicile.stores.objects.files import FileObjects
from tests.attack.conftest import World
from tests.attack.test_restores import dump, restore
from tests.objects.conftest import RULES, Folders, Made, keys

OF_MOVERS = {name for number in (2, 4, 6) for name in (f"videos/of-{number}.mp4", f"u/{number}/letter.txt")}
OF_OTHERS = {name for number in (1, 3, 5) for name in (f"videos/of-{number}.mp4", f"u/{number}/letter.txt")}
ALSO_STAY = {"thumbs/2.jpg", "logo.png"}


class Killed(BaseException):
    """Stands for the end of the process."""


def test_objects_go_home_with_the_rows_and_leave_the_source(folders: Made) -> None:
    made = folders()
    before = {key: (made.media / key).read_bytes() for key in keys(made.media)}
    planned = made.programme.command("plan")
    shown = " ".join(planned.stdout.split())
    assert "6 objects (6 versions, 123 bytes) go to ca" in shown, planned.stdout + planned.stderr
    assert "1 objects (1 versions, 17 bytes) stay, and go to each home" in shown
    assert keys(made.media) == before.keys()
    made.programme.clear_again()
    with made.programme.opened() as opened:
        assert ("media", "ca", 6, 0) in _would_erase(opened)[0]
        assert "6 private rows and 6 versions of objects in 3 slices" in " ".join(read_status(opened).lines)
    assert OF_MOVERS <= keys(made.media)  # P2: nothing goes before it is cleared, and said yes to
    made.programme.apply(yes=True)
    assert OF_OTHERS | ALSO_STAY == keys(made.media)
    assert OF_MOVERS | {"thumbs/2.jpg"} == keys(made.home)
    assert all(before[key] == (made.home / key).read_bytes() for key in keys(made.home))
    assert all(before[key] == (made.media / key).read_bytes() for key in keys(made.media))
    assert {"ca": (6, 6, 0)} == made.counts()
    assert {"objects": "erased-verified", "incomplete-uploads": "erased-verified", "no-objects": "erased-verified"} == {
        copy: verdict for copy, verdict in made.told().items() if verdict != "unknown"
    }
    audited = made.programme.audit()
    assert 0 == audited.returncode, audited.stdout + audited.stderr
    assert "that objects of media can be restored at home: none was" in audited.stdout


def test_p5_p7_killed_in_copy_and_in_erase_and_p1_what_changed_is_held(
    folders: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = folders()
    made.programme.plan()
    _killed_at(made, monkeypatch, moving, "copy_key", times=3)
    assert 0 < len(keys(made.home)) < len(OF_MOVERS)
    made.programme.clear_again()
    changed = made.put("u/4/letter.txt", b"written anew, person-4@example.org")
    late = made.put("u/6/late.txt", b"came late")
    _killed_at(made, monkeypatch, erasing, "_remove", times=3, yes=True)
    there = keys(made.media) & OF_MOVERS
    assert 1 < len(there) < len(OF_MOVERS)
    stated = [one for one in made.statements() if isinstance(one, ErasurePredicate) and one.dataset == "media"]
    assert [Phase.INTENT] == [one.phase for one in stated]  # P7
    _without_the_book(made)
    assert there == keys(made.media) & OF_MOVERS
    with pytest.raises(Waiting, match="2 objects, 0 older versions and 0 incomplete uploads") as waiting:
        made.programme.apply(yes=True)
    told = made.programme.workspace.folder / "left-media.txt"
    assert str(told) in str(waiting.value)
    assert {'"u/4/letter.txt"', '"u/6/late.txt"'} == {line.split("\t")[1] for line in told.read_text().splitlines()}
    assert OF_OTHERS | ALSO_STAY | {"u/4/letter.txt", "u/6/late.txt"} == keys(made.media)
    assert b"written anew, person-4@example.org" == changed.read_bytes()
    assert b"a letter of person-4@example.org" == (made.home / "u/4/letter.txt").read_bytes()
    assert 0 == made.programme.command("certify").returncode
    assert "present" == made.told()["objects"]
    assert {"ca": (6, 5, 1)} == made.counts()
    assert 0 == made.programme.audit().returncode
    for data in _evidence(made):
        assert b"letter.txt" not in data
    assert late.exists()


def test_p5_p7_killed_between_an_upload_that_went_and_its_outcome_the_next_run_states_it(
    folders: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = folders()
    half = made.put("u/2/.domicile-parts/half.bin", b"half")
    made.programme.plan()
    made.programme.clear_again()
    original = FileObjects.abort

    def end(store: FileObjects, upload: Upload) -> Removal:
        original(store, upload)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(FileObjects, "abort", end)
        with pytest.raises(Killed):
            made.programme.apply(yes=True)
    assert not half.exists()
    made.programme.apply(yes=True)
    for kind in ("to be removed", "removed"):
        assert [("media/incomplete-uploads", 1)] == [(one.where, one.count) for one in made.findings(kind)]
    assert 0 == made.programme.audit().returncode


def _without_the_book(made: Folders) -> None:
    """What the objects' book says can't be found out again: without it nothing goes on."""
    path = made.programme.workspace.folder / "objects.db"
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(BadFile, match="put it back from a copy of this run"):
        made.programme.apply(yes=True)
    path.write_bytes(content)


def _killed_at(
    made: Folders, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, *, times: int, yes: bool = False
) -> None:
    """End the run at the given call of a function of ours."""
    original, calls = getattr(module, name), []

    def end(*given: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) == times:
            raise Killed
        return original(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(module, name, end)
        with pytest.raises(Killed):
            made.programme.apply(yes=yes)


def _evidence(made: Folders) -> list[bytes]:
    """All that a bundle is made of, and what else the run's folder keeps, but for the operator's own files."""
    folder = made.programme.workspace.folder
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(("left-", "unruled-"))]
    assert {"bundle.zip", "journal.db", "plan.json"} <= {path.name for path in found}
    return [path.read_bytes() for path in found]


def test_p4_an_object_without_a_rule_stops_the_plan_and_its_key_is_told_to_the_operator_alone(folders: Made) -> None:
    made = folders(RULES.replace("- {disposition: none", "#"))
    with pytest.raises(Unclassed, match="1 objects or uploads: no rule is about them") as refused:
        made.programme.plan()
    assert "logo" not in str(refused.value)
    told = made.programme.workspace.folder / "unruled-media.txt"
    assert 'unruled\t"logo.png"\n' == told.read_text()
    assert 0o600 == told.stat().st_mode & 0o777
    (made.media / "logo.png").unlink()
    made.programme.plan()
    assert not told.exists()


def test_p4_an_object_that_came_since_the_plan_stops_the_freeze_and_the_fence_is_gone(folders: Made) -> None:
    made = folders(RULES.replace("- {disposition: none", "#"), fill=False)
    made.programme.plan()
    path = made.put("nobody/knows", b"?")
    with pytest.raises(Unclassed, match="came since the plan"):
        made.programme.apply(until=Stage.TRANSFER)
    path.unlink()
    made.programme.plan()
    made.programme.apply(until=Stage.TRANSFER)


def test_a_column_that_holds_no_texts_names_no_objects(folders: Made) -> None:
    made = folders("\n      - {of: app.public.video, column: id, disposition: move}\n", fill=False)
    with pytest.raises(Refused, match="no column id that is a text"):
        made.programme.plan()


def test_p1_a_home_whose_folder_lies_in_the_sources_by_a_link_is_refused(folders: Made) -> None:
    made = folders()
    made.home.rmdir()
    made.home.symlink_to(made.media / "u", target_is_directory=True)
    with pytest.raises(Refused, match="lie in one another"):
        made.programme.plan()


def test_p3_p10_after_a_restore_rows_go_again_and_objects_that_came_back_are_found(
    folders: Made, tmp_path: Path
) -> None:
    made = folders()
    world = World(source=made.source, home="", programme=made.programme)
    path = dump(world, tmp_path / "old.dump")
    made.programme.finish()
    restore(made.source, path)
    back = made.put("u/2/letter.txt", b"came back with a restored bucket")
    guarded = made.programme.command("restore-guard", "--yes")
    assert 1 == guarded.returncode, guarded.stderr
    told = " ".join(guarded.stdout.split())
    assert "rows are erased again" in told
    assert "store media: 1 versions of erased objects are there again" in told
    with pytest.raises(Waiting, match="1 objects, 0 older versions"):
        made.programme.apply(yes=True)
    back.unlink()
    made.programme.apply(yes=True)
    assert "erased-verified" == made.told()["objects"]
    assert 0 == made.programme.audit().returncode


@pytest.mark.parametrize("is_final", [True, False])
def test_p8_the_list_of_objects_goes_with_the_key_of_the_commitments_once_nobody_comes_back(
    tmp_path: Path, *, is_final: bool
) -> None:
    workspace = Workspace(tmp_path / "domicile.yaml")
    workspace.make()
    Commitments.make(workspace.commitments, Host()).close()
    book = Book(workspace.objects)
    assert not book.is_frozen("media")
    book.close()
    journal = Journal(workspace.journal)
    journal.put("final", value=is_final, kind=bool)
    journal.close()
    guarding.destroy(workspace)
    assert is_final is not workspace.objects.exists()
