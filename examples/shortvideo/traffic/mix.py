"""How often people do what: reading is most of it, as everywhere."""

from __future__ import annotations

from typing import Final

from shortvideo.traffic import accounts, reading, writing
from shortvideo.traffic.acts import Act, Chooser
from shortvideo.traffic.people import Crowd, Person

# Acts in ten thousand.
SHARES: Final[tuple[tuple[Chooser, int], ...]] = (
    (reading.feed, 2674),
    (reading.video, 700),
    (reading.poster, 600),
    (reading.comments, 600),
    (reading.profile, 350),
    (reading.wall, 100),
    (reading.inbox, 250),
    (reading.conversation, 250),
    (reading.notifications, 250),
    (reading.search, 200),
    (reading.drafts, 60),
    (reading.settings, 60),
    (reading.my_data, 30),
    (reading.payouts, 30),
    (writing.watch, 2000),
    (writing.like, 700),
    (writing.comment, 350),
    (writing.wall_comment, 50),
    (writing.delete_comment, 30),
    (writing.follow, 200),
    (writing.block, 4),
    (writing.message, 350),
    (writing.publish, 8),
    (writing.draft, 8),
    (writing.publish_draft, 4),
    (writing.delete_draft, 2),
    (writing.delete_video, 3),
    (writing.report, 20),
    (accounts.sign_up, 25),
    (accounts.log_in, 20),
    (accounts.change_settings, 50),
    (accounts.change_country, 8),
    (accounts.payout_account, 10),
    (accounts.leave, 4),
)
CHOOSERS: Final = tuple(chooser for chooser, _ in SHARES)
WEIGHTS: Final = tuple(share for _, share in SHARES)


def choose(person: Person, crowd: Crowd) -> Act:
    """Say what the person does next; who cannot do what came up looks at the feed."""
    chooser = crowd.chance.choices(CHOOSERS, WEIGHTS)[0]
    return chooser(person, crowd) or reading.feed(person, crowd)
