"""Trainings of one configuration over several seeds as one program: their weights are stacked, and each loss is mapped
over the stack by torch.vmap, so that a product of matrices is one kernel for all of them.

Each keeps its own images, random stream and Adam, and is afterwards what it would be had it advanced alone, up to
rounding: a product of n matrices at once may add in another order than n products do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.func import functional_call, stack_module_state
from torch.overrides import TorchFunctionMode

from models.base import VAE
from models.distributions import unchecked
from models.schedules import Step
from study.trial import arithmetic
from study.trial.stream import Stream
from study.trial.training import Losses, NonFiniteLossError, Training
from study.trial.trial import cause

DRAWN = {torch.rand, torch.randn}  # of a size
DRAWN_LIKE = {torch.rand_like, torch.randn_like, Tensor.uniform_, Tensor.normal_}  # of a tensor's size
LOSSES, GRADIENTS = 1e-5, 1e-3
"""How far the losses of a step, and by their norm its gradients, may lie from those alone, as a share of these. By
rounding in float32 they do by 1e-7 and 1e-6; with other noise the gradients are others.
"""
COARSE = 100.0  # times as much with products in TF32 or bfloat16


class Fused:
    """Several trainings that advance as one.

    Args:
        trainings: of one configuration, with other seeds, on one device.
    """

    def __init__(self, trainings: Sequence[Training]):
        self.trainings = list(trainings)
        self._first = self.trainings[0]
        self._losses = _Losses(self._first.model)
        names = {id(parameter): name for name, parameter in self._losses.named_parameters()}
        self._names = {  # of each optimiser's parameters, in the stack
            optimiser: [names[id(parameter)] for parameter in parameters]
            for optimiser, parameters in self._first.parameters.items()
        }
        self._draws = _OwnDraws([training.random for training in self.trainings])

    def obstacle(self) -> str:
        """Why they cannot be fused, in a line; empty where they can.

        It is tried: losses and gradients of their next step, together and of each alone, which leaves all as it was.

        Raises:
            Exception: the memory does not suffice.
        """
        before = [training.random.state for training in self.trainings]
        buffers = [(buffer, buffer.clone()) for training in self.trainings for buffer in training.model.buffers()]
        try:
            alone, then = [_tried_alone(training) for training in self.trainings], self._streams()
            for training, state in zip(self.trainings, before):
                training.random.state = state
            together = self._tried()
            if any(not torch.equal(a, b) for a, b in zip(then, self._streams(), strict=True)):
                return "it draws other random numbers than alone"
            return self._difference(alone, together)
        except Exception as error:  # vmap raises whatever it likes of what it cannot do
            why = cause(error)
            if why.startswith("oom"):
                raise
            return why.removeprefix("crash: ")
        finally:
            for training, state in zip(self.trainings, before):
                training.random.state = state
            for buffer, value in buffers:
                buffer.copy_(value)

    def advance(self, steps: int) -> list[list[Losses] | NonFiniteLossError]:
        """Trains all for some steps.

        Returns:
            For each what `Training.advance` would return, or the error that it would raise: one that fails leaves the
            others alone.

        Raises:
            ValueError: they do not stand at one step.
        """
        first = self._first.step
        if any(training.step != first for training in self.trainings):
            raise ValueError(f"they must stand at one step, got {[training.step for training in self.trainings]}")
        updates = self._first.model.updates()
        seen = torch.empty(len(self.trainings), steps, len(updates), device=self._first.device)
        with self._stacked() as stack:
            for i in range(steps):
                for training in self.trainings:
                    training.set_rates()
                x = self._images()
                for j, update in enumerate(updates):
                    values = self._differentiated(stack, update.optimiser, j, x)
                    seen[:, i, j] = values
                    for training, value in zip(self.trainings, values):
                        training.descend(update.optimiser, value)
                for training in self.trainings:
                    training.step += 1
        return [_logged(training, first, of_one) for training, of_one in zip(self.trainings, seen)]

    def _images(self) -> Tensor:
        """Each training's images of the step, [n, batches * B, C, H, W]."""
        parts = []
        for training in self.trainings:
            with training.random.taken_up():
                parts.append(training.images_of(training.step))
        return torch.stack(parts)

    def _differentiated(self, stack: dict[str, Tensor], optimiser: str, j: int, x: Tensor) -> Tensor:
        """The j-th update's losses, [n]; their gradients are then those of each training's own parameters."""

        def of_one(state: dict[str, Tensor], x: Tensor, place: Tensor) -> Tensor:
            self._draws.place = place
            loss: Tensor = functional_call(self._losses, state, (j, x, self._first.step))
            return loss

        with self._draws:
            losses = torch.vmap(of_one)(stack, x, torch.arange(len(x), device=x.device))
        names = self._names[optimiser]
        losses.sum().backward(inputs=[stack[name] for name in names])  # no loss depends on another's weights
        for place, training in enumerate(self.trainings):
            for name, parameter in zip(names, training.parameters[optimiser], strict=True):
                gradient = stack[name].grad
                parameter.grad = None if gradient is None else gradient[place]
        for name in names:
            stack[name].grad = None
        return losses.detach()

    @contextmanager
    def _stacked(self) -> Iterator[dict[str, Tensor]]:
        """Weights and buffers by name, [n, ...], of which those of each model are views meanwhile: its own Adam moves
        them in place.
        """
        first = self._first
        how = arithmetic.stepping(first.precision, first.deterministic, first.model, first.device)
        parameters, buffers = stack_module_state([_Losses(training.model) for training in self.trainings])
        stack = {**parameters, **buffers}
        held = [list(_tensors(training.model)) for training in self.trainings]
        for place, tensors in enumerate(held):
            for tensor, whole in zip(tensors, stack.values(), strict=True):
                tensor.data = whole.detach()[place]
        try:
            with torch.random.fork_rng(devices=first.random.cuda), unchecked(), how:
                yield stack
        finally:
            for tensor in (tensor for tensors in held for tensor in tensors):
                tensor.data, tensor.grad = tensor.data.clone(), None  # or a checkpoint would hold the whole stack

    def _tried(self) -> list[list[tuple[Tensor, list[Tensor | None]]]]:
        """Of each training, of each update, the loss and the gradients at the next step."""
        found: list[list[tuple[Tensor, list[Tensor | None]]]] = [[] for _ in self.trainings]
        with self._stacked() as stack:
            x = self._images()
            for j, update in enumerate(self._first.model.updates()):
                values = self._differentiated(stack, update.optimiser, j, x)
                for of_one, training, value in zip(found, self.trainings, values):
                    of_one.append((value, [p.grad for p in training.parameters[update.optimiser]]))
        return found

    def _difference(self, alone: Any, together: Any) -> str:
        """How the losses and gradients of a step differ, in a line; empty where it is by rounding."""
        names = [update.name for update in self._first.model.updates()]
        times = COARSE if self._first.precision != "full" else 1.0
        for ours, theirs in zip(together, alone, strict=True):
            for name, (value, gradients), (expected, exact) in zip(names, ours, theirs, strict=True):
                if not torch.allclose(value, expected, rtol=LOSSES * times, equal_nan=True):
                    return f"the loss of {name!r} is {value.item():g}, and {expected.item():g} alone"
                a, b = _flat(gradients), _flat(exact)
                if a.shape != b.shape or (a - b).norm() > GRADIENTS * times * b.norm():
                    return f"the gradient of {name!r} is another one than alone"
        return ""

    def _streams(self) -> list[Tensor]:
        return [state for training in self.trainings for state in training.random.state]


