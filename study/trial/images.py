"""From stored bytes to what a model sees: scaling, binarisation, dequantisation, and the pairing of two streams.

Draws that must not change from one evaluation to the next (static binarisation, the validation and test images of a
dynamic one, their dequantisation) are functions of the image's number and the pixel's, see `fixed_uniform`: the same on
every device, in any order, and nothing of them is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from imagesets import PackedImages, Split, Splits
from models.likelihoods import Pixels
from study.spec.preprocessing import GREY, Pairing, Preprocessing

Part = Literal["train", "valid", "test"]

CHUNK = 500  # images that are made into floats at once when a whole split is read


class Images:
    """A split's images on a device, handed out as floats in [0, 1].

    Args:
        split: as `imagesets.load` gives it.
        preprocessing: what becomes of its bytes.
        part: which split of the data set it is; the fixed draws of two differ.
        pairing: in a data set of pairs, what the second stream shows: the image of the same index, or one of the same
            label; which one, is fixed here, and may be said anew at each call.
        device: where the bytes are kept, and the floats made.

    Attributes:
        factors: of each image, [N, K], or None; of a pair, what is shared, then what is the first image's own, then the
            second one's, whoever is paired with whom.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing = GREY,
        *,
        part: Part = "valid",
        pairing: Pairing = "index",
        device: torch.device | str = "cpu",
    ):
        self.preprocessing, self.device = preprocessing, torch.device(device)
        self.image_shape, self.labels, self.factors = tuple(split.images.shape[1:]), split.labels, split.factors
        self._seed = Splits._fields.index(part)
        self._rows: Tensor | None = None
        if isinstance(split.images, PackedImages):
            index = split.images.index
            pixels = torch.from_numpy(split.images.rows)
            self._rows = None if index is None else torch.from_numpy(index).to(self.device)
            bits = torch.arange(256)[:, None] >> torch.arange(7, -1, -1) & 1
            self._bits: Tensor | None = bits.float().to(self.device)  # of each byte, the first pixel first
        else:
            pixels, self._bits = torch.from_numpy(split.images), None
        self._count = len(split.images)
        self._pixels = pixels.to(self.device)
        self._partners: Tensor | None = None
        if pairing == "targets":
            self._partners = self.partners(self._seed)
            if split.factors is not None:  # the last is the second image's own
                own = split.factors[self._partners.cpu().numpy(), -1:]
                self.factors = np.concatenate([split.factors[:, :-1], own], axis=1)

    def __len__(self) -> int:
        return self._count

    @property
    def pixels(self) -> Pixels:
        """What the pixels that a model sees are: 0 and 1, any of 256 grey levels, or dequantised."""
        if self.preprocessing.dequantise:
            return "dequantised"
        if self.preprocessing.binarise or self._bits is not None:
            return "binary"
        binary = all(bool(((part == 0) | (part == 255)).all()) for part in self._pixels.split(CHUNK))
        return "binary" if binary else "grey"

    def partners(self, seed: int) -> Tensor:
        """For each image another of the same label, drawn by the seed; every image is somebody's partner once, [N]."""
        assert self.labels is not None
        labels = torch.from_numpy(self.labels)
        shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        found = torch.empty_like(shuffled)
        found[labels.argsort(stable=True)] = shuffled[labels[shuffled].argsort(stable=True)]
        return found.to(self.device)

    def fixed(self, index: Tensor, partners: Tensor | None = None) -> Tensor:
        """Images with the draws that never change, [B, C, H, W]: for evaluation.

        Args:
            index: which images, [B].
            partners: in a data set of pairs, which images the second stream shows, [N]; None takes the fixed ones.
        """
        p = self.preprocessing
        partners = self._partners if partners is None else partners
        if p.binarise == "threshold":
            return (self._bytes(index, partners) > 255 * p.threshold).float()
        if p.dequantise:
            return self._bytes(index, partners).float().add_(self._noise(index, partners)).div_(256)
        if p.binarise and self._bits is None:
            return (self._noise(index, partners) < self._bytes(index, partners).float().div_(255)).float()
        return self._grey(index, partners)

    def fresh(self, index: Tensor, partners: Tensor | None = None) -> Tensor:
        """Images with new draws from torch's generator, where the preprocessing has such: for a training step.

        Arguments as for `fixed`.
        """
        p = self.preprocessing
        partners = self._partners if partners is None else partners
        if p.binarise == "dynamic" and self._bits is None:
            pixels = self._bytes(index, partners)
            return (torch.empty_like(pixels).random_(0, 255) < pixels).float()  # of 255 values, v lie below v
        if p.dequantise:
            pixels = self._bytes(index, partners).float()
            return pixels.add_(torch.rand_like(pixels)).div_(256)
        return self.fixed(index, partners)

    def batches(self, size: int = CHUNK, first: int | None = None, among: Tensor | None = None) -> Iterator[Tensor]:
        """All images, `size` at a time, with the draws that never change.

        Args:
            size: how many at a time.
            first: only so many, from the first on.
            among: only those of these numbers, [N].
        """
        chosen = torch.arange(len(self)) if among is None else among
        for index in chosen[:first].split(size):
            yield self.fixed(index.to(self.device))

    def __iter__(self) -> Iterator[Tensor]:
        return self.batches()

    def bytes(self, index: Tensor) -> Tensor:
        """Images as they are stored, whatever the preprocessing: uint8, [B, C, H, W]."""
        return self._bytes(index, self._partners)

    def _bytes(self, index: Tensor, partners: Tensor | None) -> Tensor:
        if self._bits is not None:
            return self._grey(index, partners).mul_(255).to(torch.uint8)
        if partners is None:
            return self._pixels.index_select(0, index)  # which copies rows; [index] takes 18 times as long, on a CPU
        return torch.stack([self._pixels[index, 0], self._pixels[partners[index], 1]], dim=1)

    def _grey(self, index: Tensor, partners: Tensor | None) -> Tensor:
        if self._bits is None:
            return self._bytes(index, partners).float().div_(255)
        rows = self._pixels.index_select(0, index if self._rows is None else self._rows[index])
        bits = torch.nn.functional.embedding(rows.int(), self._bits)  # [B, bytes, 8]
        return bits.flatten(1)[:, : math.prod(self.image_shape)].reshape(-1, *self.image_shape)

    def _noise(self, index: Tensor, partners: Tensor | None) -> Tensor:
        if len(self.image_shape) == 3:
            return fixed_uniform(index, math.prod(self.image_shape), self._seed).reshape(-1, *self.image_shape)
        second = index if partners is None else partners[index]
        pixels = math.prod(self.image_shape[1:])
        streams = [fixed_uniform(2 * index, pixels, self._seed), fixed_uniform(2 * second + 1, pixels, self._seed)]
        return torch.stack(streams, dim=1).reshape(-1, *self.image_shape)


