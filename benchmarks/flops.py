"""Floating-point operations of a training step and of an evaluation of each model, all with the same networks.

    python -m benchmarks.flops

Two layers of 500 to each side of a code of 50, a batch of 128 images of 28x28; each model's other settings are its
defaults. Counted as torch does, of tensors that have shapes and no numbers: two for each multiplication and addition in
products of matrices and in convolutions, forwards and backwards. What goes element by element is not counted, nor are
the factors of `vlae`'s matrices of 50x50 and the systems that are solved with them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

import models
from benchmarks.markdown import table

BATCH, SHAPE = 128, (1, 28, 28)
NETWORKS: dict[str, Any] = {"hidden": (500, 500), "latent": 50}
VARIED: dict[str, list[dict[str, Any]]] = {"vlae": [{"updates": T} for T in (1, 2, 4)]}


class Counted(NamedTuple):
    """Floating-point operations of one batch."""

    step: int  # of a training: all of its updates, forwards and backwards
    evaluation: int  # the exact ELBO at one draw, and the codes


def count(name: str, **settings: Any) -> Counted:
    """Of the model of that name, with settings beside those of the networks."""
    shape = (2, *SHAPE) if models.takes_pairs(name) else SHAPE
    with torch.device("meta"):
        model = models.build(name, shape, **NETWORKS, **settings)
        x = torch.empty(BATCH * model.batches, *shape)
        with FlopCounterMode(display=False) as step:
            for update in model.updates():
                groups = model.parameter_groups()[update.optimiser].values()
                update.loss(x, 0).backward(inputs=[parameter for group in groups for parameter in group])
        with FlopCounterMode(display=False) as evaluation, torch.no_grad():
            model.look(x[:BATCH])
    return Counted(step.get_total_flops(), evaluation.get_total_flops())


def main() -> None:
    vae, lines = count("vae"), []
    for name in models.names():
        for settings in VARIED.get(name, [{}]):
            cells = [", ".join([name, *(f"{key} {value}" for key, value in settings.items())])]
            for flops, of_vae in zip(count(name, **settings), vae):
                cells += [f"{flops / 1e9:.2f}", f"{flops / of_vae:.1f}"]
            lines.append(cells)
    print(table(["model", "a step, GFLOP", "times vae", "an evaluation, GFLOP", "times vae"], lines))


if __name__ == "__main__":
    main()
