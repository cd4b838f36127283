"""Random streams that do not disturb each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Stream:
    """A random stream of its own: while it is swapped in, torch's global generators go on from where it stands.

    Args:
        seed: where it starts.
        device: whose generator is meant beside the CPU's.

    Attributes:
        cuda: that device, where it has a generator of its own.
    """

    def __init__(self, seed: int, device: torch.device):
        self.cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=self.cuda):
            torch.manual_seed(seed)
            self.state = self._get()

    def _get(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self.cuda)]

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=self.cuda), self.taken_up():
            yield

    @contextmanager
    def taken_up(self) -> Iterator[None]:
        """As `swapped_in`, but that the global generators are left where this stream stands: for many short turns."""
        torch.set_rng_state(self.state[0])
        for device, state in zip(self.cuda, self.state[1:]):
            torch.cuda.set_rng_state(state, device)
        yield
        self.state = self._get()
