"""What the processes of a confirmation do: train a configuration on a seed, and measure its best checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import metrics
from imagesets import Splits
from models.base import VAE
from models.latents import kl_shares
from models.measures import Measure
from study.record.confirmation import RESULT, Result, Value, settings_of, wanted
from study.record.folder import Run
from study.record.trials import is_oom
from study.spec import StudySpec
from study.spec.build import build
from study.spec.measures import MEASURES, SCORES, kind_of
from study.trial import checkpoint
from study.trial.checkpoint import CheckpointError
from study.trial.evaluation import BATCH, evaluating, score_codes, take_all
from study.trial.images import Images, Part, images_of
from study.trial.scores import How
from study.trial.together import train_together
from study.trial.trial import Trial, cause, load_data

OF_CODES = frozenset(measure.name for score in SCORES for measure in score.all)


class Candidate(NamedTuple):
    """A configuration to confirm."""

    name: str  # "defaults", or "trial-12"
    settings: dict[str, Any]


class Job(NamedTuple):
    """One configuration on one fresh seed."""

    candidate: Candidate
    repeat: int
    seed: int


def work(
    run: Run,
    spec: StudySpec,
    job: Job,
    data: str | None,
    device: torch.device,
    measures: Collection[Measure] | None = None,
) -> Result:
    """Trains one configuration on one seed at full budget, and reads the test set with its best checkpoint.

    It goes on where it was interrupted; after the end of the training only the test set is read.

    Args:
        run: in whose folder.
        spec: of the study.
        job: which configuration and seed.
        data: root of the data sets; None is the default one.
        device: where model and data go.
        measures: what to measure, none of it a score of codes; None is all that is wanted.

    Returns:
        The result, with the values of these measures; with none and a cause where something failed.
    """
    trial = None
    try:
        splits = load_data(spec, data)
        trial = _trial(run, spec, job, splits, device)
        while not trial.done:
            report = trial.report()
        best = checkpoint.load(trial.folder / checkpoint.BEST)
        assert best is not None
        model = trial.training.model
        model.load_state_dict(best["training"]["model"])
        test = images_of(splits, "test", spec.preprocessing, spec.pairing, device)
        asked = _light(wanted(spec, model.measures())) if measures is None else measures
        train, how = trial.training.train_images, spec.confirm
        taken = take_all(model, train, test, how.samples, how.images, asked=asked)
        found = dict.fromkeys([measure.name for measure in asked], np.nan)  # what there is not is asked for once
        kind = model.likelihood_part.kind(test.pixels)
        return Result(
            cause="",
            steps=report["steps"],
            budget=spec.steps,
            seconds=report["seconds"],
            cpu_seconds=report.get("cpu_seconds", np.nan),  # a checkpoint of an earlier release
            valid_elbo=best["report"].get("elbo", np.nan),  # of a posterior without a density
            values=_values(found | taken.measures, [*MEASURES, *model.measures()], spec, kind),
            latents=taken.latents,
            fused=trial.fused,
        )
    except Exception as error:
        return Result(cause(error), trial.training.step if trial else 0, spec.steps)
    finally:
        if trial is not None:
            trial.close()


def work_together(
    run: Run,
    spec: StudySpec,
    jobs: Sequence[Job],
    data: str | None,
    device: torch.device,
    measures: Collection[Measure] | None = None,
) -> list[Result]:
    """Does the work of several seeds of one configuration, whose trainings are one program where their model can be.

    Where that program fails, they go on one by one from their checkpoints; but not where the memory is spent, which is
    the result of all then: they are better tried in processes of their own.

    Args:
        jobs: of one configuration.
        run, spec, data, device, measures: as for `work`.

    Returns:
        The result of each job.
    """
    failed = _trained_together(run, spec, jobs, data, device)
    return [failed.get(job.repeat) or work(run, spec, job, data, device, measures) for job in jobs]


def _trained_together(
    run: Run, spec: StudySpec, jobs: Sequence[Job], data: str | None, device: torch.device
) -> dict[int, Result]:
    """Trains to the end of the budget; the results of those that failed, by their seeds' numbers."""
    trials: list[Trial] = []
    try:
        splits = load_data(spec, data)
        for job in jobs:
            trials.append(_trial(run, spec, job, splits, device))
        errors = train_together(trials)
        ended = {job.repeat: trial for job, trial in zip(jobs, trials) if trial in errors}
        return {repeat: Result(cause(errors[t]), t.training.step, spec.steps) for repeat, t in ended.items()}
    except Exception as error:
        why = cause(error)
        if is_oom(why):
            return {job.repeat: Result(why, 0, spec.steps) for job in jobs}
        for trial in trials:
            trial.note(f"goes on alone: {why}")
        return {}
    finally:
        for trial in trials:
            trial.close()


