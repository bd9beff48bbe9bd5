"""Sources of edges, names and classes that the catalogue does not have: other tools' files, and applications.

imported = imports.read("sqlalchemy:shop.db:Base.metadata", interpreter=interpreter)
questions = imports.kind_questions(imported, catalogue)      which kinds of polymorphic pairs to look up
bound = imports.bind(imported, catalogue, answers)           (answers are a store's business)
"""

from __future__ import annotations

from pathlib import Path

from domicile.config.tree import Tree, load_tree, read_bytes
from domicile.errors import BadFile
from domicile.map.imports.bind import NOTHING, Bound, bind, kind_questions
from domicile.map.imports.fides import read_fides
from domicile.map.imports.fides_export import export_fides
from domicile.map.imports.greenmask import read_greenmask
from domicile.map.imports.interchange import Imported
from domicile.map.imports.programs import Interpreter, ask_program

__all__ = ["NOTHING", "Bound", "Imported", "Interpreter", "bind", "export_fides", "kind_questions", "read"]

KINDS = ("fides", "greenmask", "sqlalchemy", "django")
FORMS = "fides:FILE[#DATASET], greenmask:FILE, sqlalchemy:MODULE:METADATA or django:SETTINGS"


def read(spec: str, *, interpreter: Interpreter) -> Imported:
    """Read one source, named as `--from` names it; raise BadFile."""
    kind, _, rest = spec.partition(":")
    if kind not in KINDS or not rest:
        raise BadFile(f"--from {spec}: write {FORMS}")
    if kind == "fides":
        name, _, key = rest.partition("#")
        return read_fides(_tree(name), key=key or None)
    if kind == "greenmask":
        return read_greenmask(_tree(rest))
    return ask_program(kind, rest, interpreter=interpreter)


def _tree(name: str) -> Tree:
    path = Path(name)
    data = read_bytes(path, remedy="name the file after the colon of --from")
    return load_tree(data, origin=path.name, remedy="see docs/importers.md")
