"""Training: a model, its optimisers, its data and its random state. Knows nothing of Ray.

A run resumed from `state_dict()` equals the uninterrupted one bit for bit, on one device with one number of threads.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from imagesets import Splits
from models.base import Update
from models.distributions import unchecked
from models.schedules import Step
from study.spec.build import build
from study.spec.settings import SETTINGS, is_setting
from study.trial import arithmetic
from study.trial.adam import Adam
from study.trial.compiled import compiled
from study.trial.evaluation import evaluate
from study.trial.images import images_of
from study.trial.seeds import derived_seed
from study.trial.stream import Stream

if TYPE_CHECKING:
    from study.spec import StudySpec


class NonFiniteLossError(ArithmeticError):
    """A loss was infinite or not a number; `step` is the first at which one was, `doubts` what spoke of it before."""

    def __init__(self, loss: str, step: int, doubts: str = ""):
        super().__init__(f"the {loss} was not finite at step {step}" + (f"; before, {doubts}" if doubts else ""))
        self.loss, self.step = loss, step


class Losses(NamedTuple):
    """Training losses of one step, in nats an image."""

    step: int
    values: dict[str, float]  # by what was minimised; the mean where a step did so several times


class Training:
    """One model on its way through the budget.

    Args:
        spec: of the study; what counts here is the model, the likelihood and the budget.
        config: hyperparameters of the model and of the training, as a search space returns them.
        splits: the data.
        seed: of the initial weights, of the order of the images and of all noise.
        device: where model and data are.

    Attributes:
        notes: of what was not compiled, in a line each; who trains, takes them.

    Raises:
        ModelError: a hyperparameter is not known, a value is outside its domain, or a rate is nobody's.
        ValueError: the device does not compute in the specification's precision.
    """

    def __init__(
        self,
        spec: StudySpec,
        config: Mapping[str, Any],
        splits: Splits,
        *,
        seed: int,
        device: torch.device | str = "cpu",
    ):
        self.device = torch.device(device)
        if obstacle := arithmetic.obstacle(spec.precision, self.device):
            raise ValueError(obstacle)
        arithmetic.prepare(spec.deterministic)
        self.precision, self.deterministic, self.compiled = spec.precision, spec.deterministic, spec.compiled
        self.budget, self.batch, self.log_every = spec.steps, spec.budget.batch, spec.budget.log_every
        self.seed, self.step = seed, 0
        settings = {**SETTINGS, **{key: value for key, value in config.items() if is_setting(key)}}
        self.train_images = images_of(splits, "train", spec.preprocessing, spec.pairing, self.device)
        self.valid_images = images_of(splits, "valid", spec.preprocessing, spec.pairing, self.device)
        self.pairing, self.valid_count, self.asked = spec.pairing, spec.validation.images, spec.objectives
        self.valid_samples = spec.validation.samples
        self.random = Stream(seed, self.device)
        with self.random.swapped_in():
            self.model = build(spec, config, self.train_images.image_shape).to(self.device)
            self.model.budget = self.budget
            self.model.fit_statistics(self.train_images)

        settings = {**self.model.own_settings(), **settings}
        self.grad_clip: float | None = settings["grad_clip"]
        self.normalise_gradients: bool = settings["normalise_gradients"]
        self.drop_at = math.ceil(settings["lr_drop"] * self.budget) if settings["lr_drop"] < 1 else None
        self.parameters = {
            name: [p for parameters in groups.values() for p in parameters]
            for name, groups in self.model.parameter_groups().items()
        }
        self.optimisers = {
            name: _adam(name, groups, settings, self.device) for name, groups in self.model.parameter_groups().items()
        }
        self.rates = {name: [group["lr"] for group in adam.param_groups] for name, adam in self.optimisers.items()}
        self._order: tuple[int, Tensor, Tensor | None] | None = None
        self._compiled: list[Update] | None = None  # as soon as they are asked for
        self.notes: list[str] = []

    def advance(self, steps: int) -> list[Losses]:
        """Trains for some steps.

        Returns:
            The losses of every `log_every`th step among them.

        Raises:
            NonFiniteLossError: a loss was not finite. It is looked for at the end only: reading it sooner would make
                the device wait at every step.
        """
        updates = self.model.updates()
        seen = torch.empty(steps, len(updates), device=self.device)
        first = self.step
        how = arithmetic.stepping(self.precision, self.deterministic, self.model, self.device)
        with self.random.swapped_in(), unchecked(), how:
            if self.compiled and steps:
                updates = self._compiled = self._compiled or self._compile(updates)
            for i in range(steps):
                self.set_rates()
                x = self.images_of(self.step)
                for j, update in enumerate(updates):
                    seen[i, j] = self._apply(update.optimiser, update.loss(x, self.step))
                self.step += 1
        return self.logged(first, seen)

    def logged(self, first: int, seen: Tensor) -> list[Losses]:
        """The losses of every `log_every`th step.

        Args:
            first: the step of the first of them.
            seen: of each step, those of its updates, [steps, updates].

        Raises:
            NonFiniteLossError: a loss was not finite.
        """
        updates, values = self.model.updates(), seen.cpu()
        bad = (~values.isfinite()).nonzero()
        if len(bad):
            i, j = bad[0].tolist()
            raise NonFiniteLossError(f"loss of {updates[j].name!r}", first + i)
        logged = range(-first % self.log_every, len(values), self.log_every)
        names = [update.name for update in updates]
        return [Losses(first + i, _by_name(names, values[i].tolist())) for i in logged]

    def _apply(self, name: str, loss: Tensor) -> Tensor:
        self.optimisers[name].zero_grad()
        loss.backward(inputs=self.parameters[name])
        value = loss.detach()
        self.descend(name, value)
        return value

    def descend(self, name: str, value: Tensor) -> None:
        """Steps down the gradients that an optimiser's parameters have.

        Args:
            name: of the optimiser.
            value: of the loss; where it is exactly 0, nothing is done.
        """
        optimiser, parameters = self.optimisers[name], self.parameters[name]
        if self.normalise_gradients:
            for gradient in (parameter.grad for parameter in parameters if parameter.grad is not None):
                gradient /= gradient.norm() + 1e-7  # the margin of Tomczak & Welling's code
        if self.grad_clip is not None:
            nn.utils.clip_grad_norm_(parameters, self.grad_clip)
        if optimiser.defaults["fused"]:  # whose kernels leave out a step without telling the host
            optimiser.found_inf = (value == 0).float()  # type: ignore[attr-defined]
        optimiser.step()

    def _compile(self, updates: Sequence[Update]) -> list[Update]:
        with torch.random.fork_rng(devices=self.random.cuda):
            found, notes = compiled(updates, self.images_of(self.step), self.step, self.parameters)
        self.notes += notes
        return found

    def set_rates(self) -> None:
        """The step sizes of this step: those of the configuration, or a tenth of them after the drop."""
        share = 0.1 if self.drop_at is not None and self.step >= self.drop_at else 1.0
        for name, optimiser in self.optimisers.items():
            for group, rate in zip(optimiser.param_groups, self.rates[name]):
                group["lr"] = rate * share

    def images_of(self, step: Step) -> Tensor:
        """The images of a step, floats in [0, 1], [batches * B, C, H, W].

        Which images, follows from the seed and the step alone: epochs are seeded permutations one after the other, and
        a batch may span the end of one and the start of the next. What is drawn afresh at each step, such as dynamic
        binarisation, comes from torch's generator.
        """
        size = self.batch * self.model.batches
        n = len(self.train_images)
        position = int(step) * size
        parts, missing = [], size
        while missing:
            epoch, offset = divmod(position, n)
            order, partners = self._epoch(epoch)
            index = order[offset : offset + missing]
            parts.append(self.train_images.fresh(index, partners))
            missing -= len(index)
            position += len(index)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor | None]:
        """The order of an epoch's images, and in pairs by target who is paired with whom."""
        if self._order is None or self._order[0] != epoch:
            seed = derived_seed(self.seed, epoch)
            order = torch.randperm(len(self.train_images), generator=torch.Generator().manual_seed(seed))
            partners = self.train_images.partners(derived_seed(seed, 1)) if self.pairing == "targets" else None
            self._order = epoch, order.to(self.device), partners
        return self._order[1:]

    def evaluate(self) -> dict[str, float]:
        """Measures on the validation images, see `study.trial.evaluation.evaluate`."""
        with arithmetic.evaluating(self.deterministic):
            return evaluate(
                self.model, self.valid_images, count=self.valid_count, asked=self.asked, samples=self.valid_samples
            )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "random": self.random.state,
            "threads": torch.get_num_threads(),
        }

    def takes(self, state: Mapping[str, Any]) -> bool:
        """Whether a `state_dict()` has this training's groups of parameters."""
        groups = {name: len(saved["param_groups"]) for name, saved in state["optimisers"].items()}
        return groups == {name: len(optimiser.param_groups) for name, optimiser in self.optimisers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where a `state_dict()` of the same configuration was taken."""
        torch.set_num_threads(state["threads"])
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(copy.deepcopy(state["optimisers"][name]))  # Adam would go on in what it is given
        self.random.state = state["random"]


def _by_name(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for name, value in zip(names, values):
        found.setdefault(name, []).append(value)
    return {name: sum(repeats) / len(repeats) for name, repeats in found.items()}


def _adam(
    name: str, groups: Mapping[str, list[nn.Parameter]], settings: Mapping[str, Any], device: torch.device
) -> Adam:
    rates = [{"params": parameters, "lr": settings.get(rate, settings["lr"])} for rate, parameters in groups.items()]
    betas = settings.get(f"betas_{name}", settings["betas"])
    fused = device.type in ("cpu", "cuda")
    return Adam(rates, betas=tuple(betas), weight_decay=settings["weight_decay"], fused=fused)
