"""The Non-Synergistic VAE, Barrientos & Sootla (NeurIPS 2018, LatinX workshop).

    loss = -log p(x|z) + KL(q(z|x) || p(z)) + alpha (KL(q(z|x) || p(z)) - max_A KL(q(z_A|x) || p(z_A)))

The last bracket is the synergy: what all latents tell of x beyond the best subset A of them. For a Gaussian q with
independent coordinates and p = N(0, I) the KL is the sum of the latents' k_j >= 0, and the bracket that of the latents
outside A, so that

    loss = -log p(x|z) + sum_j k_j + alpha sum_{j not in A} k_j,

a lower bound on log p(x) with its sign turned, and a beta-VAE with beta = 1 for the latents in A and 1 + alpha for the
others. The best subset of all would be the whole. A is chosen greedily with a discount omega instead: a latent joins
only where omega times the sum with it exceeds the sum without. By default k_j is the mean over the batch, as in the
authors' code (Gonzalob90/non-synergistic-vae, release of January 2020).

Departures: A is grown in the order of k_j, where theirs depends on how the latents are numbered (`legacy_order`). One
update a step, where they have two, the second one through activations of weights that the first has overwritten;
`two_step` and `two_step_sample` are sound forms of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Annotated, Any, Literal, Unpack

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from models.base import VAE, Shared, Update, assemble
from models.distributions import closed_kl, coordinates
from models.domains import Count, Fraction, NotNegative, Shape
from models.gaussian import GaussianPosterior, StandardPrior
from models.measures import Look, Measure
from models.schedules import Step, linear

Policy = Literal["sorted", "legacy_order", "per_sample", "top_m"]
Discount = Annotated[float, Field(gt=0, le=1)]
Updating = Literal["joint", "two_step", "two_step_sample"]
Activation = Literal["none", "relu"]

SYNERGY = Measure("synergy", "KL of the latents that are not selected", "nats", "less", "estimate")


# Who belongs to A. Nothing here waits for the device.


def sorted_best(k: Tensor, omega: float) -> Tensor:
    """The best latents, from the largest KL on while omega K_{m+1} > K_m, K_m being the sum of the m largest.

    Args:
        k: KLs of the latents, [..., Z], none negative.
        omega: the discount; with 1, all latents with a KL above 0.

    Returns:
        Members of A, bool, [..., Z].
    """
    if omega == 1:  # where sums would round small ones away
        return k > 0
    in_order, order = k.sort(dim=-1, descending=True, stable=True)
    total = in_order.cumsum(-1)
    before = torch.cat([torch.zeros_like(total[..., :1]), total[..., :-1]], dim=-1)
    joins = (omega * total > before).cumprod(-1).bool()
    return torch.zeros_like(joins).scatter(-1, order, joins)


def legacy_best(k: Tensor, omega: float) -> Tensor:
    """The best latents as the authors' code finds them, which depends on the latents' order.

    Z times it passes through the latents that are not in A, in their order, and keeps the last one that was accepted:
    the first whose sum with A, times omega, exceeds that of A, then whichever exceeds in the same way the sum of the
    one accepted before it. In the first pass, while A is empty, omega is 1.

    Args:
        k: KLs of the latents, [..., Z], none negative.
        omega: the discount.

    Returns:
        Members of A, bool, [..., Z].
    """
    if omega == 1:
        return k > 0
    size = k.shape[-1]
    latents = torch.arange(size, device=k.device)
    best, total = (latents == k.argmax(-1, keepdim=True)) & (k > 0), k.amax(-1, keepdim=True)
    later = torch.ones(size, size, dtype=torch.bool, device=k.device).triu(1)
    start = torch.full((*k.shape[:-1], 1), size, device=k.device)
    for _ in range(size - 1):
        value = total + k
        free = ~best
        # Who is accepted after whom, [..., Z + 1, Z]; the last row is the pass's start, whose sum is A's own.
        after = later & (omega * value[..., None, :] > value[..., :, None])
        edges = torch.cat([after, (omega * value > total)[..., None, :]], dim=-2) & free[..., None, :]
        accepted = latents == _last(edges, start)
        best, total = best | accepted, total + (k * accepted).sum(-1, keepdim=True)
    return best


def _last(edges: Tensor, start: Tensor) -> Tensor:
    """Where one comes to in going, from a start, each time to the first that there is an edge to.

    Args:
        edges: from each of Z + 1 to each of the first Z, [..., Z + 1, Z].
        start: [..., 1].

    Returns:
        The place from which no edge leads on, [..., 1].
    """
    size = edges.shape[-1]
    places = torch.arange(size + 1, device=edges.device)
    following = torch.where(edges.any(-1), edges.byte().argmax(-1), places)  # the first of the ones
    for _ in range(size.bit_length()):  # each time twice as far
        following = following.gather(-1, following)
    return following.gather(-1, start)


def largest(k: Tensor, m: int) -> Tensor:
    """The m largest of k, [..., Z], as a mask; all of them where there are no more."""
    ranks = k.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return ranks < m


def chosen(k_BZ: Tensor, policy: Policy, omega: float, top_m: int) -> Tensor:
    """Members of A, bool, [B, Z]; the same for all images but with `per_sample`.

    Args:
        k_BZ: KL of each image's latents.
        policy: how they are chosen.
        omega: the discount, of all policies but top_m.
        top_m: how many, of top_m.
    """
    if policy == "per_sample":
        return sorted_best(k_BZ, omega)
    k = k_BZ.mean(0)
    if policy == "top_m":
        best = largest(k, top_m)
    else:
        best = sorted_best(k, omega) if policy == "sorted" else legacy_best(k, omega)
    return best.expand_as(k_BZ)


def kl_of_each(q: Distribution, p: Distribution) -> Tensor:
    """KL(q(z_j|x) || p(z_j)) of each latent, [B, Z], in nats."""
    each_q, each_p = coordinates(q), coordinates(p)
    assert each_q is not None
    assert each_p is not None
    k = closed_kl(each_q, each_p)
    assert k is not None
    return k.clamp(min=0)  # which rounding may make it less than


class NonSynergisticVAE(VAE):
    """A VAE whose loss weighs the KL of the latents outside the best subset more.

    Args:
        *parts: see `VAE`.
        alpha: weight of the synergy.
        alpha_warmup: share of the training over which that weight rises from 0.
        choose: the members of A, from the KLs of the latents, [B, Z].
        update: how the two terms are minimised.
    """

    def __init__(
        self,
        *parts: Any,
        alpha: float,
        alpha_warmup: float,
        choose: Callable[[Tensor], Tensor],
        update: Updating,
        **more: Any,
    ):
        super().__init__(*parts, **more)
        self.alpha, self.choose, self.update = linear(0.0, alpha, alpha_warmup), choose, update
        self.penalised = alpha > 0
        self.batches = 2 if update == "two_step_sample" else 1

    def selected(self, q: Distribution) -> tuple[Tensor, Tensor]:
        """KL of each latent, and who is in A, each [B, Z]."""
        k = kl_of_each(q, self.prior())
        return k, self.choose(k.detach())

    def synergy(self, q: Distribution) -> Tensor:
        """KL of the latents outside A, [B], in nats; who is in A has no gradient."""
        k, best = self.selected(q)
        return (k * ~best).sum(-1)

    def loss(self, x: Tensor, step: Step) -> Tensor:
        """beta(step) KL - log p(x|z) + alpha(step) synergy, the mean over the batch, in nats."""
        q = self.posterior(x, step)
        log_lik, kl = self._elbo(x, q)
        elbo = (self.beta(step, self.budget) * kl - log_lik).mean()
        return elbo + (self.alpha(step, self.budget) * self.synergy(q)).mean() if self.penalised else elbo

    def elbo_loss(self, x: Tensor, step: Step) -> Tensor:
        """The first term alone, of the first batch."""
        return super().loss(x.chunk(self.batches)[0], step)

    def synergy_loss(self, x: Tensor, step: Step) -> Tensor:
        """The second term alone, of the last batch, the posterior found anew; it has no gradient in the decoder."""
        q = self.posterior(x.chunk(self.batches)[-1], step)
        return (self.alpha(step, self.budget) * self.synergy(q)).mean()

    def updates(self) -> list[Update]:
        """One update, or two, of which the second is left out where it has no weight."""
        if self.update == "joint":
            return [Update("model", "elbo and synergy", self.loss)]
        first, second = Update("model", "elbo", self.elbo_loss), Update("model", "synergy", self.synergy_loss)
        return [first, second] if self.penalised else [first]

    def measures(self) -> dict[Measure, Callable[[Tensor, Look], Tensor]]:
        """The synergy, and how often each latent is selected into A: `selected_0` and so on."""
        selected = lru_cache(maxsize=1)(self.selected)  # once a batch, for all of them

        def synergy(x: Tensor, look: Look) -> Tensor:
            k, best = selected(look.posterior)
            return (k * ~best).sum(-1)

        def share(x: Tensor, look: Look, j: int) -> Tensor:
            return selected(look.posterior)[1][:, j].double()

        found: dict[Measure, Callable[[Tensor, Look], Tensor]] = {SYNERGY: synergy}
        for j in range(self.prior().event_shape[0]):
            title = f"selection frequency of latent {j}"
            found[Measure(f"selected_{j}", title, "share", "more", "share")] = partial(share, j=j)
        return found


def idle(given: dict[str, Any]) -> set[str]:
    """Of these settings, the one that the policy does not read."""
    return {"omega"} if given["policy"] == "top_m" else {"top_m"}


def build(
    image_shape: Shape,
    *,
    latent: Count = 10,
    alpha: NotNegative = 5.0,
    alpha_warmup: Fraction = 0.0,
    policy: Policy = "sorted",
    omega: Discount = 0.9,
    top_m: Count = 5,
    update: Updating = "joint",
    fc_act: Activation = "relu",
    **shared: Unpack[Shared],
) -> VAE:
    """A Non-Synergistic VAE for images of that shape.

    Args:
        image_shape: [C, H, W].
        latent: size of the code, Z.
        alpha: weight of the synergy; 0 is the plain VAE.
        alpha_warmup: share of the training over which that weight rises from 0.
        policy: how A is chosen: "sorted", by the batch's mean KLs in their order; "legacy_order", as the authors' code
            does; "per_sample", sorted, for each image by itself; "top_m", the m largest, whatever they are.
        omega: the discount, of all policies but top_m. With m equal latents A stops at m >= omega / (1 - omega).
        top_m: how many latents are in A with the policy top_m.
        update: "joint", one update of the whole loss; "two_step", one of the ELBO and then, with the weights that it
            left, one of the synergy; "two_step_sample", the second one of a second, independent batch.
        fc_act: what follows the encoder's last fully connected layer: "relu" or, as in the authors' network for
            dSprites, "none".
        **shared: see `models.base.Shared`.
    """
    model = assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: GaussianPosterior(features, latent),
        prior=StandardPrior(latent),
        kind=partial(
            NonSynergisticVAE,
            alpha=alpha,
            alpha_warmup=alpha_warmup,
            choose=partial(chosen, policy=policy, omega=omega, top_m=top_m),
            update=update,
        ),
        **shared,
    )
    _end(model.encoder, fc_act)
    return model


def _end(encoder: nn.Sequential, fc_act: Activation) -> None:
    """Takes the ReLU after the last fully connected layer away, or adds it."""
    if fc_act == "none" and len(encoder) > 1 and isinstance(encoder[-1], nn.ReLU):
        del encoder[-1]
    elif fc_act == "relu" and isinstance(encoder[-1], nn.Linear):
        encoder.append(nn.ReLU())
