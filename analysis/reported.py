"""What a report says of one run: what was asked, what came out, what failed, what it cost, and how to repeat it.

Paths, host names and passwords are left out.
"""

from __future__ import annotations

import base64
import re
import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import imagesets
import models
from analysis import figures, summaries, tables
from analysis.formats import Cells, cells
from imagesets import DataError
from study.output import masked
from study.record.folder import RunError
from study.record.trials import owed
from study.record.words import duration, summary
from study.spec.measures import in_order, kind_of, measure, number_text, titled
from study.spec.ranges import text as range_text
from study.spec.text import counted, dump_values, program

MOST_TRIALS = 20  # of a study, in the table
MOST_FRONT = 50
MOST_NUMBERS = 10  # of trials that failed alike
TRACEBACKS = 3  # of each cause
INLINE = {"png": "image/png", "gif": "image/gif"}
PATH = re.compile(r"""(?<![\w.:/\\~-])~?/(?:[^\s/'"`<>|;,()]+/)+""")
PLACE = re.compile(r"\b([A-Za-z][\w+.-]*:/{2,})[^\s'\"`<>]+")  # of a server or a file, in a URL


class Picture(NamedTuple):
    """A figure, as it stands in the page."""

    title: str
    uri: str


class Failure(NamedTuple):
    """What failed for one reason."""

    kind: str  # nan, oom, crash, lost, ...
    times: int
    which: str
    said: str  # by the first of them
    tracebacks: list[str]


class File(NamedTuple):
    """What the study is repeated from."""

    name: str
    text: str

    @property
    def uri(self) -> str:
        return _uri("text/plain;charset=utf-8", self.text.encode())


