"""One trial on its way through the budget, report by report, with its folder. Knows nothing of Ray.

It looks for its last checkpoint itself, so that one code serves the death of a driver, of a worker and of a machine,
and writes checkpoints, TensorBoard and snapshots into the trial's folder.
"""

from __future__ import annotations

import errno
import functools
import json
import math
import resource
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

import imagesets
from study.output import printable
from study.spec import measures
from study.trial import checkpoint, pathologies, snapshot
from study.trial.cards import CardError
from study.trial.curves import Curves
from study.trial.training import Losses, NonFiniteLossError, Training

if TYPE_CHECKING:
    from study.spec import StudySpec

LOG = "log"
OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "annot allocate memory")  # torch's words, and Linux's
# Or it may not be read or written, or is not the one on which the run lies.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
AWAY = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.ENOTCONN)  # what a network disk says that does not answer


def load_data(spec: StudySpec, root: str | None) -> imagesets.Splits:
    """The data of a study; a process, which serves many trials of one, reads it once."""
    return _load_data(spec.dataset, json.dumps(spec.dataset_options), root)


@functools.lru_cache(maxsize=1)
def _load_data(name: str, options: str, root: str | None) -> imagesets.Splits:
    return imagesets.load(name, root, **json.loads(options))


class Stopwatch:
    """Counts from now on."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def spent(self) -> tuple[float, float]:
        """Seconds by the clock, and of CPU in this process."""
        started, cpu_started = self._started
        return time.perf_counter() - started, time.process_time() - cpu_started


class Trained(NamedTuple):
    """What came of training until a report is due."""

    losses: list[Losses] | NonFiniteLossError
    seconds: float  # by the clock
    cpu_seconds: float  # of this process


class Trial:
    """A configuration in training.

    Args:
        spec: of the study.
        settings: the configuration.
        splits: the data.
        seed: of the training.
        folder: where its files lie; a checkpoint found there is gone on from.
        device: where model and data go.
    """

    def __init__(
        self,
        spec: StudySpec,
        settings: Mapping[str, Any],
        splits: imagesets.Splits,
        *,
        seed: int,
        folder: Path,
        device: torch.device | str = "cpu",
    ):
        torch.set_num_threads(spec.resources.cpus)
        self.spec, self.settings, self.folder, self.seed = spec, settings, folder, seed
        self.training = Training(spec, settings, splits, seed=seed, device=device)
        self.objective = spec.objectives[0]  # by which the best checkpoint is the best
        self.seconds, self.cpu_seconds, self.best = 0.0, 0.0, -math.inf
        self.fused = False  # whether it was trained together with others, if only for a while
        self.notes: list[str] = []
        self._doubts = ""  # what the last report held against the training, for the cause of its failure
        self._last: dict[int, Mapping[str, Any]] = {}  # the last report, by its step
        self._ill = False  # of a pathology that ends the trial
        self._repeat: dict[str, Any] | None = None
        self._curves: Curves | None = None
        state = checkpoint.load_last(folder, self.note)
        if state is not None and not (checkpoint.same(state["settings"], settings) and state.get("seed", seed) == seed):
            self.note(f"{folder} holds the checkpoint of another trial; it is left out")
            state = None
        if state is not None and not self.training.takes(state["training"]):
            self.note(f"{folder} holds a checkpoint of an earlier release, with other groups of parameters; left out")
            state = None
        if state is not None:
            self.training.load_state_dict(state["training"])
            self.seconds, self._repeat = state["seconds"], _report_of(state)
            self.fused = state.get("fused", False)
            self._doubts = pathologies.doubts(self.training.model, self._repeat, self.training.step)
            self._last, self._ill = {self.training.step: self._repeat}, state.get("ill", False)
            self.cpu_seconds = state.get("cpu_seconds", math.nan)  # earlier releases did not count them
            if state.get("objective", "elbo") == self.objective:  # earlier releases went by the ELBO always
                self.best = state["best"]
            self.note(f"goes on from step {self.training.step}")

    @property
    def done(self) -> bool:
        """Whether the budget is spent, or a pathology ends the trial, and the last report is handed out."""
        return self._repeat is None and (self._ill or self.training.step >= self.spec.steps)

    @property
    def due(self) -> int:
        """Steps until the next report; none where that is the one of the checkpoint."""
        return 0 if self._repeat is not None else min(self.spec.report_every, self.spec.steps - self.training.step)

    def report(self, trained: Trained | None = None) -> dict[str, Any]:
        """Trains until the next report is due and makes it.

        After a resume the first report is the one that the checkpoint holds: whoever keeps the reports may not have it.

        Args:
            trained: what came of the training where it was done already, together with others.

        Returns:
            Measures on the validation images, and in `measures` their names; `steps`, `seconds` of work so far by the
            clock, `cpu_seconds` of this process in them, `reported`, which is now, in seconds since 1970, `peak_memory`
            of this process so far, in bytes, and `train`: [step, losses] pairs.

        Raises:
            NonFiniteLossError: a loss or the first objective was not finite.
        """
        if self._repeat is not None:
            report, self._repeat = self._repeat, None
            return report
        self.fused |= trained is not None
        trained, watch = trained or self._trained(), Stopwatch()
        losses = trained.losses
        if isinstance(losses, NonFiniteLossError):
            raise NonFiniteLossError(losses.loss, losses.step, self._doubts) from losses
        while self.training.notes:
            self.note(self.training.notes.pop(0))
        found = self.training.evaluate()
        self._doubts = pathologies.doubts(self.training.model, found, self.training.step)
        if not math.isfinite(found[self.objective]):
            title = measures.measure(self.objective).title
            raise NonFiniteLossError(f"validation {title}", self.training.step, self._doubts)
        seconds, cpu_seconds = watch.spent()
        self.seconds += trained.seconds + seconds
        self.cpu_seconds += trained.cpu_seconds + cpu_seconds
        report = {
            **found,
            "measures": list(found),
            measures.VERSIONS: measures.versions(found),
            "steps": self.training.step,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "reported": time.time(),
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "train": [[entry.step, entry.values] for entry in losses],
            measures.PATHOLOGIES: pathologies.judged(
                self.training.model, found, self.training.step, self.spec.pathologies
            ),
        }
        self._judge(report)
        self._show(found, losses)
        self._save(report)
        return report

    def _trained(self) -> Trained:
        losses: list[Losses] | NonFiniteLossError
        watch = Stopwatch()
        try:
            losses = self.training.advance(self.due)
        except NonFiniteLossError as error:
            losses = error
        return Trained(losses, *watch.spent())

    def _judge(self, report: Mapping[str, Any]) -> None:
        """Sees whether the trial has a pathology that is to end it."""
        step = self.training.step
        found = pathologies.verdicts({**self._last, step: report})
        ending = [
            f"{name}: {one.evidence}" for name, one in found.items() if name in self.spec.stop_on and one.evidence
        ]
        self._last, self._ill = {step: report}, bool(ending)
        if ending:
            self.note(f"ends at step {step}, {'; '.join(ending)}")

    def _show(self, found: Mapping[str, float], losses: list[Losses]) -> None:
        step = self.training.step
        if self._curves is None:
            self._curves = Curves(self.folder, step)
        for entry in losses:
            self._curves.add(entry.step, {f"train/loss_{name}": value for name, value in entry.values.items()})
        defined = {f"valid/{name}": value for name, value in found.items() if math.isfinite(value)}
        self._curves.add(step, defined)
        try:
            seen = snapshot.take(self.training.model, self.training.valid_images)
            snapshot.save(seen, self.folder / "snapshots" / f"{step:07d}")
            self._curves.add_picture(step, "valid/reconstructions", snapshot.reconstruction_sheet(seen))
        except OSError:  # a full disk ends the work
            raise
        except Exception as error:  # a picture never ends a training
            self.note(f"no picture at step {step}: {type(error).__name__}: {error}")
        self._curves.flush()

    def _save(self, report: dict[str, Any]) -> None:
        better = report[self.objective] > self.best
        self.best = max(self.best, report[self.objective])
        state = {
            "training": self.training.state_dict(),
            "settings": dict(self.settings),
            "seed": self.seed,
            "report": report,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "best": self.best,
            "objective": self.objective,
            "ill": self._ill,
            "fused": self.fused,
        }
        checkpoint.save_last(self.folder, state, is_best=better)

    def take_notes(self) -> list[str]:
        """Lines of the log that nobody has taken yet."""
        taken, self.notes = self.notes, []
        return taken

    def note(self, line: str) -> None:
        """A line in the trial's log."""
        line = printable(line)
        self.notes.append(line)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / LOG, "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def close(self) -> None:
        """Closes the TensorBoard file."""
        if self._curves is not None:
            self._curves.close()
            self._curves = None


