"""`python -m domicile.cli`, the same as `domicile`."""

from domicile.cli import main

main()
