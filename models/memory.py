"""How many numbers are held at once where there is no gradient: what goes over images or draws does so in pieces.

A piece is measured by the numbers in its largest tensor, be it of images, of the decoder's output or of Jacobians; a
likelihood holds some ten tensors of that size at a time. What is drawn does not depend on the pieces.
"""

AT_ONCE = 2**20  # numbers: 4 MiB in single precision, which a cache still holds; on a processor more at once is slower


def at_once(count: int, numbers: int) -> int:
    """How many of `count` things, at least one, are taken at once if each has so many numbers."""
    return max(1, min(count, AT_ONCE // numbers))