def _light(measures: Iterable[Measure]) -> list[Measure]:
    return [measure for measure in measures if measure.name not in OF_CODES]


def _values(
    found: Mapping[str, float], measures: Iterable[Measure], spec: StudySpec, kind: str, among: Sequence[int] = ()
) -> tuple[Value, ...]:
    return tuple(
        Value(m.name, found[m.name], kind_of(m, kind), m.version, settings_of(m, spec, among))
        for m in measures
        if m.name in found
    )


def score(
    run: Run, spec: StudySpec, job: Job, data: str | None, device: torch.device, measures: Collection[Measure]
) -> tuple[Value, ...]:
    """Takes scores of the codes of a training's best checkpoint: each image is encoded once.

    Arguments as for `work`; the measures are scores of the codes of one model.

    Returns:
        Their values.
    """
    splits = load_data(spec, data)
    model = best_model(run, spec, job, splits, device)
    parts: tuple[Part, ...] = ("train", "valid", "test") if spec.confirm.codes_of == "all" else ("test",)
    several = [images_of(splits, part, spec.preprocessing, spec.pairing, device) for part in parts]
    how = How(spec.confirm.votes, spec.confirm.examples, spec.confirm.trees)
    return _values(score_codes(model, several, [m.name for m in measures], how), measures, spec, "")


def rank(
    run: Run, spec: StudySpec, jobs: Sequence[Job], data: str | None, device: torch.device
) -> list[tuple[Value, ...]]:
    """Compares the models of one configuration, which differ by their seeds, by UDR.

    Where a latent has no KL of its own, see `models.latents.kl_by_latent`, it is not defined.

    Args:
        jobs: at least two of one configuration.
        run, spec, data, device: as for `work`.

    Returns:
        The values of each job.
    """
    splits = load_data(spec, data)
    test = images_of(splits, "test", spec.preprocessing, spec.pairing, device)
    models = [best_model(run, spec, job, splits, device) for job in jobs]
    codes, kl = zip(*(_means_and_kl(model, test, spec.confirm.images) for model in models))
    (udr,) = (score for score in SCORES if score.name == "udr")
    among = [job.repeat for job in jobs]
    return [_values({"udr": float(value)}, udr.all, spec, "", among) for value in metrics.udr(codes, kl)]


def _means_and_kl(model: VAE, images: Images, first: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Posterior means of the first images, [N, Z], and each latent's mean KL over them, [Z]; NaN where it has none."""
    means, kl = [], []
    with evaluating(model, images):
        for x in images.batches(BATCH, first):
            q = model.posterior(x)
            means.append(model.posterior_part.means(q).cpu())
            shares = kl_shares(q, model.prior())
            kl.append(torch.full(means[-1].shape, torch.nan) if shares is None else shares.cpu())
    return torch.cat(means).numpy(), torch.cat(kl).double().mean(0).numpy()


def best_model(run: Run, spec: StudySpec, job: Job, splits: Splits, device: torch.device) -> VAE:
    """The best checkpoint of a training, which is done again where that is gone or damaged."""
    torch.set_num_threads(spec.resources.cpus)
    folder = run.confirmation(job.candidate.name, job.repeat)
    if not _has_best(folder):
        trial = _trial(run, spec, job, splits, device)
        while not trial.done:
            trial.report()
        trial.close()
    best = checkpoint.load(folder / checkpoint.BEST)
    assert best is not None
    model = build(spec, best["settings"], splits.test.images.shape[1:])
    model.load_state_dict(best["training"]["model"])
    return model.to(device).eval()


def _trial(run: Run, spec: StudySpec, job: Job, splits: Splits, device: torch.device) -> Trial:
    folder = run.confirmation(job.candidate.name, job.repeat)
    if not _has_best(folder):
        forget_training(folder)
    whole = spec.model_copy(update={"stop_on": []})  # a confirmation is of full budgets
    return Trial(whole, job.candidate.settings, splits, seed=job.seed, folder=folder, device=device)


def _has_best(folder: Path) -> bool:
    """Whether a training's best checkpoint is there and sound."""
    try:
        return checkpoint.load(folder / checkpoint.BEST) is not None
    except CheckpointError:
        return False


def forget_training(folder: Path) -> None:
    """Removes a training's checkpoints, so that it starts again, and then its result."""
    for name in (checkpoint.LAST, checkpoint.PREVIOUS, checkpoint.BEST, RESULT):
        (folder / name).unlink(missing_ok=True)
