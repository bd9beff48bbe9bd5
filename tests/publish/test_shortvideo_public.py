"""The short-video service's own file: a video published at one location is seen at the other, and nothing private."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from shortvideo.database import create
from tests.publish.places import Pair, Places, eventually, places

HERE = Path(__file__).resolve().parents[2] / "examples" / "shortvideo"
PUBLIC = """
  public:
    replicate: true
    trusted: [sg, us, ca]
    connections: {sg: env:SG_PEER, us: env:US_PEER, ca: env:CA_PEER}
  canaries:"""
SECRET = "10.98.76.54"
VIDEO = (
    "INSERT INTO app.videos (id, author_id, caption, object_key, duration_s, upload_ip, geo, published_at, updated_at)"
    f" OVERRIDING SYSTEM VALUE VALUES (%s, 7, %s, 'clip', 3.5, '{SECRET}', '(1,2)', now(), now())"
)
SEEN = "SELECT caption, caption_length, upload_ip, geo FROM app.videos WHERE id = %s"


def file() -> str:
    """The service's file, with the public part replicated between Singapore, the United States and Canada."""
    text = (HERE / "domicile.yaml").read_text(encoding="utf-8")
    text = text.replace("\n  canaries:", PUBLIC, 1).replace("AU: au, NZ: au", "AU: ca, NZ: ca")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(("  au:", "  service-au:")))


def fill(place: str, dsn: str) -> None:
    """The schema everywhere, the people at the source; a home starts with the rows that a move would bring."""
    if place == "sg":
        create(dsn, users=100, passwords=0)
        return
    with psycopg.connect(dsn) as connection:
        connection.execute((HERE / "schema.sql").read_bytes())
        connection.execute("INSERT INTO app.countries VALUES ('US', 'United States', '1'), ('ZZ', 'elsewhere', '0')")


@pytest.fixture(scope="module")
def service(pair: Pair) -> Iterator[Places]:
    with places(pair, fill=fill, file=file()) as made:
        made.make(bring=True)
        made.settle()
        yield made


def test_profiles_videos_and_comments_cross_and_nothing_else(service: Places) -> None:
    tables = {table.table.name for table in service.decide().tables}
    assert tables == {"users", "videos", "comments"}
    counts = "SELECT (SELECT count(*) FROM app.users), (SELECT count(*) FROM app.videos)"
    assert service.run("sg", counts) == service.run("us", counts)
    private = (
        "SELECT count(email) + count(phone) + count(birth_date) + count(password_hash) + count(signup_ip)"
        " + count(last_seen) + count(nullif(country, 'ZZ')) + count(nullif(settings, '{}'))"
        " FROM app.users WHERE id <> 9"
    )
    assert [(0,)] == service.run("us", private)  # but for who lives there
    assert service.run("sg", private) != [(0,)]


def test_a_video_published_at_the_source_is_seen_at_home(service: Places) -> None:
    service.run("sg", VIDEO, 900_001, "from Singapore")
    eventually(lambda: service.run("us", SEEN, 900_001), [("from Singapore", 14, None, None)])


def test_a_video_published_at_home_is_seen_at_the_source(service: Places) -> None:
    service.run("us", VIDEO, 900_002, "from home")
    for place in ("sg", "ca"):
        eventually(lambda place=place: service.run(place, SEEN, 900_002), [("from home", 9, None, None)])  # type: ignore[misc]
    assert [(SECRET,)] == service.run("us", "SELECT host(upload_ip) FROM app.videos WHERE id = 900002")


def test_a_changed_profile_keeps_its_private_half_at_home(service: Places) -> None:
    service.run("us", "UPDATE app.users SET email = 'at-home@private.example', country = 'US' WHERE id = 9")
    service.run("sg", "UPDATE app.users SET bio = 'new words' WHERE id = 9")
    eventually(
        lambda: service.run("us", "SELECT bio, email, country FROM app.users WHERE id = 9"),
        [("new words", "at-home@private.example", "US")],
    )
    assert [(0,)] == service.run("sg", "SELECT count(*) FROM app.users WHERE email = 'at-home@private.example'")
