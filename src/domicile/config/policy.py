"""What `domicile.yaml` says that people signed: homes, approvals, exceptions, and what stays public. Pure."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field, model_validator

from domicile.config.rules import FileModel


class Approvals(FileModel):
    """k of n keys must sign before anything is erased."""

    threshold: Annotated[int, Field(ge=1, le=32)]
    of: Annotated[tuple[str, ...], Field(min_length=1, max_length=32)]

    @model_validator(mode="after")
    def _reachable(self) -> Approvals:
        if len(set(self.of)) != len(self.of):
            raise ValueError("an approver is named twice")
        if self.threshold > len(self.of):
            raise ValueError(f"threshold {self.threshold} can't be reached by {len(self.of)} approvers")
        return self


class ApprovalRules(FileModel):
    """Which step needs whose approval."""

    erase: Approvals


class ExceptionRule(FileModel):
    """A named, dated, approved exception."""

    id: str
    fields: tuple[str, ...] = ()
    purpose: str
    recipient: str
    max_volume: str | None = None
    approvers: tuple[str, ...]
    until: date


class PublicRule(FileModel):
    """Whether the public part goes on being visible at every location, and how the servers reach one another."""

    replicate: bool = False
    connections: dict[str, str] = Field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    only: dict[str, str] = Field(default_factory=dict)


class Policy(FileModel):
    """The rules that people signed."""

    homes: Annotated[dict[str, str], Field(min_length=1, max_length=256)]
    approvals: ApprovalRules
    keys: dict[str, str] = Field(default_factory=dict)
    unknown_market: str = "in-scope"
    exceptions: tuple[ExceptionRule, ...] = ()
    canaries: str | None = None
    public: PublicRule | None = None
