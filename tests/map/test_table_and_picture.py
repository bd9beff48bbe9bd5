"""The map of a finished file: its table, and its picture, well-formed and without anything to fetch."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from domicile import map as datamap
from domicile.config import Config, load
from domicile.portal.layout import place
from domicile.portal.picture import render
from domicile.stores.postgres.server import EmbeddedServer
from tests.map.databases import Drafted, draft_of, run
from tests.servers import Databases


@pytest.fixture
def pagila(sample: Callable[[EmbeddedServer, str], str], pg18: EmbeddedServer) -> Drafted:
    return draft_of(sample(pg18, "pagila"))


def without(config: Config, dataset: str, field: str | None = None) -> Config:
    data = config.model_dump(by_alias=True, exclude_none=True, mode="json")
    if field is None:
        del data["datasets"][dataset]
    else:
        del data["datasets"][dataset]["fields"][field]
    return Config.model_validate(data)


def test_the_table_has_a_row_for_every_dataset(pagila: Drafted) -> None:
    rows = {row.dataset.removeprefix("app.public."): row for row in datamap.table(pagila.config, pagila.catalogue)}
    assert 16 == len(rows)
    assert "derived from public.category and 5 more" == rows["rental_by_category"].path
    assert ("the subject", 10, 0) == (rows["customer"].path, rows["customer"].fields.private, rows["customer"].open)
    assert "customer_id; rental_id → customer_id" == rows["payment"].path
    assert "← app.public.customer.address_id" == rows["address"].path
    assert (0, 14) == (rows["film"].fields.private, rows["film"].fields.public)
    assert 0 == sum(row.open for row in rows.values())


def test_p4_what_the_file_does_not_class_stands_out(pagila: Drafted) -> None:
    missing = datamap.table(without(pagila.config, "app.public.film"), pagila.catalogue)
    assert ("app.public.film", None, 15) == (missing[0].dataset, missing[0].rows, missing[0].open)
    field = datamap.table(without(pagila.config, "app.public.film", "title"), pagila.catalogue)
    assert [("app.public.film", 1)] == [(row.dataset, row.open) for row in field if row.open]


def test_the_table_works_before_there_is_a_file(pagila: Drafted) -> None:
    assert {None} == {row.rows for row in datamap.table(None, pagila.catalogue)}


class Reader(HTMLParser):
    """Counts boxes and edges, checks that tags are closed, collects what would be fetched."""

    VOID = frozenset({"meta", "br", "link", "img", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.classes: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.fetched += [str(found[name]) for name in ("src", "href") if found.get(name)]
        self.classes.append(str(found.get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def count(self, word: str) -> int:
        return sum(word in text.split() for text in self.classes)


def test_the_picture_shows_every_dataset_and_edge_and_fetches_nothing(pagila: Drafted) -> None:
    page = render(pagila.config, pagila.catalogue)
    reader = Reader(page)
    assert [] == reader.open
    assert [] == reader.fetched
    assert not re.search(r"https?://|url\((?!#)|@import", page)
    assert 15 + 1 == reader.count("box")  # the tables, and rental_by_category
    assert 21 + 1 + 6 == reader.count("edge")  # declared ones, store.manager_staff_id, and what the view reads
    assert 1 == reader.count("subject")
    assert 3 == sum(text.split()[:2] == ["edge", "market"] for text in reader.classes)
    assert 5 == reader.count("rule")


def test_what_is_computed_is_drawn_beside_what_it_is_computed_from(database: Databases, pg18: EmbeddedServer) -> None:
    dsn = database(pg18)
    run(
        dsn,
        """
        CREATE TABLE users (id int PRIMARY KEY, email text, country text);
        CREATE MATERIALIZED VIEW contacts AS SELECT id, email FROM users;
        INSERT INTO users VALUES (1, 'a@example.com', 'CA');
        """,
    )
    drafted = draft_of(dsn)
    page = render(drafted.config, drafted.catalogue)
    assert ["edge computed"] == [text for text in Reader(page).classes if text.split()[:1] == ["edge"]]
    assert 3 == Reader(page).count("derived")  # the box, its card, and the legend
    assert "contacts is computed from users" in page


def test_hostile_names_are_text_in_the_picture(database: Databases, pg18: EmbeddedServer) -> None:
    dsn = database(pg18)
    run(
        dsn,
        """
        CREATE TABLE users (id int PRIMARY KEY, email text, country text, "<script>x</script>" text);
        CREATE TABLE "</svg><img src=x>" (id int PRIMARY KEY, "a&b" text, "{{cards}}" int REFERENCES users);
        INSERT INTO users VALUES (1, 'a@example.com', 'CA', 'x');
        """,
    )
    drafted = draft_of(dsn)
    reader = Reader(render(drafted.config, drafted.catalogue))
    assert ([], []) == (reader.open, reader.fetched)
    assert 1 == reader.count("edge")
    assert 2 == reader.count("box")


def test_parents_stand_left_of_children_and_no_boxes_overlap() -> None:
    names = [f"t{number}" for number in range(60)]
    edges = [(names[number], names[number // 3]) for number in range(1, 60)] + [(names[0], names[0])]
    placed = place(dict.fromkeys(names, 90), edges)
    boxes = placed.boxes
    assert all(boxes[parent].x < boxes[child].x for child, parent in edges[:-1])
    everything = list(boxes.values())
    assert not any(
        one.x < other.x + other.width and other.x < one.x + one.width
        and one.y < other.y + other.height and other.y < one.y + one.height
        for number, one in enumerate(everything) for other in everything[:number]
    )  # fmt: skip
    assert all(box.x + box.width <= placed.width and box.y + box.height <= placed.height for box in everything)
    assert placed == place(dict.fromkeys(reversed(names), 90), list(reversed(edges)))


def test_cycles_and_nothing_at_all_can_be_placed() -> None:
    assert {"a", "b"} == set(place({"a": 50, "b": 50}, [("a", "b"), ("b", "a")]).boxes)
    assert {} == place({}, []).boxes


def test_a_draft_is_a_file_that_the_reader_takes(pagila: Drafted) -> None:
    assert "homecoming" == load(pagila.draft.text.encode()).programme.name
