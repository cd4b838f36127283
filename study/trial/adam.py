"""Adam without torch's compiler."""

from __future__ import annotations

import inspect

import torch

_Adam = torch.optim.Adam


class Adam(_Adam):
    """torch's own, bare of what keeps its compiler away from it, or has it stop there: called for the first time, that
    imports `torch._dynamo`, and sympy with it, 60 MiB and a second of CPU a process. Nothing here compiles these.
    """

    add_param_group = inspect.unwrap(_Adam.add_param_group)
    load_state_dict = inspect.unwrap(_Adam.load_state_dict)
    state_dict = inspect.unwrap(_Adam.state_dict)
    zero_grad = inspect.unwrap(_Adam.zero_grad)
    step = torch.no_grad()(inspect.unwrap(_Adam.step))
