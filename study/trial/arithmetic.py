"""The arithmetic of a training: how precise its products are, and whether its kernels are deterministic.

Only the training step is ever computed in less than float32. Evaluation is not: speed is never bought with a number.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from study.spec.specification import Precision

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # without one that is fixed, cuBLAS does not add in the same order always
AMPERE = (8, 0)  # compute capability of the first cards that have TF32 and bfloat16


def prepare(deterministic: bool) -> None:
    """What must be said before CUDA starts."""
    if deterministic:
        os.environ.setdefault(WORKSPACE, ":4096:8")


def obstacle(precision: Precision, device: torch.device) -> str:
    """Why a device does not compute in a precision, in a line; empty where it does."""
    if precision == "full" or (precision == "bf16" and device.type != "cuda"):
        return ""
    if device.type == "cuda":
        found = torch.cuda.get_device_capability(device)
        if found >= AMPERE:
            return ""
        card = f"{torch.cuda.get_device_name(device)}, of compute capability {found[0]}.{found[1]}, has none"
        return f"precision: {precision} needs a GPU of compute capability 8.0 or newer; {card}; take full"
    return f"precision: {precision} is of GPUs, and this training is on the {device.type.upper()}; take full, or bf16"


@contextmanager
def stepping(precision: Precision, deterministic: bool, model: nn.Module, device: torch.device) -> Iterator[None]:
    """The arithmetic of training steps; afterwards all is as before."""
    with _flags("tf32" if precision == "tf32" else "ieee", deterministic):
        if precision != "bf16":
            yield
            return
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)]
        for layer in layers:
            layer.forward = _in_bfloat16(layer.forward, device.type)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for layer in layers:
                del layer.forward  # the instance's, behind which is the class's


@contextmanager
def evaluating(deterministic: bool) -> Iterator[None]:
    """The arithmetic of evaluations: float32. Afterwards all is as before."""
    with _flags("ieee", deterministic):
        yield


def _in_bfloat16(forward: Callable[..., Any], device_type: str) -> Callable[..., Any]:
    """A layer's product in bfloat16, whose result is float32 again.

    Autocast around the whole loss would hand bfloat16 on to densities and their sums over pixels, of which 7 bits leave
    nothing, and to factorisations, which have no bfloat16.
    """

    @functools.wraps(forward)
    def product(*given: Any, **named: Any) -> Any:
        with torch.autocast(device_type, torch.bfloat16):
            found = forward(*given, **named)
        return found.float() if isinstance(found, Tensor) and found.dtype == torch.bfloat16 else found

    return product


@contextmanager
def _flags(products: Literal["ieee", "tf32"], deterministic: bool) -> Iterator[None]:
    """Left alone, torch takes TF32 for convolutions and not for matrix products."""
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = matmul.fp32_precision, conv.fp32_precision
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    warned_only = torch.is_deterministic_algorithms_warn_only_enabled()
    matmul.fp32_precision = conv.fp32_precision = products
    if deterministic:  # to say no more than what holds already, torch imports its compiler: 60 MiB, and a second
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        matmul.fp32_precision, conv.fp32_precision = before
        if deterministic:
            torch.use_deterministic_algorithms(was_deterministic, warn_only=warned_only)
