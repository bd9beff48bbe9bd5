"""Stage *map*: from a catalogue and a few samples to a draft of `domicile.yaml`, and from a finished file to its table.

questions = map.questions(catalogue)                         what is worth reading
samples = read_samples(conn, catalogue, questions)           (a store's business)
draft = map.draft(catalogue, samples, frame=map.Frame(markets={"CA": "ca"}))
"""

from __future__ import annotations

from dataclasses import dataclass

from domicile.catalogue import Catalogue
from domicile.catalogue.samples import Samples
from domicile.map.draft import Frame, Place, Proposal, propose
from domicile.map.draft import questions_of as questions
from domicile.map.imports import NOTHING, Bound
from domicile.map.table import Counts, MapRow, table
from domicile.map.writer import write

__all__ = ["Counts", "Draft", "Frame", "MapRow", "Place", "Proposal", "draft", "propose", "questions", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The draft file's text, and what a person has to look at, in the order of the file."""

    text: str
    unsure: tuple[str, ...]
    proposal: Proposal


def draft(catalogue: Catalogue, samples: Samples, *, frame: Frame, bound: Bound = NOTHING) -> Draft:
    """Write the draft of `domicile.yaml`; the same catalogue, samples and sources give the same bytes."""
    proposal = propose(catalogue, samples, frame=frame, bound=bound)
    return Draft(text=write(proposal), unsure=proposal.doubts, proposal=proposal)
