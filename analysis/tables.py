"""Tables of one run or several, as pandas frames; each function maps runs to a frame, or a frame to a frame."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from study.record import confirmation as results
from study.record import folder, tables
from study.record.columns import COLUMNS
from study.record.storage import is_made
from study.record.words import UNFINISHED, ending
from study.spec.measures import MEASURES, in_order, measure, number_text, too_few

STATES = ("COMPLETE", "PRUNED", UNFINISHED, "FAIL")  # the order of a table
CONFIRMED = (
    "elbo",
    "log_likelihood",
    "effective_samples",
    "reconstruction",
    "kl",
    "zero_fraction",
    "active_units",
    "bits",
    "accuracy",
    "mig",
    "dci_disentanglement",
    "factor_vae",
    "udr",
)  # of the scores of codes, what tells most together; the frame has the rest
LATENT = ("kl", "variance", "zero_fraction")  # of each latent
COMPARABLE = ("dataset", "preprocessing", "likelihood", "kind")  # ELBOs compare where these are equal
OF_PIXELS = ("elbo", "reconstruction", "log_likelihood", "bits")  # of which a study's kind says what they are
DEVIATION = "_sd"  # what the names of standard deviations over seeds end in
HEADLINE = ("elbo", "adversarial_elbo", "reconstruction", "kl", "zero_fraction", "active_units")
_AS_KEPT = "its trials are shown as results.parquet has them, which was written before"
MARK = " *"  # behind an importance-weighted number that rests on too few effective samples


def trials(*runs: str | Path, root: str | Path = folder.RUNS) -> pd.DataFrame:
    """One row a trial of all these runs: study, state, cause, steps, `params.*` and `metrics.*`.

    Args:
        runs: names of runs, or their folders; of none, no rows.
        root: where named runs lie.

    Returns:
        With `study` as `names` has it.

    Raises:
        RunError: a run is not there, or its study or specification cannot be read.
    """
    return _read("results", runs, root)


def readable_trials(*runs: str | Path, root: str | Path = folder.RUNS) -> tuple[pd.DataFrame, list[str]]:
    """`trials`, as far as they can be read, and a line for each run of which that is not all. Arguments as for it.

    Of a study that cannot be opened any more the rows are those of results.parquet, if that is there.
    """
    found, frames, lines = _found(runs, root), [], []
    for run, name in zip(found, names(found)):
        try:
            frames.append(called(_frame(run, "results"), name))
        except folder.RunError as error:
            kept = _kept(run, "results")
            frames += [] if kept is None else [called(kept, name)]
            lines.append(f"left out are the trials of {name}: {error}" if kept is None else f"{error}; {_AS_KEPT}")
    return joined([_without_rows("results"), *frames]), lines


def curves(*runs: str | Path, root: str | Path = folder.RUNS) -> pd.DataFrame:
    """One row a report of all these runs; arguments and errors, of a damaged run too, as for `trials`."""
    return _read("curves", runs, root)


def train(*runs: str | Path, root: str | Path = folder.RUNS) -> pd.DataFrame:
    """One row a logged training step of all these runs; arguments and errors as for `trials`."""
    return _read("train", runs, root)


def confirmed(*runs: str | Path, root: str | Path = folder.RUNS) -> pd.DataFrame:
    """One row a (configuration, seed) of all these runs, on the test set; a run without confirmation adds none.

    Arguments as for `trials`.

    Raises:
        RunError: a run is not there, or its confirm.parquet is damaged.
    """
    found, damaged = readable_confirmed(*runs, root=root)
    if damaged:
        raise folder.RunError("\n".join(damaged))
    return found


def readable_confirmed(*runs: str | Path, root: str | Path = folder.RUNS) -> tuple[pd.DataFrame, list[str]]:
    """`confirmed`, as far as it can be read, and a line for each run whose table is damaged. Arguments as for it."""
    found, frames, damaged = _found(runs, root), [], []
    for run, name in zip(found, names(found)):
        try:
            frames.append(called(tables.confirmed(run), name))
        except folder.RunError as error:
            damaged.append(str(error))
    return joined([_without_rows("confirm"), *frames]), damaged


def latents(*runs: str | Path, root: str | Path = folder.RUNS) -> pd.DataFrame:
    """One row a (configuration, seed, latent) of all these runs: what each latent does on the test set.

    Arguments and errors as for `trials`.

    Returns:
        study, model, configuration, repeat, seed, latent; `kl` in nats, NaN where the KL has no share of each latent,
        see `models.latents.kl_by_latent`; `variance` of the posterior mean over the images; `zero_fraction` of its
        codes. No rows of what failed, and of what earlier releases confirmed.
    """
    found = confirmed(*runs, root=root)
    of_each = [column for column in found if column.startswith("latents.")]
    about = ["study", "model", "configuration", "repeat", "seed"]
    if not of_each:
        return pd.DataFrame(columns=[*about, "latent", *LATENT])
    frame = found.loc[found[of_each[0]].notna(), [*about, *of_each]]
    frame = frame.assign(latent=[range(len(values)) for values in frame[of_each[0]]])
    long = frame.explode([*of_each, "latent"], ignore_index=True).rename(columns=lambda c: c.removeprefix("latents."))
    return long[[*about, "latent", *LATENT]].astype({"latent": int, **dict.fromkeys(LATENT, float)})


def values(*runs: str | Path, root: str | Path = folder.RUNS) -> pd.DataFrame:
    """One row a value that was measured in confirmation: study, configuration, repeat, budget, measure, value, kind,
    version, and the settings that it depends on. Values of earlier settings and versions are among them.

    Arguments and errors as for `trials`.
    """
    rows, several = [], _found(runs, root)
    for run, study in zip(several, names(several)):
        for path in sorted(run.path.glob(f"confirm/*/{results.RESULT}")):
            if found := results.read(path):
                name, _, repeat = path.parent.name.rpartition("-")
                about = {"study": study, "configuration": name, "repeat": int(repeat), "budget": found.budget}
                rows += [{**about, **value._asdict(), **value.settings} for value in found.values]
    return pd.DataFrame(rows).drop(columns="settings", errors="ignore")


def _own(frame: pd.DataFrame) -> list[str]:
    """The measures of a frame that only its model has; of several models, those that all of them have."""
    known = {measure.name for measure in MEASURES}
    own = [column for column in frame if column.startswith("metrics.") and column.removeprefix("metrics.") not in known]
    everywhere = frame[frame["cause"] == ""].groupby("study")[own].count().all()
    return [column.removeprefix("metrics.") for column in own if everywhere[column]]


def confirmation(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds of each confirmed configuration, and how many failed.

    Args:
        frame: from `confirmed`, with at least one row.

    Returns:
        One row a (study, configuration): on which data, where that differs; n seeds, failures, and "mean ± deviation"
        of each test metric; of a single seed, its number alone; MARK behind a log-likelihood, and its bits, to be
        distrusted.
    """
    rows, measures = [], (*CONFIRMED, *_own(frame))
    for (study, configuration), group in frame.groupby(["study", "configuration"], sort=False):
        sound = group[group["cause"] == ""]
        spread = {
            metric: _mean_and_deviation(sound[f"metrics.{metric}"], measure(metric).unit)
            for metric in measures
            if f"metrics.{metric}" in sound and sound[f"metrics.{metric}"].notna().any()
        }
        if distrusted(sound):
            spread |= {name: f"{spread[name]}{MARK}" for name in ("log_likelihood", "bits") if name in spread}
        rows.append(
            {
                "study": study,
                "configuration": configuration,
                **group.iloc[0][differing(frame)],
                "seeds": len(sound),
                "failed": len(group) - len(sound),
                **spread,
            }
        )
    found = pd.DataFrame(rows)
    taken = [name for name in measures if name in found]  # in order, where the first study has not all
    return by_kind(found[[*found.columns.drop(taken), *taken]])


