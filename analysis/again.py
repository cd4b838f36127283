"""How a study is repeated: what made it, the files that its commands take, and the commands."""

from __future__ import annotations

import re
from contextlib import suppress

import imagesets
from analysis.inline import File
from imagesets import DataError
from study.record.folder import OpenRun, Run
from study.record.trials import is_one_training
from study.spec import StudySpec
from study.spec.text import dump_values, program


def made_with(run: Run) -> list[tuple[str, str]]:
    """The machine without its name, and versions."""
    said = run.made_with()
    commit = said.get("commit")
    changed = ", with uncommitted changes" if said.get("changed") else ""
    packages = {"python": said.get("python"), **said.get("packages", {})}
    machine = [f"{said['cpus']} CPUs"] if said.get("cpus") else []
    return [
        ("commit", f"{commit}{changed}" if commit else "not known"),
        ("versions", ", ".join(f"{name} {version}" for name, version in packages.items() if version) or "not known"),
        ("machine", ", ".join([*machine, *said.get("gpus", [])]) or "not known"),
    ]


def called(name: str) -> str:
    """What the files and studies of a run that is called so are called: another run's beside it are not."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "study"


def files(spec: StudySpec, name: str) -> list[File]:
    """What the commands take: the whole specification, and a model of one's own.

    Args:
        spec: of the study.
        name: what the run is called, beside others.
    """
    said, code = spec.model_dump(mode="json"), spec.code
    del said["code"]
    if said["storage"] != "journal":
        said["storage"] = None
    said["dataset_options"] = imagesets.without_folders(spec.dataset, said["dataset_options"])
    own = []
    if code is not None:
        said["model"] = code.name
        own = [File(code.name, code.text)] if "/" in code.origin else []
    return [File(f"{called(name)}.yaml", dump_values(said)), *own]


def beside(spec: StudySpec) -> list[str]:
    """The images of one's own that must lie beside the specification."""
    options = imagesets.without_folders(spec.dataset, spec.dataset_options)
    return [options[key] for key in imagesets.paths(spec.dataset) if key in options]


def commands(spec: StudySpec, name: str, opened: OpenRun | None) -> list[str]:
    """That repeat the study under another name.

    Args:
        spec: of the study.
        name: as of `files`.
        opened: the run with its study; None where it has none.
    """
    again, file, study = f"{called(name)}-again", f"{called(name)}.yaml", program()
    named = f"{study} {{}} {file} --set name={again}"
    needed = [f"{study} datasets get {spec.dataset}"] if _is_fetched(spec) else []
    if not spec.trials:
        searched = [f"{named.format('seeds')} --seeds {spec.confirm.seeds}"]
    elif opened is not None and is_one_training(opened):
        searched = [named.format("train")]
    else:
        searched = [named.format("run"), f"{study} confirm {again}"]
    return [*needed, *searched, f"{program('analysis')} report {again}"]


def _is_fetched(spec: StudySpec) -> bool:
    with suppress(DataError):
        return bool(imagesets.about(spec.dataset).sources)
    return False
