"""What the study is told of a trial's pathologies, see `study.trial.pathologies`.

They are no failure: state and value of the trial stay what they are. Beside them stand the names, in the attribute
`pathology`, with the evidence in another, and an Optuna constraint, which samplers read of COMPLETE and PRUNED trials.
TPE, NSGA-II and GP prefer where it holds, whatever value a trial that violates it has; random search and a grid read
none. It is a single one, whatever a trial is watched for, because GP wants as many of each trial.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.study._constrained_optimization import _CONSTRAINTS_KEY

from study.record.backend import together
from study.trial.pathologies import Verdict, verdicts

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

PATHOLOGY, EVIDENCE = "pathology", "evidence"  # attributes of a trial that has one
CONSTRAINT = f"{_CONSTRAINTS_KEY}:{PATHOLOGY}"  # `FrozenTrial.constraints` finds it there


def tell(study: optuna.Study, trial_id: int, reports: Mapping[int, Mapping[str, Any]]) -> None:
    """Notes what the reports of a trial that ends without failing say; nothing where it was not watched.

    The constraint is the largest violation: above 0, and 1 at most, where the trial has a pathology; 0 where that
    cannot be told, for want of two reports after its warm-ups; negative else.

    Args:
        study: whose storage.
        trial_id: the storage's id of the trial.
        reports: steps -> measures, ascending.
    """
    found = verdicts(reports)
    if not found:
        return
    storage, has = study._storage, _evidence(found)
    with together(study):
        storage.set_trial_system_attr(trial_id, CONSTRAINT, max(one.violation for one in found.values()))
        if has:
            storage.set_trial_user_attr(trial_id, PATHOLOGY, ", ".join(has))
            storage.set_trial_user_attr(trial_id, EVIDENCE, "; ".join(f"{name}: {said}" for name, said in has.items()))


def standing(reports: Mapping[int, Mapping[str, Any]]) -> dict[str, str]:
    """The evidence for each pathology that a trial with these reports has, one at work too."""
    return _evidence(verdicts(reports))


def _evidence(found: Mapping[str, Verdict]) -> dict[str, str]:
    return {name: one.evidence for name, one in found.items() if one.evidence}


def pathology(trial: FrozenTrial) -> str:
    """The names of a trial's pathologies, by commas; empty where it has none."""
    name: str = trial.user_attrs.get(PATHOLOGY, "")
    return name


def sound(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those without a pathology; where all have one, all: they can be compared at least."""
    return [trial for trial in trials if not pathology(trial)] or list(trials)


def counts(names: Iterable[str]) -> str:
    """How many trials have which pathology, such as "3 collapsed, 1 dead"; empty where none has one.

    Args:
        names: the pathologies of each trial, by commas.
    """
    found = Counter(name for of_one in names if of_one for name in of_one.split(", "))
    return ", ".join(f"{times:,} {name}" for name, times in found.most_common())