def images_of(
    splits: Splits, part: Part, preprocessing: Preprocessing, pairing: Pairing, device: torch.device | str = "cpu"
) -> Images:
    """The images of one split, which is named."""
    return Images(getattr(splits, part), preprocessing, part=part, pairing=pairing, device=device)


def fixed_uniform(index: Tensor, pixels: int, seed: int) -> Tensor:
    """Uniform numbers in [0, 1) that follow from the index, the pixel and the seed alone.

    A counter goes through an integer hash twice, the image's number first (the mixing steps are those of Ellis' search
    for 32-bit hashes of low bias, "lowbias32"). Integers only: the same on every device.

    Args:
        index: of images, int64, [B].
        pixels: how many numbers for each.
        seed: of another set of numbers.

    Returns:
        Multiples of 2^-24, [B, pixels].
    """
    image = _mixed((index + seed * 0x9E3779B9).to(torch.int32))
    counter = torch.arange(pixels, dtype=torch.int32, device=index.device)
    return (_mixed(image[:, None] + counter) >> 8 & 0xFFFFFF).float().mul_(2.0**-24)


def _mixed(x: Tensor) -> Tensor:
    """A bijection of int32, in place, in which every bit of the input changes every bit of the output half the time."""
    x ^= x >> 16 & 0xFFFF
    x *= 0x7FEB352D
    x ^= x >> 15 & 0x1FFFF
    x *= 0x846CA68B - 2**32
    x ^= x >> 16 & 0xFFFF
    return x