def _read(name: str, runs: tuple[str | Path, ...], root: str | Path) -> pd.DataFrame:
    found = _found(runs, root)
    return joined([_without_rows(name), *(called(_frame(run, name), of) for run, of in zip(found, names(found)))])


def _without_rows(name: str) -> pd.DataFrame:
    """A table of no run: the columns that it has of each."""
    return called(pd.DataFrame(columns=_fixed(name)), "")


def _fixed(name: str) -> list[str]:
    return [column for column in COLUMNS[name] if "*" not in column]


def names(runs: Sequence[folder.Run]) -> list[str]:
    """What runs are called beside each other: their folders' names, with those above as far as these tell them apart.

    Two folders can hold studies of one name, as a copy does, or the same preset under another root.
    """
    parts = [run.path.parts[1:] for run in runs]  # without the root, so that a name is no path

    def name(of: tuple[str, ...]) -> str:
        others = [other for other in parts if other != of]
        apart = (n for n in range(1, len(of)) if all(other[-n:] != of[-n:] for other in others))
        return "/".join(of[-next(apart, len(of)) :])

    return [name(of) for of in parts]


def called(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """A run's table, in which `study` is the first column and holds that name."""
    return frame.assign(study=name)[["study", *frame.columns.drop("study", errors="ignore")]]


def _found(runs: Iterable[str | Path], root: str | Path) -> list[folder.Run]:
    """The runs that are named; one that is named twice counts once."""
    return list({run.path: run for run in (folder.find(given, root) for given in runs)}.values())


def joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of several; a column is text where it is text in one of them."""
    filled = [frame for frame in frames if len(frame)]  # what is empty has no types to join
    return tables.of_one_type(pd.concat(filled or frames, ignore_index=True))


def _frame(run: folder.Run, name: str) -> pd.DataFrame:
    """A table's file, written again where it is older than the study, or not as today's; where that fails, the table.

    A run that was killed before it had a study has a table without rows.
    """
    todays = _fixed(name)
    found = tables.read(run, name) if tables.fresh(run, name) else None
    if found is None or not {*todays} <= {*found}:
        if is_without_study(run):
            return pd.DataFrame(columns=todays)
        with suppress(OSError):
            tables.write(run)
            found = tables.read(run, name)
    return tables.make(run, name) if found is None else found


def _kept(run: folder.Run, name: str) -> pd.DataFrame | None:
    """A table's file of a run whose specification, unlike its study, can be read; None where one of these is not so."""
    with suppress(folder.RunError):
        run.spec()
        return tables.read(run, name)
    return None


def is_without_study(run: folder.Run) -> bool:
    """Whether a run was killed before it had a study."""
    return not any(run.path.glob("trials/*")) and not is_made(run, run.spec())


def pathologies(frame: pd.DataFrame) -> pd.Series:
    """Of each trial the names of its pathologies, by commas; empty where it has none."""
    return frame["pathology"] if "pathology" in frame else pd.Series("", frame.index, dtype=object)


def sound(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials without a pathology, among which the best are; where all have one, all."""
    found = frame[pathologies(frame) == ""]
    return found if len(found) else frame


def ranking(frame: pd.DataFrame) -> pd.DataFrame:
    """The table that people read: complete trials first, best first in each state, what varies and the metrics only.

    The best is the one with the largest first objective, each study's own.

    Args:
        frame: from `trials`.
    """
    parameters = [c for c in frame if c.startswith("params.") and frame[c].nunique(dropna=False) > 1]
    objectives = frame["objective"] if "objective" in frame else pd.Series("elbo", frame.index)
    named = dict.fromkeys([*HEADLINE, *objectives])
    found = [f"metrics.{name}" for name in in_order(set(named)) if f"metrics.{name}" in frame]
    values = [row.get(f"metrics.{name}") for name, (_, row) in zip(objectives, frame.iterrows())]
    several = ["study"] if frame["study"].nunique() > 1 else []
    unlike = differing(frame)
    ended = [name for name in ("cause", "pathology") if name in frame and (frame[name] != "").any()]
    state = frame["state"].map(ending)
    order = state.map({state: i for i, state in enumerate(STATES)})
    ranked = frame.assign(state=state, order=order, value=values).sort_values(
        ["order", "value"], ascending=[True, False]
    )
    cost = [name for name in ("seconds", "cpu_seconds") if name in frame and frame[name].notna().any()]
    shown = ranked[[*several, "number", "state", *ended, "steps", *cost, *unlike, *found, *parameters]]
    return by_kind(shown.rename(columns=lambda c: c.removeprefix("params.").removeprefix("metrics.")))


def by_kind(frame: pd.DataFrame, always: bool = False) -> pd.DataFrame:
    """A table in which numbers of different kinds stand in columns of their own, such as `elbo_bound`.

    Args:
        frame: with the column `kind`, if its rows are of more than one.
        always: name the kind where all are of the same, too.
    """
    kinds = list(dict.fromkeys(frame["kind"].dropna())) if "kind" in frame else []
    if not always and len(kinds) < 2:
        return frame
    columns: dict[str, pd.Series] = {}
    for name in frame:
        if name.removesuffix(DEVIATION) in OF_PIXELS:
            columns |= {_of_kind(name, kind): frame[name].where(frame["kind"] == kind) for kind in kinds}
        else:
            columns[name] = frame[name]
    empty = [name for name in columns if name not in frame and columns[name].isna().all()]
    return pd.DataFrame(columns).drop(columns=empty)


def _of_kind(name: str, kind: str) -> str:
    measured = name.removesuffix(DEVIATION)
    return f"{measured}_{re.sub('[^a-z]', '_', kind)}{name.removeprefix(measured)}"


def unit(column: str) -> str:
    """The unit of a column, where it has one."""
    if column.endswith("seconds"):
        return "seconds"
    name = column.removesuffix(DEVIATION)
    return (
        "share" if name.endswith("_share") else measure(next((m for m in OF_PIXELS if name.startswith(m)), name)).unit
    )


def text(frame: pd.DataFrame) -> str:
    """A frame as aligned text, its numbers with the decimals of their units."""
    written = {name: functools.partial(cell, unit=unit(name)) for name in frame}
    aligned = {name: _aligned(frame[name].where(frame[name].notna(), float("nan"))) for name in frame}
    return pd.DataFrame(aligned, columns=frame.columns).to_string(index=False, na_rep="", formatters=written)


def cell(value: object, unit: str) -> str:
    """A value of a column as people read it; nothing for nothing."""
    if pd.isna(value):
        return ""
    return number_text(value, unit) if isinstance(value, float) else str(value)


def _aligned(column: pd.Series) -> pd.Series:
    """Room beside the unmarked numbers of a column where others have a mark."""
    marked = [isinstance(value, str) and value.endswith(MARK) for value in column]
    if not any(marked):
        return column
    wide = [value if has or pd.isna(value) else f"{value}{' ' * len(MARK)}" for value, has in zip(column, marked)]
    return pd.Series(wide, column.index, dtype=object)


def differing(frame: pd.DataFrame) -> list[str]:
    """What of COMPARABLE is not the same in all rows; where anything is not, their ELBOs do not compare."""
    return [column for column in COMPARABLE if column in frame and frame[column].nunique(dropna=False) > 1]


def distrusted(confirmed: pd.DataFrame) -> bool:
    """Whether the log-likelihoods of these rows rest on too few effective samples on average."""
    column = "metrics.effective_samples"
    return column in confirmed and too_few(confirmed[column].mean())


def _mean_and_deviation(values: pd.Series, unit: str) -> str:
    mean = number_text(values.mean(), unit)
    return mean if values.count() < 2 else f"{mean} ± {number_text(values.std(ddof=1), unit)}"
