"""Training steps that torch compiles: each loss, with its gradient, as kernels made for this model; `compiled: true`.

Compiled are the losses alone, whose numbers agree with the others' but for rounding. Noise comes from torch's own
generators in the same order, and evaluations are of the model as it is written. On a GPU, kernels are captured as CUDA
graphs: a loss is one launch, and its gradient another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.base import Loss, Update
from models.schedules import Step

ON_CPUS: dict[str, Any] = {
    "guard_filter_fn": torch.compiler.skip_guard_on_globals_unsafe,  # as which KL is whose, which torch notes in one
    "fallback_random": True,  # a generator of the kernels' own would draw other noise
    "compile_threads": 1,  # a trial keeps to its own CPUs in compiling, too
}
ON_GPUS = {**ON_CPUS, "triton.cudagraphs": True}


def compiled(
    updates: Sequence[Update], x: Tensor, step: Step, parameters: Mapping[str, Sequence[nn.Parameter]]
) -> tuple[list[Update], list[str]]:
    """The updates of a step with compiled losses.

    Each is tried, with its gradient, because torch compiles what it meets; this changes no weight, but draws noise.
    What a process has compiled before is forgotten.

    Args:
        updates: of the model.
        x: the images of a step, [batches * B, C, H, W].
        step: which it is.
        parameters: of each optimiser.

    Returns:
        The updates, one whose loss torch does not compile as it was given; and of such why, in a line each.
    """
    torch.compiler.reset()  # of a function torch keeps eight versions, and a process may make many trainings
    found, notes = dict[Update, Update](), list[str]()
    for update in dict.fromkeys(updates):
        update.loss(x, step)  # torch notes which KL is whose, the search for which breaks what is compiled into pieces
        found[update] = update._replace(loss=_compiled(update.loss, x.device))
        try:
            loss = found[update].loss(x, step)
            torch.autograd.grad(loss, list(parameters[update.optimiser]), allow_unused=True)
        except Exception as error:  # of many kinds; what the loss itself raises, it has raised above
            found[update] = update
            notes.append(f"the loss of {update.name!r} is not compiled: {_reason(error)}")
    return [found[update] for update in updates], notes


def _compiled(loss: Loss, device: torch.device) -> Loss:
    captured = device.type == "cuda"
    made = torch.compile(loss, dynamic=False, options={**(ON_GPUS if captured else ON_CPUS)})

    def at(x: Tensor, step: Step) -> Tensor:
        if captured:
            torch.compiler.cudagraph_mark_step_begin()  # what the last one left in the graphs' memory is read no more
        return made(x, torch.full((), int(step), device=device))  # as a number, it would be part of the kernels

    return at


def _reason(error: Exception) -> str:
    cause = getattr(error, "inner_exception", error)  # which torch has wrapped
    return f"{type(cause).__name__}: {(str(cause).strip().splitlines() or [''])[0]}"
