"""Objects in folders go home with the rows, are erased where they were, and nobody else's are touched."""

from __future__ import annotations

from tests.objects.conftest import Made, keys

OF_MOVERS = {f"{name}" for number in (2, 4, 6) for name in (f"videos/of-{number}.mp4", f"u/{number}/letter.txt")}
OF_OTHERS = {f"{name}" for number in (1, 3, 5) for name in (f"videos/of-{number}.mp4", f"u/{number}/letter.txt")}


def test_objects_go_home_with_the_rows_and_leave_the_source(folders: Made) -> None:
    made = folders()
    before = {key: (made.media / key).read_bytes() for key in keys(made.media)}
    made.programme.finish()
    assert OF_OTHERS | {"thumbs/2.jpg", "logo.png"} == keys(made.media)
    assert OF_MOVERS | {"thumbs/2.jpg"} == keys(made.home)
    assert all(before[key] == (made.home / key).read_bytes() for key in keys(made.home))
    assert all(before[key] == (made.media / key).read_bytes() for key in keys(made.media))
    assert {"ca": (6, 6, 0)} == made.counts()
    assert {"objects": "erased-verified", "incomplete-uploads": "erased-verified", "no-objects": "erased-verified"} == {
        copy: verdict for copy, verdict in made.told().items() if verdict != "unknown"
    }
    audited = made.programme.audit()
    assert 0 == audited.returncode, audited.stdout + audited.stderr
