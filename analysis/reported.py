"""What a report says of one run: what was asked, what came out, what failed, what it cost, and how to repeat it.

Paths, host names and passwords are left out.
"""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

import models
from analysis import again, costs, figures, summaries, tables
from analysis.failures import Failure, failures, pathologies
from analysis.formats import Cells, cells, sendable
from analysis.inline import File, Picture, picture, suffixes
from analysis.notes import notes
from study.output import without_places
from study.record import packed
from study.record.folder import RunError
from study.record.trials import is_one_training, owed
from study.record.words import at_rungs, in_words, summary
from study.spec import Resources
from study.spec.measures import in_order, kind_of, measure, number_text, titled
from study.spec.ranges import text as range_text
from study.spec.text import counted

MOST_TRIALS = 20  # of a study, in the table
MOST_FRONT = 50


class Reported:
    """What a report says of one run.

    Args:
        results: of the run.
    """

    def __init__(self, results: figures.Results):
        self.results, self.run, self.spec = results, results.run, results.spec
        self.trials, self.confirmed, self.damaged = results.trials, pd.DataFrame(), ""
        try:
            self.confirmed = results.confirmed
        except RunError as error:
            self.damaged = without_places(str(error))

    @property
    def name(self) -> str:
        return self.results.name

    @cached_property
    def _opened(self) -> Any:
        """The run with its study; None where it was killed before it had one."""
        return None if tables.is_without_study(self.run) else self.results.opened

    @cached_property
    def unfinished(self) -> str:
        """That there is more to come, and how; empty where the run is at its end."""
        if self._opened is not None and not self._owed():
            return ""
        if self.run.is_held():
            return "A process is at work on this run: what follows is what there was when the report was made."
        goes_on = without_places(self.run.goes_on(self.spec))
        return f"This run was stopped before its end: what follows is what there is. It goes on with `{goes_on}`."

    def _owed(self) -> bool:
        if self.spec.trials:
            return owed(self._opened) > 0
        return len(self.confirmed) < self.spec.confirm.seeds

    @cached_property
    def standing(self) -> str:
        """Where it stands, in a line."""
        if self._opened is None:
            return "no study yet"
        return summary(self._opened).splitlines()[0].removeprefix(f"{self.run.name}: ")

    @cached_property
    def one_training(self) -> bool:
        """Whether it is a single training of the defaults, and no search."""
        return self._opened is not None and is_one_training(self._opened)

    @cached_property
    def headline(self) -> list[tuple[str, str]]:
        """The first objective: of the best trial, and of what was confirmed."""
        of, found = measure(self.results.measure), []
        unit = f" {of.unit} an image" if of.unit == "nats" else ""
        if self.best_trial is not None:
            value = number_text(self.best_trial[f"metrics.{of.name}"], of.unit)
            kind = f", {kind_of(of, self._kind)}" if of.name in tables.OF_PIXELS else ""
            found.append(
                ("best", f"{of.title} {value}{unit} on the validation images{kind}: trial {self.best_trial.name}")
            )
        if len(self.confirmed):
            rows = tables.confirmation(self.confirmed).to_dict("records")
            said = [f"{row['configuration']} {row.get(of.name, 'failed')}" for row in rows]
            found.append(("confirmed", f"{of.title} on the test set, over fresh seeds: {'; '.join(said)}"))
        return found

    # What was asked.

    @cached_property
    def asked(self) -> list[tuple[str, str]]:
        spec = self.spec
        words = (models.described(spec.model).__doc__ or "one of your own").strip().partition("\n\n")[0].split()
        sigma = f", sigma {spec.sigma}" if spec.likelihood == "gaussian" else ""
        search = [
            ("maximises", ", ".join(titled(measure(name)) for name in spec.objectives)),
            ("search", f"{counted(spec.trials, 'trial')} by {spec.sampler}, seed {spec.seed}"),
            ("stopped early", f"ASHA {at_rungs(spec)}" if spec.rungs else "no trial"),
        ]
        if self.one_training:
            search = [search[0], ("search", f"none: one training of the defaults, seed {spec.seed}")]
        seeds = [("search", f"none: the defaults over {counted(spec.confirm.seeds, 'fresh seed')}")]
        of_search = {0: "", 1: "the best configuration and "}.get(top := spec.confirm.top, f"the {top} best and ")
        confirmation = [("confirmation", f"{of_search}the defaults, {counted(spec.confirm.seeds, 'fresh seed')} each")]
        return [
            ("model", f"{spec.title}: {' '.join(words)}"),
            ("data", f"{spec.data}, {spec.pixels} images"),
            ("likelihood", f"{spec.likelihood}{sigma}"),
            *(search if spec.trials else seeds),
            (
                "each training",
                f"{spec.steps:,} steps of {spec.budget.batch} images, a report every {spec.report_every:,}",
            ),
            ("training steps in", f"{in_words(spec)}; evaluated in float32"),
            *([] if self.one_training else confirmation),
            ("resources", f"{self._resources.text} a training"),
        ]

    @property
    def _resources(self) -> Resources:
        found = None if self._opened is None else packed.kept(self._opened)
        return packed.as_packed(self.spec, found).resources

    @cached_property
    def space(self) -> Cells:
        """Each hyperparameter: what was drawn from, or pinned, the defaults, and what the best trial had."""
        drawn, defaults = self.spec.distributions(), {**self.spec.default_draws(), **self.spec.defaults()}
        best = {} if self.best_trial is None else self.best_trial
        rows = []
        for name in dict.fromkeys([*drawn, *self.spec.fixed]):
            how = range_text(drawn[name]) if name in drawn else "pinned"
            known = {**defaults, **self.spec.fixed}
            row = {"hyperparameter": name, "drawn from": how, "default": _value(known[name]) if name in known else ""}
            if self.one_training:
                row = {"hyperparameter": name, "value": row["default"], "": "" if name in drawn else how}
            elif len(best):
                row["best trial"] = _value(best[column]) if (column := f"params.{name}") in best else ""
            rows.append(row)
        return shown(pd.DataFrame(rows))

    # What came out.

    @cached_property
    def best_trial(self) -> pd.Series | None:
        """The complete trial with the largest first objective."""
        found = summaries.best(self.trials)
        return None if not len(found) else self.trials.set_index("number").loc[found["number"].iloc[0]]

    @cached_property
    def best(self) -> Cells | None:
        """Measures of the best trial on the validation images."""
        if self.best_trial is None:
            return None
        taken = {name.removeprefix("metrics."): value for name, value in self.best_trial.items() if _is_metric(name)}
        rows = [
            {"measure": titled(of), "value": number_text(taken[name], of.unit), "kind": kind_of(of, self._kind)}
            for name in in_order({*taken})
            if pd.notna(taken[name])
            for of in [measure(name)]
        ]
        return shown(pd.DataFrame(rows))

    @property
    def _kind(self) -> str:
        return str(self.results.about["kind"].iloc[0])

    @cached_property
    def which(self) -> str:
        """The best trial, in words."""
        assert self.best_trial is not None
        steps = counted(int(self.best_trial["steps"]), "step", ",")
        if self.one_training:
            return f"The training at its last report, after {steps}"
        complete = self.trials[self.trials["state"] == "COMPLETE"]
        sound = tables.sound(complete)
        apart = " without a pathology" if len(sound) < len(complete) else ""
        among = counted(len(sound), "complete trial", ",") + apart
        return f"Trial {self.best_trial.name}, the best of {among} by {self.results.measure}, after {steps}"

    @cached_property
    def confirmation(self) -> Cells | None:
        return shown(tables.confirmation(self.confirmed).drop(columns="study")) if len(self.confirmed) else None

    @cached_property
    def front(self) -> Cells | None:
        found = summaries.front(self.trials)
        if not len(found):
            return None
        return shown(found.drop(columns=[*summaries.ABOUT, "study"]).head(MOST_FRONT))

    @cached_property
    def ranking(self) -> Cells | None:
        """The first trials of the ranking."""
        return shown(tables.ranking(self.trials).head(MOST_TRIALS)) if len(self.trials) else None

    @property
    def more(self) -> int:
        """How many trials the ranking leaves out."""
        return max(0, len(self.trials) - MOST_TRIALS)

    @cached_property
    def notes(self) -> list[str]:
        """What the numbers are."""
        return notes(self.trials.drop(columns="budget", errors="ignore"), self.confirmed)

    # What failed, what it cost, and how to do it again.

    @cached_property
    def failures(self) -> list[Failure]:
        return failures(self.trials, self.confirmed, self._tracebacks)

    @cached_property
    def pathologies(self) -> list[Failure]:
        return pathologies(self.trials)

    @cached_property
    def _tracebacks(self) -> dict[int, str]:
        if self._opened is None:
            return {}
        trials = self._opened.study.get_trials(deepcopy=False)
        return {trial.number: said for trial in trials if (said := trial.user_attrs.get("traceback"))}

    @cached_property
    def cost(self) -> list[tuple[str, str]]:
        found = summaries.studies(self.trials, self.confirmed).to_dict("records")
        return costs.said(found[0]) if found else [("steps", "none yet")]

    @cached_property
    def made_with(self) -> list[tuple[str, str]]:
        return again.made_with(self.run)

    @cached_property
    def files(self) -> list[File]:
        return again.files(self.spec, self.name)

    @cached_property
    def beside(self) -> list[str]:
        return again.beside(self.spec)

    @cached_property
    def commands(self) -> list[str]:
        return again.commands(self.spec, self.name, self._opened)

    # Figures.

    @cached_property
    def drawn(self) -> tuple[list[Picture], list[str]]:
        """Its figures, and what kept some from being drawn."""
        with tempfile.TemporaryDirectory() as folder:
            drawn = [picture(path) for path in figures.draw(self.results, suffixes(), Path(folder))]
            return drawn, [without_places(line) for line in self.results.lacking]


def shown(frame: pd.DataFrame) -> Cells:
    """A table of the page."""
    return cells(sendable(frame))


def _is_metric(name: object) -> bool:
    return str(name).startswith("metrics.")


def _value(value: Any) -> str:
    """A setting; a frame of several kinds has NaN where one is None."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "None"
    return number_text(value) if isinstance(value, float) else str(value)
