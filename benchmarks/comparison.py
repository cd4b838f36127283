"""Every model that takes single images, at its paper's settings and one budget: on `mnist5k`, and on `sprites`.

    python -m benchmarks.comparison --data DIR --out comparison
    python -m analysis table comparison/mnist5k-*
    python -m analysis table comparison/sprites-*

Each setting is a run without a search, as `python -m study seeds comparison-mnist5k --seeds 3 --set model=vae
--set name=mnist5k-vae` makes it on Ray, here in one process of one thread; what --out holds is not done again. On two
data sets with three seeds that is about an hour. docs/results.md has the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from study.agenda import Agenda
from study.confirm import confirm, do, jobs
from study.record.folder import Run
from study.record.seeds import without_search
from study.record.storage import create, open_run
from study.spec import StudySpec

DATA_SETS = ("mnist5k", "sprites")
SETTINGS: dict[str, Sequence[str]] = {
    "vae": ["model=vae"],
    "vae-start-of-vlae": ["model=vae", "fixed.init=vlae"],
    "beta-vae": ["model=vae", "fixed.beta=4.0"],
    "vsc": ["model=vsc", "fixed.alpha=0.2"],
    "vlae": ["model=vlae", "fixed.updates=1"],
    "savae": ["model=savae"],
    "householder": ["model=householder"],
    "iaf": ["model=iaf"],
    "nonsyn": ["model=nonsyn"],
    "factor": ["model=factor", f"fixed.discriminator_hidden={5 * [100]}", "fixed.lr_discriminator=1e-3"],
    "beta-tcvae": ["model=disentangled", "fixed.penalty=total_correlation"],
    "dip-vae-ii": ["model=disentangled", "fixed.penalty=dip_ii"],
    "vampprior": ["model=vampprior", "fixed.pseudo_inputs=100"],
    "hvae": ["model=hvae", "fixed.pseudo_inputs=100"],
    "avb": [
        "model=avb",
        "fixed.noises=8",
        f"fixed.discriminator_hidden={3 * [100]}",
        "fixed.lr_discriminator=1e-3",
        "fixed.betas=[0.5, 0.999]",
    ],
}  # what each sets of the presets comparison-mnist5k and comparison-sprites


def specification(data_set: str, setting: str, seeds: int, overrides: Sequence[str] = ()) -> StudySpec:
    """Of one run; some models have another likelihood if not told."""
    given = [*SETTINGS[setting], "likelihood=bernoulli", f"name={data_set}-{setting}", *overrides]
    return without_search(f"comparison-{data_set}", given, str(seeds))


def complete(run: Run, data: str | None) -> None:
    """Does what is missing of a run without a search, in this process, and writes its table."""
    spec = run.spec()
    agenda = Agenda(run, spec, jobs(open_run(run, spec, create=True)))
    while tasks := list(agenda.ready()):
        for task in tasks:
            agenda.take(task, do(task, run, spec, data, torch.device("cpu")))
    confirm(run, data=data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="root of the data sets")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--on", nargs="+", choices=DATA_SETS, default=DATA_SETS, help="these data sets")
    parser.add_argument("--only", nargs="+", choices=[*SETTINGS], default=[*SETTINGS], help="these settings")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other values than the presets'")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for data_set in arguments.on:
        for setting in arguments.only:
            spec = specification(data_set, setting, arguments.seeds, arguments.set)
            run = Run(arguments.out / spec.name)
            if not run.study_yaml.is_file():
                create(run, spec)
            complete(run, arguments.data)


if __name__ == "__main__":
    main()
