"""What becomes of a pixel's byte before a model sees it, and how two streams are paired: keys of a specification.

It belongs to the preset and is recorded with every result: an ELBO of binarised images, of grey ones and a density of
dequantised ones are three different quantities. The logit transform is part of the likelihood, see
`models.likelihoods.LogitLikelihood`: a model's images lie in [0, 1] always.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Pairing = Literal["index", "targets"]


class Preprocessing(BaseModel):
    """What becomes of a pixel's byte v.

    Args:
        binarise: None leaves grey levels, v / 255; "static" makes a pixel white with probability v / 255, once and for
            all; "dynamic" draws so afresh at each training step, validation and test images once; "threshold" makes it
            white where v / 255 exceeds `threshold`.
        threshold: for binarise: threshold.
        dequantise: (v + u) / 256 with u uniform in [0, 1), afresh at each training step, validation and test images
            once: a density over such images bounds the log-probability of the bytes.
        logit: models a density over logit(l + (1 - 2 l) x) for this l; log-likelihoods are those of x all the same.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    binarise: Literal["static", "dynamic", "threshold"] | None = None
    threshold: float = Field(default=0.5, ge=0, lt=1)
    dequantise: bool = False
    logit: float | None = Field(default=None, gt=0, lt=0.5)

    @model_validator(mode="after")
    def _compatible(self) -> Preprocessing:
        if self.binarise and self.dequantise:
            raise ValueError(f"takes either binarise or dequantise, got both (binarise: {self.binarise})")
        if self.logit is not None and not self.dequantise:
            raise ValueError(
                f"logit: {self.logit} needs dequantise: true; the logits of 256 grey levels have no density"
            )
        if self.binarise != "threshold" and self.threshold != 0.5:
            raise ValueError(f"threshold: {self.threshold} needs binarise: threshold")
        return self

    def __str__(self) -> str:
        """In a table: "grey", "dynamic binary", "binary > 0.5", "dequantised", "dequantised, logit 0.05"."""
        if self.binarise == "threshold":
            return f"binary > {self.threshold:g}"
        if self.binarise:
            return f"{self.binarise} binary"
        if self.dequantise:
            return "dequantised" if self.logit is None else f"dequantised, logit {self.logit:g}"
        return "grey"

    def of(self, image_shape: Sequence[int]) -> str:
        """The same of images of that shape: what is "grey" is "colour" where there are three channels."""
        return "colour" if str(self) == "grey" and image_shape[-3] == 3 else str(self)


GREY = Preprocessing()
