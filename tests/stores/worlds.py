"""The worlds of the conformance suite. Names are of nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from domicile.catalogue import OnDelete
from domicile.config.rules import Apart, Disposition, HomeRows, Shared
from domicile.model import EACH, Holds, KeyKind, Reading, Step
from tests.stores.world import People, Sheet, World, down, literal, null, path, refer, tell, token, up

ADDRESS_OF = "address_id"


def shop() -> World:
    """People several joins from their country; addresses that staff share; orders, items, a tree, rows without key."""
    return World(
        people=(
            People(
                sheet="person",
                evidence=(
                    tell(
                        "country",
                        up("address_id", "address"),
                        up("city_id", "city"),
                        values=(("Canada", "CA"), ("United States", "US")),
                    ),
                ),
            ),
        ),
        sheets=(_city(), _address(), _person(), _staff(), _product(), _order(), _item(), _remark(), _visit()),
    )


def _city() -> Sheet:
    return Sheet(
        name="city",
        columns={"id": "integer", "country": "text"},
        disposition=Disposition.NONE,
        home_rows=HomeRows.NEEDED,
        rows=((1, "Canada"), (2, "United States"), (3, "France"), (4, None), (5, "Canada")),
    )


def _address() -> Sheet:
    return Sheet(
        name="address",
        columns={"id": "integer", "street": "text", "city_id": "integer not null"},
        references=(refer("city_id", "city"),),
        paths=(path(down("person", "address_id")),),
        shared=Shared.EACH,
        ownerless_stay=True,
        blanks=(null("street"),),
        rows=((1, "1 Bay", 1), (2, "2 Elm", 2), (3, "3 Rue", 3), (4, "4 Bay", 5), (5, None, 4), (6, "6 Nobody", 1)),
    )


def _person() -> Sheet:
    return Sheet(
        name="person",
        columns={"id": "integer", "name": "text not null", "email": "text", "address_id": "integer"},
        unique=(("email",),),
        references=(refer("address_id", "address", home=Apart.SKELETON, source=Apart.SKELETON),),
        paths=(path(),),
        blanks=(literal("name", "-"), null("email")),
        rows=(
            (1, "one", "1@x.test", 1),
            (2, "two", "2@x.test", 2),
            (3, "three", "3@x.test", 3),
            (4, "four", None, 4),
            (5, "five", "", None),
            (6, "six", "6@x.test", 4),
        ),
    )


def _staff() -> Sheet:
    return Sheet(
        name="staff",
        columns={"id": "integer", "name": "text", "address_id": "integer"},
        references=(refer("address_id", "address", source=Apart.SKELETON),),
        disposition=Disposition.NONE,
        home_rows=HomeRows.NOTHING,
        rows=((1, "boss", 1), (2, "clerk", None)),
    )


def _product() -> Sheet:
    return Sheet(
        name="product",
        columns={"id": "integer", "title": "text"},
        disposition=Disposition.PUBLIC,
        rows=((1, "tea"), (2, "café ☕"), (3, None)),
    )


def _order() -> Sheet:
    return Sheet(
        name="sales.Order x",
        columns={"id": "integer", "personId": "integer not null", "total": "text"},
        references=(refer("personId", "person", on_delete=OnDelete.CASCADE),),
        paths=(path(up("personId", "person")),),
        rows=((1, 1, "1.00"), (2, 1, "2.50"), (3, 2, "3"), (4, 3, "4"), (5, 4, "5"), (6, 5, "6")),
    )


def _item() -> Sheet:
    order = "sales.Order x"
    return Sheet(
        name="sales.item",
        columns={"order_id": "integer", "line": "integer", "product_id": "integer", "note": "text"},
        key=("order_id", "line"),
        references=(refer("order_id", order, on_delete=OnDelete.SET_NULL), refer("product_id", "product")),
        paths=(path(up("order_id", order), up("personId", "person")),),
        rows=((1, 1, 1, "a"), (1, 2, 2, ""), (2, 1, 3, None), (3, 1, 1, "🙂"), (4, 1, 1, "fr"), (5, 1, 2, "\t\\N\n")),
    )


def _remark() -> Sheet:
    return Sheet(
        name="remark",
        columns={"id": "integer", "person_id": "integer not null", "parent_id": "integer", "words": "text"},
        references=(
            refer("person_id", "person", home=Apart.SKELETON, source=Apart.SKELETON),
            refer("parent_id", "remark", home=Apart.SKELETON, source=Apart.SKELETON, on_delete=OnDelete.CASCADE),
        ),
        paths=(path(up("person_id", "person")),),
        blanks=(null("words"),),
        rows=(
            (1, 3, None, "fr starts"),
            (2, 1, 1, "ca answers fr"),
            (3, 2, 2, "us answers ca"),
            (4, 3, 3, "fr answers us"),
            (5, 1, None, "ca alone"),
            (6, 4, 5, "ca answers ca"),
            (7, 2, None, "us alone"),
        ),
    )


def _visit() -> Sheet:
    return Sheet(
        name="visit",
        columns={"person_id": "integer", "page": "text"},
        key=(),
        references=(refer("person_id", "person", enforced=False, source=Apart.SKELETON),),
        unenforced_follow=True,
        ownerless_stay=True,
        paths=(path(up("person_id", "person")),),
        rows=((1, "/"), (1, "/"), (1, "/a"), (2, None), (3, "/"), (3, "/"), (None, "/bot"), (99, "/gone"), (4, "/")),
    )


def video() -> World:
    """People of whom a public skeleton stays everywhere; clips with private fields; letters between two people."""
    return World(sheets=(_user(), _clip(), _letter(), _attachment(), _report()))


def _user() -> Sheet:
    return Sheet(
        name="person",
        columns={"id": "integer", "handle": "text", "email": "text not null", "phone": "text", "country": "text"},
        disposition=Disposition.SPLIT,
        unique=(("email",),),
        paths=(path(),),
        blanks=(token("email", "@outside.invalid"), null("phone")),
        rows=(
            (1, "@one", "1@x.test", "+1", "CA"),
            (2, "@two", "2@x.test", None, "US"),
            (3, "@three", "3@x.test", "+33", "FR"),
            (4, "@four", "4@x.test", "", "CA"),
        ),
    )


def _clip() -> Sheet:
    return Sheet(
        name="clip",
        columns={"id": "integer", "owner_id": "integer", "title": "text", "ip": "text"},
        references=(refer("owner_id", "person"),),
        disposition=Disposition.PUBLIC,
        paths=(path(up("owner_id", "person")),),
        blanks=(literal("ip", "0.0.0.x"),),
        rows=(
            (1, 1, "cat", "10.0.0.1"),
            (2, 2, "dog", "10.0.0.2"),
            (3, 3, "eel", "10.0.0.3"),
            (4, None, "?", "10.0.0.4"),
        ),
    )


def _letter() -> Sheet:
    return Sheet(
        name="letter",
        columns={"id": "integer", "sender_id": "integer", "recipient_id": "integer", "words": "text"},
        references=(refer("sender_id", "person"), refer("recipient_id", "person")),
        paths=(path(up("sender_id", "person")), path(up("recipient_id", "person"))),
        shared=Shared.EACH,
        ownerless_stay=True,
        rows=(
            (1, 1, 4, "ca to ca"),
            (2, 1, 2, "ca to us"),
            (3, 2, 3, "us to fr"),
            (4, 3, 3, "fr to fr"),
            (5, None, 1, "? to ca"),
            (6, None, None, "? to ?"),
        ),
    )


def _attachment() -> Sheet:
    letter = up("letter_id", "letter")
    return Sheet(
        name="attachment",
        columns={"id": "integer", "letter_id": "integer not null", "file": "text"},
        references=(refer("letter_id", "letter", on_delete=OnDelete.CASCADE),),
        paths=(path(letter, up("sender_id", "person")), path(letter, up("recipient_id", "person"))),
        shared=Shared.EACH,
        ownerless_stay=True,
        rows=((1, 1, "a.png"), (2, 2, "b.png"), (3, 3, "c.png"), (4, 4, "d.png"), (5, 6, "e.png")),
    )


def _report() -> Sheet:
    return Sheet(
        name="report",
        columns={"id": "integer", "about_type": "text", "about_id": "integer", "words": "text"},
        paths=(
            path(up("about_id", "person", when="about_type = 'person'")),
            path(up("about_id", "clip", when="about_type = 'clip'"), up("owner_id", "person")),
        ),
        shared=Shared.EACH,
        ownerless_stay=True,
        rows=(
            (1, "person", 1, "ca person"),
            (2, "clip", 1, "ca clip"),
            (3, "clip", 2, "us clip"),
            (4, "person", 3, "fr person"),
            (5, "clip", 3, "fr clip"),
            (6, "clip", 4, "nobody's clip"),
            (7, "other", 1, "ownerless"),
            (8, None, 1, "ownerless"),
        ),
    )


def guild() -> World:
    """Two kinds of people; references inside arrays, JSON, JSON kept as text, and text; markets told by two places."""
    member = up("person_id", "person")
    return World(
        people=(
            People(
                sheet="person",
                evidence=(
                    tell("country", down("residence", "person_id"), name="residence", since="since", until="until"),
                    tell("country", name="account"),
                ),
                as_of=date(2020, 6, 1),
            ),
            People(sheet="worker"),
        ),
        sheets=(_member(), _worker(), _residence(member), _team(), _event(), _draft(), _cache(), _shift(), _guest()),
    )


def _member() -> Sheet:
    return Sheet(
        name="person",
        columns={"id": "integer", "name": "text", "country": "text", "email": "text"},
        paths=(path(),),
        blanks=(null("name"),),
        rows=(
            (1, "moved to ca", "FR", "one@x.test"),
            (2, "us", "US", "Two@X.test"),
            (3, "fr", "FR", "three@x.test"),
            (4, "moved to fr", "CA", None),
            (5, "not yet in us", "FR", "two@x.test "),
        ),
    )


def _worker() -> Sheet:
    return Sheet(
        name="worker",
        columns={"id": "integer", "name": "text", "country": "text"},
        paths=(path(subject="worker"),),
        blanks=(null("name"),),
        rows=((1, "ca", "CA"), (2, "fr", "FR")),
    )


def _residence(member: Step) -> Sheet:
    return Sheet(
        name="residence",
        columns={"id": "integer", "person_id": "integer", "country": "text", "since": "date", "until": "date"},
        references=(refer("person_id", "person"),),
        paths=(path(member),),
        rows=(
            (1, 1, "FR", date(2010, 1, 1), date(2020, 1, 1)),
            (2, 1, "CA", date(2020, 1, 1), None),
            (3, 4, "FR", None, None),
            (4, 5, "US", date(2021, 1, 1), None),
            (5, 2, None, None, None),
        ),
    )


def _team() -> Sheet:
    members = Reading(column="member_ids", holds=Holds.ARRAY, steps=(EACH,), kind=KeyKind.INTEGER)
    return Sheet(
        name="team",
        columns={"id": "integer", "member_ids": "integer[]", "name": "text"},
        references=(refer(members, "person", home=Apart.SKELETON, source=Apart.SKELETON),),
        paths=(path(up(members, "person")),),
        shared=Shared.EACH,
        ownerless_stay=True,
        unenforced_follow=True,
        rows=(
            (1, [1], "ca"),
            (2, [2, 3], "us and fr"),
            (3, [3], "fr"),
            (4, [], "none"),
            (5, None, "none"),
            (6, [99], "gone"),
        ),
    )


def _event() -> Sheet:
    actor = Reading(column="payload", holds=Holds.JSONB, steps=("actor", "id"), kind=KeyKind.INTEGER)
    seen = Reading(column="payload", holds=Holds.JSONB, steps=("seen", EACH, "by"), kind=KeyKind.INTEGER)
    return Sheet(
        name="event",
        columns={"id": "integer", "payload": "jsonb"},
        references=(
            refer(actor, "person", home=Apart.SKELETON, source=Apart.SKELETON),
            refer(seen, "worker", home=Apart.SKELETON, source=Apart.SKELETON),
        ),
        paths=(path(up(actor, "person")), path(up(seen, "worker"), subject="worker", shared=Shared.ANY)),
        shared=Shared.EACH,
        ownerless_stay=True,
        unenforced_follow=True,
        rows=(
            (1, '{"actor": {"id": 1}}'),
            (2, '{"actor": {"id": "2"}}'),
            (3, '{"actor": {"id": 3}}'),
            (4, '{"seen": [{"by": 2}, {"by": 1}]}'),
            (5, '{"actor": {"id": 3}, "seen": [{"by": 1}]}'),
            (6, '{"actor": {"id": null}, "seen": {}}'),
            (7, None),
        ),
    )


def _draft() -> Sheet:
    author = Reading(column="body", holds=Holds.JSON, steps=("author",), kind=KeyKind.INTEGER)
    return Sheet(
        name="draft",
        columns={"id": "integer", "body": "text"},
        references=(refer(author, "person"),),
        paths=(path(up(author, "person")),),
        ownerless_stay=True,
        unenforced_follow=True,
        rows=((1, '{"author": 1, "text": "🙂"}'), (2, '{"author": 3}'), (3, "no json {"), (4, '{"author": [2]}')),
    )


def _cache() -> Sheet:
    key = Reading(column="key", holds=Holds.TEXT, pattern=r"user:(\d+)", kind=KeyKind.INTEGER)
    return Sheet(
        name="cache",
        columns={"id": "integer", "key": "text"},
        references=(refer(key, "person"),),
        paths=(path(up(key, "person")),),
        ownerless_stay=True,
        unenforced_follow=True,
        rows=((1, "user:1"), (2, "feed/user:2/page"), (3, "user:3"), (4, "user:x"), (5, "user:")),
    )


def _shift() -> Sheet:
    return Sheet(
        name="shift",
        columns={"id": "integer", "worker_id": "integer", "note": "text"},
        references=(refer("worker_id", "worker"),),
        paths=(path(up("worker_id", "worker"), subject="worker"),),
        ownerless_stay=True,
        rows=((1, 1, "ca"), (2, 2, "fr"), (3, None, "nobody")),
    )


def _guest() -> Sheet:
    """Orders of people who are known only by the address that they typed."""
    return Sheet(
        name="guest",
        columns={"id": "integer", "email": "text"},
        paths=(path(up("email", "person", "email", fold=True)),),
        shared=Shared.EACH,
        ownerless_stay=True,
        rows=((1, " ONE@x.test"), (2, "TWO@x.test"), (3, "three@X.test"), (4, "four@x.test"), (5, None)),
    )


def crowd(people: int) -> World:
    """Many people, half of them Canadian, so that slices and leaves have edges."""
    person = Sheet(
        name="person",
        columns={"id": "integer", "name": "text", "country": "text"},
        paths=(path(),),
        rows=tuple((number, f"p{number}", "CA" if number % 2 else "FR") for number in range(1, people + 1)),
    )
    return World(sheets=(person,))


def club() -> World:
    """Notes to clubs, by the name that members of several countries carry: no key, and several people."""
    person = Sheet(
        name="person",
        columns={"id": "integer", "club": "text", "country": "text"},
        paths=(path(),),
        rows=((1, "chess", "CA"), (2, "chess", "FR"), (3, "rowing", "CA"), (4, "tea", "FR")),
    )
    note = Sheet(
        name="note",
        columns={"id": "integer", "club": "text"},
        paths=(path(up("club", "person", "club")),),
        shared=Shared.EACH,
        rows=((1, "chess"), (2, "rowing"), (3, "tea")),
    )
    return World(sheets=(person, note))


def nobody() -> World:
    """The shop on the day before it opens: every table is empty."""
    world = shop()
    return replace(world, sheets=tuple(replace(sheet, rows=()) for sheet in world.sheets))
