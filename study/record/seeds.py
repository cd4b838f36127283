"""Runs without a search: one configuration over fresh seeds. Their specification, and what may change in it later."""

from __future__ import annotations

from collections.abc import Sequence

from study import spec as specs
from study.record.extension import differences
from study.record.folder import Run, RunError
from study.spec import SpecError, StudySpec
from study.spec.text import command, counted

OWN = ("trials", "asha", "confirm.top", "confirm.seeds")


def without_search(preset: str, overrides: Sequence[str], seeds: str) -> StudySpec:
    """A preset's configuration over so many seeds, named apart from its search unless a name is given.

    Args:
        preset: a name in study/presets, or the path of a YAML file.
        overrides: "key=value" each, of keys that are not OWN.
        seeds: how many.

    Raises:
        SpecError: as for `load`.
    """
    given = [override.partition("=")[0].strip() for override in overrides]
    if wrong := [key for key in given if key in OWN or key.startswith("asha.")]:
        raise SpecError("--set", [f"{key}: `seeds` searches nothing, and --seeds says how many" for key in wrong])
    spec = specs.load(preset, [*overrides, "trials=0", "asha=null", "confirm.top=0", f"confirm.seeds={seeds}"])
    return spec if "name" in given else spec.model_copy(update={"name": f"{spec.name}-seeds"})


def with_more(run: Run, wanted: StudySpec) -> StudySpec:
    """The specification of a run that is there, with as many seeds as are wanted.

    Raises:
        RunError: the run is a search, has so many seeds already, or differs in what its numbers depend on.
    """
    own = run.spec()
    if own.trials:
        raise RunError(f"{run.path} exists already and is a search; name another run with --set name=...")
    free = {"trials": True, "resources": True, "max_failed": True, "storage": True, "confirm": {"seeds", "fused"}}
    if changed := differences(own, wanted, free):
        raise RunError(
            f"{run.name} cannot go on with another configuration: {'; '.join(changed)}. Repeat the --set that it was "
            f"started with, or start another run with --set name=..."
        )
    if wanted.confirm.seeds <= own.confirm.seeds:
        raise RunError(
            f"{run.path} exists already, with {counted(own.confirm.seeds, 'seed')}; go on with "
            f"`{command('confirm', run.argument)}`, ask for more with --seeds, or name another with --set name=..."
        )
    return wanted.model_copy(update={"storage": own.storage})
