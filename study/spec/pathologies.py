"""Whether the pathologies that a specification names are such as its model can have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from study.spec.measures import METRICS
from study.spec.problems import nearest

if TYPE_CHECKING:
    from models.base import VAE
    from study.spec.specification import StudySpec

FAILURES = ("nan", "oom", "crash", "lost", "disk", "card")  # how causes begin: nothing else may be called so


def problems(spec: StudySpec, models: Iterable[VAE]) -> list[str]:
    """What is wrong with the names, and with what the model says of its own, a line each.

    Args:
        spec: of the study.
        models: one of each way through the space: what a trial has may depend on what was drawn.
    """
    symptoms = {symptom: model for model in models for symptom in model.symptoms()}
    known = list(dict.fromkeys(symptom.pathology for symptom in symptoms))
    watched, found = known if spec.pathologies is None else spec.pathologies, []
    for key, names in (("pathologies", spec.pathologies or []), ("stop_on", spec.stop_on)):
        for name in names:
            if name not in known:
                lead = f"{key}: {spec.title} has no pathology {name!r}; it may be {', '.join(known)}"
                found.append(f"{lead}{nearest(name, known)}")
            elif name not in watched:
                found.append(f"{key}: trials are not watched for {name}; name it in `pathologies` too")
    for (name, measure, *_), model in symptoms.items():
        if measure not in (*METRICS, *(own.name for own in model.measures())):
            found.append(f"model: its pathology {name!r} is read off {measure!r}, which no report has")
        if not name.isidentifier() or name in FAILURES:
            found.append(f"model: a pathology cannot be called {name!r}; take a word, and no cause of a failure")
    return list(dict.fromkeys(found))