class _Losses(nn.Module):
    """A model's losses as one that `functional_call` can call with other weights."""

    def __init__(self, model: VAE):
        super().__init__()
        self.model = model

    def forward(self, j: int, x: Tensor, step: Step) -> Tensor:
        """The j-th update's."""
        return self.model.updates()[j].loss(x, step)


class _OwnDraws(TorchFunctionMode):
    """Within, what a mapped function draws is drawn for each place of the stack from a stream of its own.

    Those that depend on a size, and on no tensor's numbers. At all others vmap raises, which allows no random function.
    """

    def __init__(self, streams: Sequence[Stream]):
        super().__init__()
        self.streams = streams
        self.place: Tensor  # in the stack, as the mapped function sees it

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in DRAWN | DRAWN_LIKE or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if func in DRAWN:
            return self._each(lambda: func(*args, **kwargs))
        like, *rest = args
        shape, dtype, device = like.shape, like.dtype, like.device
        found = self._each(lambda: func(torch.empty(shape, dtype=dtype, device=device), *rest, **kwargs))
        if func in (Tensor.uniform_, Tensor.normal_):
            like.fill_(torch.nan)  # a tensor of no place: who reads it, and not what is returned, shall not go on
        return found

    def _each(self, draw: Callable[[], Tensor]) -> Tensor:
        drawn = []
        with temporarily_clear_interpreter_stack():  # outside of vmap
            for stream in self.streams:
                with stream.taken_up():
                    drawn.append(draw())
            stack = torch.stack(drawn)
        return stack[self.place]


def _tensors(model: VAE) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _tried_alone(training: Training) -> list[tuple[Tensor, list[Tensor | None]]]:
    """Of each update, the loss and the gradients at the next step."""
    how = arithmetic.stepping(training.precision, training.deterministic, training.model, training.device)
    found: list[tuple[Tensor, list[Tensor | None]]] = []
    with training.random.swapped_in(), unchecked(), how:
        x = training.images_of(training.step)
        for update in training.model.updates():
            loss = update.loss(x, training.step)
            gradients = torch.autograd.grad(loss, training.parameters[update.optimiser], allow_unused=True)
            found.append((loss.detach(), list(gradients)))
    return found


def _flat(gradients: Sequence[Tensor | None]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


def _logged(training: Training, first: int, seen: Tensor) -> list[Losses] | NonFiniteLossError:
    try:
        return training.logged(first, seen)
    except NonFiniteLossError as error:
        return error
