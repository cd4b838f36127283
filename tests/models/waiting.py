"""Which operations were called, and whether the host would wait for the device in one of them."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique_dim", "_unique2", "equal"}
"""Operations whose result the host reads; what Tensor.item, bool, float and int are made of."""


class Kernels(TorchDispatchMode):
    """The names of all operations within."""

    def __init__(self):
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.names.add(name)
        if name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        ):
            self.names.add("nonzero")  # which happens within
        return func(*args, **(kwargs or {}))

    @property
    def waiting(self) -> set[str]:
        """Those that the host would wait for."""
        return self.names & WAITING
