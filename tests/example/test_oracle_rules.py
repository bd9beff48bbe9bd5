"""What the oracle expects and finds, told without a service: each fault beside what is none."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from shortvideo.oracle.compare import COUNTED, TEXTS_SHOWN_MAX, Fault, compare
from shortvideo.oracle.expect import Switch, There, expected
from shortvideo.oracle.ledger import BadLedger, Entry, Kind, Outcome, Value
from shortvideo.oracle.look import Film, Holding, Private, Public, Seen, Text

ANN, BEN, CID = 1, 2, 3
NAMES = {ANN: "ann", BEN: "ben", CID: "cid"}


def done(kind: Kind, person: int, **what: Value) -> Entry:
    return Entry(kind=kind, person=person, what=what)


def unknown(kind: Kind, person: int, **what: Value) -> Entry:
    return Entry(kind=kind, person=person, outcome=Outcome.UNKNOWN, what=what)


PEOPLE = tuple(
    done(Kind.PERSON, person, username=name, cookie=f"{person}.x", email="", password="")
    for person, name in NAMES.items()
)
COMMENT = done(Kind.COMMENT, ANN, id=7, target_type="video", target="5", body="hi q1")
MESSAGE = done(Kind.MESSAGE, ANN, id=8, to="ben", to_id=BEN, body="hi q2")
DRAFT = done(Kind.DRAFT, ANN, id=9, caption="d q3")
VIDEO = done(Kind.VIDEO, ANN, id=10, caption="v q4")
LIKE = done(Kind.LIKE, ANN, video=5, on=True)
LANGUAGE = done(Kind.SETTINGS, ANN, language="fr")
WATCHED = (done(Kind.BASELINE, ANN, **{COUNTED[Kind.WATCH]: 3}), done(Kind.WATCH, ANN, video=5))
ALL = (*PEOPLE, COMMENT, MESSAGE, DRAFT, VIDEO, LIKE, LANGUAGE, *WATCHED)


def seen() -> Seen:
    """What a service without faults shows of ALL."""
    book = expected(ALL)
    private = {person: Private(who=book.people[person], location="sg") for person in NAMES}
    said = Text(id=8, author="ann", body="hi q2")
    private[ANN].conversations["ben"] = [said]
    private[BEN].conversations["ann"] = [said]
    private[ANN].drafts = [Film(id=9, author="ann", caption="d q3")]
    private[ANN].switches[Switch(kind=Kind.LIKE, person=ANN, target="5")] = True
    private[ANN].settings = {"language": "fr"}
    private[ANN].holdings = [Holding(what=COUNTED[Kind.WATCH], rows=4, location="sg", private=True)]
    film = Film(id=10, author="ann", caption="v q4")
    return Seen(
        private=list(private.values()),
        public=[
            Public(
                location=location,
                comments={("video", "5"): [Text(id=7, author="ann", body="hi q1")]},
                videos={10: film},
                profiles={"ann": [film]},
            )
            for location in ("sg", "us")
        ],
    )


def faults(entries: Iterable[Entry], view: Seen) -> list[Fault]:
    return [finding.fault for finding in compare(expected(entries), view)]


def of(view: Seen, person: int) -> Private:
    return next(private for private in view.private if private.who.id == person)


def test_a_service_without_faults_has_none() -> None:
    assert compare(expected(ALL), seen()) == []


def test_a_comment_that_one_location_does_not_show_is_lost() -> None:
    view = seen()
    view.public[1].comments["video", "5"] = []
    (finding,) = compare(expected(ALL), view)
    assert (finding.fault, finding.words) == (Fault.LOST, "comment 7 of person 1 on video 5, as us shows it")


def test_a_comment_under_another_number_is_not_the_same() -> None:
    view = seen()
    view.public[0].comments["video", "5"] = [Text(id=70, author="ann", body="hi q1")]
    assert [Fault.LOST] == faults(ALL, view)


def test_a_comment_under_another_name_is_in_the_wrong_place() -> None:
    view = seen()
    view.public[0].comments["video", "5"] = [Text(id=7, author="ben", body="hi q1")]
    assert [Fault.MISPLACED] == faults(ALL, view)


def test_a_page_that_is_full_hides_older_words() -> None:
    view = seen()
    others = [Text(id=100 + n, author="cid", body="x") for n in range(TEXTS_SHOWN_MAX)]
    view.public[0].comments["video", "5"] = others
    assert [] == faults(ALL, view)
    view.public[0].comments["video", "5"] = others[1:]
    assert [Fault.LOST] == faults(ALL, view)


def test_words_that_stand_twice_are_doubled() -> None:
    view = seen()
    of(view, BEN).conversations["ann"].append(Text(id=80, author="ann", body="hi q2"))
    (finding,) = compare(expected(ALL), view)
    assert Fault.DOUBLED is finding.fault
    assert "message 8 of person 1 to ben, as person 2 sees it at sg: 2 times" in finding.words


def test_a_message_that_the_recipient_does_not_see_is_lost() -> None:
    view = seen()
    of(view, BEN).conversations.clear()
    of(view, BEN).conversations["ann"] = []
    assert [Fault.LOST] == faults(ALL, view)


def test_a_message_that_somebody_else_sees_is_exposed() -> None:
    view = seen()
    of(view, CID).conversations["ann"] = [Text(id=8, author="ann", body="hi q2")]
    (finding,) = compare(expected(ALL), view)
    assert (finding.fault, finding.words) == (Fault.EXPOSED, "message 8 of person 1 to ben: person 3 sees it")


def test_a_draft_that_somebody_else_sees_is_exposed() -> None:
    view = seen()
    of(view, CID).drafts = [Film(id=9, author="cid", caption="d q3")]
    assert [Fault.EXPOSED] == faults(ALL, view)


def test_a_draft_whose_file_others_get_is_exposed() -> None:
    view = seen()
    of(view, ANN).open_drafts = [9]
    assert [Fault.EXPOSED] == faults(ALL, view)


def test_a_draft_that_is_gone_is_lost() -> None:
    view = seen()
    of(view, ANN).drafts = []
    assert [Fault.LOST] == faults(ALL, view)


@pytest.mark.parametrize("gone", ["videos", "profiles"])
def test_a_video_has_to_be_shown_alone_and_in_the_profile(gone: str) -> None:
    view = seen()
    if gone == "videos":
        view.public[0].videos[10] = None
    else:
        view.public[0].profiles["ann"] = []
    assert [Fault.LOST] == faults(ALL, view)


def test_a_like_that_is_not_as_it_was_left_is_lost() -> None:
    view = seen()
    of(view, ANN).switches[Switch(kind=Kind.LIKE, person=ANN, target="5")] = False
    assert [Fault.LOST] == faults(ALL, view)
    assert [] == faults([*ALL, unknown(Kind.LIKE, ANN, video=5, on=False)], view)
    assert [] == faults([*ALL, done(Kind.LIKE, ANN, video=5, on=False)], view)


def test_a_setting_that_is_not_as_it_was_left_is_lost() -> None:
    view = seen()
    of(view, ANN).settings["language"] = "en"
    assert [Fault.LOST] == faults(ALL, view)
    assert [] == faults([*ALL, unknown(Kind.SETTINGS, ANN, language="en")], view)


@pytest.mark.parametrize(("rows", "found"), [(3, [Fault.LOST]), (4, []), (5, []), (6, [Fault.DOUBLED])])
def test_rows_that_are_only_counted(rows: int, found: list[Fault]) -> None:
    """Three before, one acknowledged, one of which nobody knows."""
    view = seen()
    of(view, ANN).holdings = [Holding(what=COUNTED[Kind.WATCH], rows=rows, location="sg", private=True)]
    assert found == faults([*ALL, unknown(Kind.WATCH, ANN, video=5)], view)


def test_private_rows_elsewhere_are_in_the_wrong_place() -> None:
    view = seen()
    of(view, ANN).holdings = [Holding(what=COUNTED[Kind.WATCH], rows=4, location="us", private=True)]
    assert [Fault.MISPLACED] == faults(ALL, view)


def test_who_is_not_let_in_has_lost_everything_which_is_said_once() -> None:
    view = seen()
    view.private[0] = Private(who=of(view, ANN).who, let_in=False, location="sg")
    assert [Fault.LOST] == faults(ALL, view)


@pytest.mark.parametrize(
    "entry",
    [
        done(Kind.COMMENT_DELETED, ANN, id=7),
        done(Kind.DRAFT_DELETED, ANN, id=9),
        done(Kind.VIDEO_DELETED, ANN, id=10),
    ],
)
def test_what_was_taken_back_must_be_gone(entry: Entry) -> None:
    assert {Fault.LOST} == set(faults([*ALL, entry], seen()))
    asked = Entry(kind=entry.kind, person=entry.person, outcome=Outcome.UNKNOWN, what=entry.what)
    assert [] == faults([*ALL, asked], seen())


def test_a_published_draft_is_a_video_and_no_draft_any_more() -> None:
    book = expected([*ALL, done(Kind.DRAFT_PUBLISHED, ANN, draft=9, id=11)])
    assert (There.NO, There.YES, 11) == (book.drafts["d q3"].there, book.videos["d q3"].there, book.videos["d q3"].id)
    book = expected([*ALL, unknown(Kind.DRAFT_PUBLISHED, ANN, draft=9)])
    assert (There.MAYBE, There.MAYBE) == (book.drafts["d q3"].there, book.videos["d q3"].there)


@pytest.mark.parametrize("write", [COMMENT, MESSAGE, DRAFT, VIDEO])
def test_a_write_without_an_answer_may_be_there_once(write: Entry) -> None:
    entries = [entry for entry in ALL if entry != write]
    what = {name: value for name, value in write.what.items() if name != "id"}
    entries.append(Entry(kind=write.kind, person=write.person, outcome=Outcome.UNKNOWN, what=what))
    assert [] == faults(entries, seen())
    nothing = Seen(private=seen().private, public=seen().public)
    for public in nothing.public:
        public.comments["video", "5"], public.videos[10], public.profiles["ann"] = [], None, []
    for private in nothing.private:
        private.conversations = {name: [] for name in private.conversations}
        private.drafts = []
    assert not any("?" in finding.words for finding in compare(expected(entries), nothing))


def test_who_leaves_takes_videos_and_drafts_along_and_leaves_comments() -> None:
    book = expected([*ALL, done(Kind.ACCOUNT_DELETED, ANN)])
    assert (There.NO, There.NO) == (book.videos["v q4"].there, book.drafts["d q3"].there)
    assert (There.YES, There.MAYBE) == (book.comments["hi q1"].there, book.messages["hi q2"].there)
    assert [BEN, CID] == [who.id for who in book.living()]


def test_words_under_a_video_that_was_taken_away_are_not_asked_for() -> None:
    wall = done(Kind.COMMENT, BEN, id=12, target_type="video", target="10", body="hi q5")
    view = seen()
    assert {Fault.LOST} == set(faults([*ALL, wall], view))
    for public in view.public:
        public.videos[10], public.profiles["ann"] = None, []
    assert [] == faults([*ALL, wall, done(Kind.VIDEO_DELETED, ANN, id=10)], view)


def test_messages_to_somebody_who_blocks_their_sender_are_left_open() -> None:
    book = expected([*ALL, done(Kind.BLOCK, BEN, username="ann", on=True)])
    assert There.MAYBE is book.messages["hi q2"].there


@pytest.mark.parametrize("name", ["id", "body", "target"])
def test_a_line_without_its_facts_is_named(name: str) -> None:
    what = {key: value for key, value in COMMENT.what.items() if key != name}
    with pytest.raises(BadLedger, match=f"comment of person 1: no {name}"):
        expected([*PEOPLE, Entry(kind=Kind.COMMENT, person=ANN, what=what)])
