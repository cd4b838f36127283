"""The thin adapter between a trial and Ray Tune: one `step` is one report.

Ray's own checkpoints and loggers are switched off: the trial keeps its own. Actors are reused from trial to trial.
"""

from __future__ import annotations

from typing import Any

import ray
import torch
from ray import tune

from study.record.folder import Run
from study.spec import StudySpec
from study.trial import cards
from study.trial.seeds import derived_seed
from study.trial.trial import Trial, failed, load_data


def device(deterministic: bool = False) -> torch.device:
    """Where this worker's model and data go: the GPU, or the share of one, that Ray gave it, else the CPU.

    Raises:
        CardError: Ray gave it one, of which torch knows nothing.
    """
    if not (ray.is_initialized() and ray.get_gpu_ids()):  # asked where there is no Ray, it would start one
        return torch.device("cpu")
    return cards.take(ray.get_runtime_context().get_assigned_resources()["GPU"], deterministic)


class Trainable(tune.Trainable):
    """One trial. Its configuration: `number`, `run` and `data` (folders), the run's `mark`, `spec` and `settings`.

    Exceptions end it with a result that says the cause, so that Ray's own retries count lost processes only.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self.trial: Trial | None = None
        self.spec: StudySpec | None = None
        self.failure: Exception | None = None
        run = Run(config["run"])
        try:
            self.spec = spec = config["spec"]  # as the driver made it: it was checked there
            run.check_seen(config["mark"])
            self.trial = Trial(
                spec,
                config["settings"],
                load_data(spec, config["data"]),
                seed=derived_seed(spec.seed, config["number"]),
                folder=run.trial(config["number"]),
                device=device(spec.deterministic),
            )
        except Exception as error:
            self.failure = error

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.trial = None
        if torch.cuda.is_initialized():  # the next trial is not to run out of what the last one left
            torch.cuda.empty_cache()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        try:
            if self.failure is not None:
                raise self.failure
            assert self.trial is not None
            report = {**self.trial.report(), "cause": "", "done": self.trial.done, "ended": self.trial.done}
            return {**report, "notes": self.trial.take_notes()}
        except Exception as error:
            steps = self.trial.training.step if self.trial else 0
            return {**failed(error, steps, self.spec), "done": True}

    def get_auto_filled_metrics(self, *given: Any, **named: Any) -> dict[str, Any]:
        """What Ray adds to a report, without the configuration: that came from the driver, and would go back with each
        report, to be written down for a log that is off.
        """
        filled: dict[str, Any] = super().get_auto_filled_metrics(*given, **named)
        filled.pop("config", None)
        return filled

    def cleanup(self) -> None:
        if self.trial is not None:
            self.trial.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: checkpoints are the trial's own."""

    def load_checkpoint(self, checkpoint: dict | None) -> None:
        """Nothing: checkpoints are the trial's own."""
