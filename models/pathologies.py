"""What a training can come to nothing by, and which number of a report shows it.

    collapsed   the code says nothing of an image: I(x; z) <= E KL(q(z|x) || p(z)), which is less than one bit, or no
                posterior mean varies over the data (Burda et al., 2016)
    saturated   the discriminator tells all of its draws beyond doubt, and has no gradient left (`models.implicit`)
    dead        no gate of a spike and slab opens for any image (`models.vsc`)

A model's `VAE.symptoms` has those that it can have, its own ones too. Who trains it, judges its reports by them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

LEAST_KL = math.log(2)  # nats, one bit: with less, no code tells one half of the images from the other
LEAST_UNITS = 1  # active units


class Symptom(NamedTuple):
    """A number of a report that shows a pathology beyond a bound."""

    pathology: str  # "collapsed", ...: an attribute of the trial, and what a preset names
    measure: str  # of each report, the model's own ones too
    bound: float  # still sound
    worst: float  # on the other side of the bound: where the number cannot get worse, or where all is lost

    def excess(self, value: float) -> float:
        """How far a value is beyond the bound, in [-1, 1]: 1 at the worst, 0 at the bound, less where it is sound."""
        return min(1.0, max(-1.0, (value - self.bound) / (self.worst - self.bound)))

    def evidence(self, value: float) -> str:
        """A value that is beyond the bound, in words."""
        side = "below" if self.worst < self.bound else "above"
        digits = next((n for n in range(4, 17) if f"{value:.{n}g}" != f"{self.bound:.{n}g}"), 17)
        return f"{self.measure} {value:.{digits}g} {side} {self.bound:.{digits}g}"
