"""Publishing on real servers: look (`looking`), make and take away (`making`), what arriving rows meet (`arrivals`).

What should be there is decided in `domicile.publish`; here are the effects, each safe to repeat.
"""

from domicile.stores.postgres.publishing.looking import observe, sight
from domicile.stores.postgres.publishing.making import Server, drop_publishing, make_publishing
from domicile.stores.postgres.publishing.origins import unpublished

__all__ = ["Server", "drop_publishing", "make_publishing", "observe", "sight", "unpublished"]