def _report_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The report that a checkpoint holds."""
    report = measures.current(state["report"])
    return {"measures": measures.taken([report]), **report}


def failed(error: Exception, steps: int, spec: StudySpec | None = None) -> dict[str, Any]:
    """The report of a trial that ended with an error: its cause, and no numbers.

    `halt` says that the error is the machine's, not the trial's: the disk is full, may not be used, or does not answer.
    The trial is to go on later. So does a card that torch does not find.
    """
    return {
        **dict.fromkeys((*measures.METRICS, *(spec.objectives if spec else ())), math.nan),  # ASHA looks for its own
        "measures": [],
        "steps": steps,
        "seconds": math.nan,
        "train": [],
        "cause": cause(error),
        "traceback": _last_lines(error),
        "halt": _is_of_the_disk(error) or isinstance(error, CardError),
    }


def _is_of_the_disk(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in FULL + AWAY


def _last_lines(error: Exception, lines: int = 12) -> str:
    """The end of a crash's traceback: where in the code it happened."""
    if not cause(error).startswith("crash"):
        return ""
    return "\n".join("".join(traceback.format_exception(error)).strip().splitlines()[-lines:])


def cause(error: Exception) -> str:
    """Why a trial failed, in a line: "nan: ...", "oom: ..." or "crash: ..."."""
    text = printable((str(error).splitlines() or [""])[0])
    if _is_of_the_disk(error):
        return f"disk: {text}"
    if isinstance(error, CardError):
        return f"card: {text}"
    if isinstance(error, NonFiniteLossError):
        return f"nan: {text}"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
        return f"oom: {text}"
    return f"crash: {type(error).__name__}: {text}"