class Reported:
    """What a report says of one run.

    Args:
        results: of the run.
    """

    def __init__(self, results: figures.Results):
        self.results, self.run, self.spec = results, results.run, results.spec
        self.trials, self.confirmed = results.trials, results.confirmed

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
        return summary(self._opened).splitlines()[0].removeprefix(f"{self.spec.name}: ")

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
            ("stopped early", f"ASHA at steps {', '.join(map(str, spec.rungs))}" if spec.rungs else "no trial"),
        ]
        seeds = [("search", f"none: the defaults over {counted(spec.confirm.seeds, 'fresh seed')}")]
        of_search = {0: "", 1: "the best configuration and "}.get(top := spec.confirm.top, f"the {top} best and ")
        return [
            ("model", f"{spec.title}: {' '.join(words)}"),
            ("data", f"{spec.data}, {spec.pixels} images"),
            ("likelihood", f"{spec.likelihood}{sigma}"),
            *(search if spec.trials else seeds),
            (
                "each training",
                f"{spec.steps:,} steps of {spec.budget.batch} images, a report every {spec.report_every}",
            ),
            ("confirmation", f"{of_search}the defaults, {counted(spec.confirm.seeds, 'fresh seed')} each"),
            ("resources", f"{spec.resources.cpus} CPU and {spec.resources.gpus:g} GPU a training"),
        ]

    @cached_property
    def space(self) -> Cells:
        """Each hyperparameter: what was drawn from, or pinned, the defaults, and what the best trial had."""
        drawn, defaults = self.spec.distributions(), {**self.spec.default_draws(), **self.spec.defaults()}
        best = {} if self.best_trial is None else self.best_trial
        rows = []
        for name in dict.fromkeys([*drawn, *self.spec.fixed]):
            how = range_text(drawn[name]) if name in drawn else "pinned"
            default = self.spec.fixed.get(name, defaults.get(name))
            row = {"hyperparameter": name, "drawn from": how, "default": _value(default)}
            if len(best):
                row["best trial"] = _value(best.get(f"params.{name}"))
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
        complete = int((self.trials["state"] == "COMPLETE").sum())
        among = counted(complete, "complete trial", ",")
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
        return tables.notes(self.trials.drop(columns="budget", errors="ignore"), self.confirmed)

    # What failed.

    @cached_property
    def failures(self) -> list[Failure]:
        """Of trials and of trainings for confirmation, what failed, by cause."""
        failed = self.trials[self.trials["state"] == "FAIL"]
        found = [
            (_kind_of_cause(row.cause), f"trial {row.number}", row.cause, row.number) for row in failed.itertuples()
        ]
        if len(self.confirmed):
            trained = self.confirmed[self.confirmed["cause"] != ""]
            found += [
                (_kind_of_cause(row.cause), f"{row.configuration}, seed {row.repeat + 1}", row.cause, None)
                for row in trained.itertuples()
            ]
        by_kind: dict[str, list[tuple[str, str, str, int | None]]] = {}
        for one in found:
            by_kind.setdefault(one[0], []).append(one)
        return [self._failure(kind, ones) for kind, ones in sorted(by_kind.items(), key=lambda item: -len(item[1]))]

    def _failure(self, kind: str, ones: list[tuple[str, str, str, int | None]]) -> Failure:
        named = ", ".join(which for _, which, _, _ in ones[:MOST_NUMBERS])
        others = len(ones) - MOST_NUMBERS
        numbers = [number for _, _, _, number in ones if number is not None]
        said = [without_places(text) for number in numbers if (text := self._tracebacks.get(number))]
        more = f" and {others:,} more" if others > 0 else ""
        return Failure(kind, len(ones), f"{named}{more}", without_places(ones[0][2]), said[:TRACEBACKS])

    @cached_property
    def _tracebacks(self) -> dict[int, str]:
        if self._opened is None:
            return {}
        trials = self._opened.study.get_trials(deepcopy=False)
        return {trial.number: said for trial in trials if (said := trial.user_attrs.get("traceback"))}

    # What it cost, and how to do it again.

    @cached_property
    def cost(self) -> list[tuple[str, str]]:
        found = summaries.studies(self.trials, self.confirmed).to_dict("records")
        return _cost(found[0]) if found else [("steps", "none yet")]

    @cached_property
    def made_with(self) -> list[tuple[str, str]]:
        """The machine without its name, and versions."""
        said = self.run.made_with()
        commit = said.get("commit")
        changed = ", with uncommitted changes" if said.get("changed") else ""
        packages = {"python": said.get("python"), **said.get("packages", {})}
        machine = [f"{said['cpus']} CPUs"] if said.get("cpus") else []
        return [
            ("commit", f"{commit}{changed}" if commit else "not known"),
            (
                "versions",
                ", ".join(f"{name} {version}" for name, version in packages.items() if version) or "not known",
            ),
            ("machine", ", ".join([*machine, *said.get("gpus", [])]) or "not known"),
        ]

    @cached_property
    def files(self) -> list[File]:
        """What the commands below take: the whole specification, and a model of one's own."""
        said, code = self.spec.model_dump(mode="json"), self.spec.code
        del said["code"]
        if said["storage"] != "journal":
            said["storage"] = None
        for key in imagesets.paths(self.spec.dataset):
            if key in said["dataset_options"]:
                said["dataset_options"][key] = Path(said["dataset_options"][key]).name
        own = []
        if code is not None:
            said["model"] = Path(code.origin).name if "/" in code.origin else code.origin
            own = [File(said["model"], code.text)] if "/" in code.origin else []
        return [File(f"{self.spec.name}.yaml", dump_values(said)), *own]

    @cached_property
    def beside(self) -> list[str]:
        """The images of one's own that must lie beside the specification."""
        options = self.spec.dataset_options
        return [Path(options[key]).name for key in imagesets.paths(self.spec.dataset) if key in options]

    @cached_property
    def commands(self) -> list[str]:
        """That repeat the study under another name."""
        again, file, study = f"{self.spec.name}-again", f"{self.spec.name}.yaml", program()
        named = f"{study} {{}} {file} --set name={again}"
        needed = [f"{study} datasets get {self.spec.dataset}"] if self._is_fetched() else []
        if not self.spec.trials:
            searched = [f"{named.format('seeds')} --seeds {self.spec.confirm.seeds}"]
        elif self._is_one_training():
            searched = [named.format("train")]
        else:
            searched = [named.format("run"), f"{study} confirm {again}"]
        return [*needed, *searched, f"{program('analysis')} report {again}"]

    def _is_fetched(self) -> bool:
        with suppress(DataError):
            return bool(imagesets.about(self.spec.dataset).sources)
        return False

    def _is_one_training(self) -> bool:
        """Whether it was made by `train`, which takes the defaults."""
        if self.spec.trials != 1 or self._opened is None:
            return False
        return any(trial.params == self.spec.default_draws() for trial in self._opened.study.get_trials(deepcopy=False))

    # Figures.

    @cached_property
    def drawn(self) -> tuple[list[Picture], str]:
        """Its figures, and what kept some from being drawn."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                paths, reason = figures.draw(self.results, inline(), Path(folder)), str(self.results.lacking or "")
            except (RunError, DataError) as error:
                paths, reason = [], str(error)
                if self._opened is not None:
                    paths = figures.without_model(self.results, inline(), Path(folder))
            return [picture(path) for path in paths], without_places(reason)


def shown(frame: pd.DataFrame) -> Cells:
    """A table of the page."""
    found = cells(frame)
    return found._replace(rows=[[without_places(text) for text in row] for row in found.rows])


def inline() -> list[str]:
    """The suffixes of pictures that a page has in it."""
    return [suffix for suffix in figures.FORMATS if suffix in INLINE]


def picture(path: Path) -> Picture:
    """A file that was drawn, with the words of its figure."""
    title = (figures.module(path.stem).__doc__ or path.stem).strip().splitlines()[0]
    return Picture(title, _uri(INLINE[path.suffix.removeprefix(".")], path.read_bytes()))


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def without_places(text: str) -> str:
    """Text without passwords, and in which a path is the name of its file, and a URL its scheme."""
    return PATH.sub("", PLACE.sub(r"\1...", masked(text)))


def _cost(of: dict[str, Any]) -> list[tuple[str, str]]:
    """A row of `summaries.studies` in words."""
    stopped = f"{of['pruned']:,} stopped early ({of['pruned_share']:.0%})"
    failed = f"{of['failed']:,} failed ({of['failed_share']:.0%})"
    ended = f", of those that have ended {stopped} and {failed}" if of["trials"] > of["unfinished"] else ""
    saved = f"; ASHA saved {of['saved_share']:.0%} of what they would have been" if of["saved_share"] > 0 else ""
    searched = [
        ("trials", f"{of['trials']:,}{ended}"),
        ("steps", f"{of['steps']:,}{saved}"),
        ("work on trials", _work(of["seconds"], of["cpu_seconds"])),
        (
            "from, to",
            " to ".join(f"{time:%Y-%m-%d %H:%M}" for key in ("started", "ended") if pd.notna(time := of[key])),
        ),
    ]
    trained = f"{counted(of['confirmed'], 'training')}, {of['confirmed_failed']:,} failed"
    confirmed = [("confirmation", f"{trained}; {_work(of['confirmed_seconds'], of['confirmed_cpu_seconds'])}")]
    return [*(searched if of["trials"] else []), *(confirmed if of["confirmed"] else [])]


def _work(seconds: float, cpu_seconds: float) -> str:
    on_cpu = f", {duration(cpu_seconds)} of CPU" if pd.notna(cpu_seconds) else ""
    return f"{duration(seconds)} by the clock, all together{on_cpu}" if pd.notna(seconds) else "not known"


def _kind_of_cause(cause: str) -> str:
    return cause.partition(":")[0]


def _is_metric(name: object) -> bool:
    return str(name).startswith("metrics.")


def _value(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return number_text(value) if isinstance(value, float) else str(value)
