"""Print what the models of a Django project declare, as one JSON value (docs/importers.md).

Runs as a program of the project's interpreter, in its folder: `python django_probe.py project.settings`. Needs Django
3.2 or later and nothing else; reads no database; what the project prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

WORDS_MAX = 200


def main(settings: str) -> dict[str, Any]:
    """Set the project up and list its models' edges and fields."""
    os.environ["DJANGO_SETTINGS_MODULE"] = settings
    import django
    from django.apps import apps
    from django.utils import translation

    django.setup()
    translation.deactivate_all()
    models = [model for model in apps.get_models(include_auto_created=True) if not model._meta.proxy]
    models.sort(key=lambda model: model._meta.label)
    answer: dict[str, Any] = {"version": 1, "source": "Django", "edges": [], "fields": [], "tables": [], "unsaid": []}
    for model in models:
        if not model._meta.auto_created:
            label = f"{model.__module__}.{model.__qualname__}"
            answer["tables"].append({"table": _ref(model), "name": model.__name__, "source": label})
        for field in model._meta.local_fields + model._meta.local_many_to_many:
            if field.is_relation and getattr(field, "related_fields", None):
                _relation(model, field, answer)
            if getattr(field, "column", None):
                _words(model, field, answer)
    if apps.is_installed("django.contrib.contenttypes"):
        for model in models:
            _generic(model, models, answer)
    return answer


def _ref(model: Any) -> dict[str, Any]:
    """`db_table` may be `"schema"."table"`, or that without its outer quotes, which Django adds."""
    parts = model._meta.db_table.strip('"').split('"."')
    return {"schema": parts[0] if len(parts) == 2 else None, "name": parts[-1]}


def _named(model: Any, name: str) -> str:
    return f"{model.__module__}.{model.__qualname__}.{name}"


def _relation(model: Any, field: Any, answer: dict[str, Any]) -> None:
    """A ForeignKey or OneToOneField, with or without a constraint; a ForeignObject of several columns."""
    if field.many_to_many or not (field.many_to_one or field.one_to_one):
        return
    source = _named(model, field.name)
    pairs = [(ours, theirs) for ours, theirs in field.related_fields]
    if not all(getattr(ours, "column", None) and getattr(theirs, "column", None) for ours, theirs in pairs):
        answer["unsaid"].append(f"{source}: one of its sides is no column")
        return
    if getattr(field, "get_limit_choices_to", None) and not getattr(field, "concrete", True):
        answer["unsaid"].append(f"{source}: a join of its own")
        return
    answer["edges"].append(
        {
            "child": _ref(model), "via": [ours.column for ours, _ in pairs], "parent": _ref(pairs[0][1].model),
            "key": [theirs.column for _, theirs in pairs], "source": source,
        }
    )  # fmt: skip


def _words(model: Any, field: Any, answer: dict[str, Any]) -> None:
    """A name for people that says more than the field's own, and its help text."""
    verbose, help_text = str(field.verbose_name or ""), str(field.help_text or "")
    told = [
        text for text in (verbose if verbose.lower() != field.name.replace("_", " ").lower() else "", help_text) if text
    ]
    if told and not field.is_relation and not field.primary_key:
        answer["fields"].append(
            {
                "table": _ref(model),
                "name": field.column,
                "words": told[0][:WORDS_MAX],
                "source": _named(model, field.name),
            }
        )


def _generic(model: Any, models: list[Any], answer: dict[str, Any]) -> None:
    """A GenericForeignKey may lead to any model; those with a GenericRelation back are certain."""
    from django.contrib.contenttypes.fields import GenericForeignKey
    from django.contrib.contenttypes.models import ContentType

    for pair in model._meta.private_fields:
        if not isinstance(pair, GenericForeignKey) or pair.model is not model:
            continue
        kind, reference = model._meta.get_field(pair.ct_field), model._meta.get_field(pair.fk_field)
        for target in models:
            if target._meta.auto_created or target is ContentType:
                continue
            answer["edges"].append(
                {
                    "child": _ref(model), "via": [reference.column], "parent": _ref(target),
                    "key": [target._meta.pk.column], "source": _named(model, pair.name),
                    "lookup": {
                        "column": kind.column, "table": _ref(ContentType), "key": ContentType._meta.pk.column,
                        "where": {"app_label": target._meta.app_label, "model": target._meta.model_name},
                        "certain": _points_back(target, model, pair),
                    },
                }
            )  # fmt: skip


def _points_back(target: Any, model: Any, pair: Any) -> bool:
    from django.contrib.contenttypes.fields import GenericRelation

    return any(
        isinstance(field, GenericRelation)
        and field.related_model is model
        and field.object_id_field_name == pair.fk_field
        and field.content_type_field_name == pair.ct_field
        for field in target._meta.private_fields
    )


def _first_line(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines()
    return "{}: {}".format(type(fault).__name__, lines[0] if lines else "no reason given")


def run(arguments: list[str]) -> int:
    """Keep standard output for the answer alone; a project may print while it is imported."""
    answer_to = os.dup(1)
    os.dup2(2, 1)
    sys.path[:] = [os.getcwd(), *sys.path[1:]]
    try:
        answer = main(arguments[0])
    except (Exception, SystemExit) as fault:  # noqa: BLE001 - anything may happen in foreign code; the caller says it
        answer = {"failed": _first_line(fault)[:500]}
    with os.fdopen(answer_to, "w", encoding="utf-8") as out:
        json.dump(answer, out)
    return 1 if "failed" in answer else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
