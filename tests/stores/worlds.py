"""The worlds of the conformance suite. Names are of nobody."""

from __future__ import annotations

from dataclasses import replace

from domicile.catalogue import OnDelete
from domicile.config import Apart, Disposition, HomeRows, Shared
from tests.stores.world import Sheet, World, down, literal, null, path, refer, token, up

ADDRESS_OF = "address_id"


def shop() -> World:
    """People several joins from their country; addresses that staff share; orders, items, a tree, rows without key."""
    return World(
        subject="person",
        market_path=path(up("address_id", "address"), up("city_id", "city")),
        values=(("Canada", "CA"), ("United States", "US")),
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
