"""The thin adapter between Training and Ray Tune: one `step` trains for one report.

It writes its own checkpoints and its own TensorBoard into the trial's folder, and looks for its last checkpoint there
itself, so that one code serves the death of a driver, of a worker and of a machine.
"""

from __future__ import annotations

import functools
import math
import time
from typing import Any

import ray
import torch
from ray import tune
from tensorboardX import SummaryWriter

import datasets
from study import checkpoint
from study.evaluation import METRICS
from study.folder import Run
from study.spec import StudySpec
from study.training import Losses, NonFiniteLossError, Training, derived_seed

load_data = functools.lru_cache(maxsize=1)(datasets.load)  # an actor serves many trials of one study


def device() -> torch.device:
    """Where this worker's model and data go: the GPU, or the share of one, that Ray gave it, else the CPU."""
    return torch.device("cuda", 0) if ray.get_gpu_ids() else torch.device("cpu")


class Trial(tune.Trainable):
    """One trial. Its configuration: `number`, `run` (a folder), `spec`, `data` (a folder or None) and `settings`.

    Exceptions end it with a result that says the cause, so that Ray's own retries count lost processes only.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self.config, self.failure, self.pending, self.writer = config, None, None, None
        try:
            self._start(config)
        except Exception as error:
            self.failure = error

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True

    def _start(self, config: dict[str, Any]) -> None:
        spec = StudySpec(**config["spec"])
        self.budget, self.report_every = spec.steps, spec.report_every
        self.folder = Run(config["run"]).trial(config["number"])
        torch.set_num_threads(spec.resources.cpus)
        self.training = Training(
            spec,
            config["settings"],
            load_data(spec.dataset, config["data"]),
            seed=derived_seed(spec.seed, config["number"]),
            device=device(),
        )
        self.seconds, self.best = 0.0, -float("inf")
        state = checkpoint.load(self.folder / checkpoint.LAST)
        if state is not None:
            self.training.load_state_dict(state["training"])
            self.seconds, self.best = state["seconds"], state["best"]
            self.pending = state["report"]

    def step(self) -> dict[str, Any]:
        try:
            if self.failure is not None:
                raise self.failure
            if self.pending is not None:
                report, self.pending = self.pending, None
            else:
                report = self._advance()
            return {**report, "cause": "", "done": report["steps"] >= self.budget}
        except Exception as error:
            steps = self.training.step if hasattr(self, "training") else 0
            nothing = dict.fromkeys(METRICS, float("nan"))
            return {**nothing, "steps": steps, "seconds": 0.0, "train": [], "cause": cause(error), "done": True}

    def _advance(self) -> dict[str, Any]:
        started = time.perf_counter()
        losses = self.training.advance(min(self.report_every, self.budget - self.training.step))
        found = self.training.evaluate()
        if not math.isfinite(found["elbo"]):
            raise NonFiniteLossError("validation ELBO", self.training.step)
        self.seconds += time.perf_counter() - started
        report = {
            **found,
            "steps": self.training.step,
            "seconds": self.seconds,
            "train": [[entry.step, entry.values] for entry in losses],
        }
        self._log(found, losses)
        self._save(report)
        return report

    def _log(self, found: dict[str, float], losses: list[Losses]) -> None:
        if self.writer is None:  # only now: Ray may set up an actor for a trial and then give it another
            self.writer = SummaryWriter(str(self.folder), purge_step=self.training.step)
        for entry in losses:
            for name, value in entry.values.items():
                self.writer.add_scalar(f"train/loss_{name}", value, entry.step)
        for name, value in found.items():
            self.writer.add_scalar(f"valid/{name}", value, self.training.step)
        self.writer.flush()

    def _save(self, report: dict[str, Any]) -> None:
        better = report["elbo"] > self.best
        self.best = max(self.best, report["elbo"])
        state = {
            "training": self.training.state_dict(),
            "settings": self.config["settings"],
            "report": report,
            "seconds": self.seconds,
            "best": self.best,
        }
        if better:
            checkpoint.save(self.folder / checkpoint.BEST, state)
        checkpoint.save(self.folder / checkpoint.LAST, state)

    def cleanup(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: checkpoints are the trial's own."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: checkpoints are the trial's own."""


def cause(error: Exception) -> str:
    """Why a trial failed, in a line: "nan: ...", "oom: ..." or "crash: ..."."""
    text = (str(error).splitlines() or [""])[0]
    if isinstance(error, NonFiniteLossError):
        return f"nan: {text}"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in text:
        return f"oom: {text}"
    return f"crash: {type(error).__name__}: {text}"
