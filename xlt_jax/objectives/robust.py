"""Robust training: a loss that small moves of the input embeddings do not change.

    E(x) token vectors that the encoder reads; f the rest of the network; CE cross entropy

    adversarial            max over ||d|| <= radius of CE(f(E(x) + d), y), by projected ascent
    random_perturbation    CE(f(E(x) + d), y) with one random d for each example and step

Source: Huang et al. 2021, arXiv:2104.08645, ADV and RS-RP. Norm, radius, steps and law of the noise
of that paper are not known here: the defaults are ours. RS-DA is an augmentation of the data, see
data/substitution.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xlt_jax.arrays import Array, Batch, Forward, Loss, Objective, Outputs, Params
from xlt_jax.objectives import lm

NORMS = ("l2", "linf")
SCOPES = ("token", "sentence")
LAWS = ("uniform", "gaussian")
_TINY = 1e-12
_NOISE = 1  # folded into the step's key, which is dropout's


def adversarial(
    forward: Forward,
    params: Params,
    batch: Batch,
    rng: Array | None,
    *,
    base: Objective = lm.objective,
    norm: str = "l2",
    scope: str = "token",
    radius: float = 0.1,
    relative: bool = True,
    steps: int = 3,
    step_size: float | None = None,
    random_start: bool = False,
) -> Loss:
    """The base objective under the worst perturbation that projected gradient ascent finds (ADV).

    Costs ``steps`` passes without gradients of parameters, and one plain step: with 3 steps 2.2 to
    2.6 times a plain one and its memory (CPU, mT5-small's shape and a tiny one; ``python -m
    bench``).

    Args:
        forward: The network.
        params: Its parameters.
        batch: seqio's encoder-decoder features, packed or not.
        rng: Key of dropout, the same masks in all passes, and of a random start. None, evaluation:
            the base objective alone.
        base: Gives the loss that is made large, then trained on.
        norm: "l2" or "linf", the largest component.
        scope: "token": each token's vector moves within a ball of its own; "sentence": all those of
            an example together.
        radius: Of the ball, from 0.
        relative: The radius is a share of the norm of what moves, not a length.
        steps: Of ascent, from 1.
        step_size: Of one step, as a share of the radius; None: 2.5 / ``steps`` (Madry et al. 2018,
            arXiv:1706.06083, section 5).
        random_start: Begins at a point drawn uniformly from the ball, not at its middle. Needed
            where the middle is a stationary point.

    Returns:
        The base objective's loss and logs at the perturbed vectors.

    Raises:
        ValueError: An option is out of range.
    """
    _check(norm=norm, scope=scope, radius=radius)
    if steps < 1:
        raise ValueError(f"steps is {steps}: give 1 or more, or the objective random_perturbation.")
    if step_size is not None and not step_size > 0:
        raise ValueError(f"step_size is {step_size}: give a positive share of the radius, or None.")
    if rng is None:
        return base(forward, params, batch, rng)
    ball = Ball(batch, norm, scope, radius, relative)
    step_size = 2.5 / steps if step_size is None else step_size
    fixed = jax.lax.stop_gradient(params)
    width = _width(forward, fixed, batch)

    def total(unit_BLD: Array) -> Array:
        return base(ball.moved(forward, unit_BLD), fixed, batch, rng).total

    def ascend(_: int, unit_BLD: Array) -> Array:
        gradient_BLD = jax.grad(total)(unit_BLD)
        return ball.inside(unit_BLD + step_size * ball.direction(gradient_BLD))

    start_BLD = jnp.zeros((*batch["encoder_input_tokens"].shape, width), jnp.float32)
    if random_start:
        start_BLD = ball.uniform(jax.random.fold_in(rng, _NOISE), width)
    unit_BLD = jax.lax.fori_loop(0, steps, ascend, start_BLD)
    return base(ball.moved(forward, jax.lax.stop_gradient(unit_BLD)), params, batch, rng)


def random_perturbation(
    forward: Forward,
    params: Params,
    batch: Batch,
    rng: Array | None,
    *,
    base: Objective = lm.objective,
    law: str = "uniform",
    norm: str = "l2",
    scope: str = "token",
    radius: float = 0.1,
    relative: bool = True,
) -> Loss:
    """The base objective under one random perturbation (RS-RP); costs no more than the base.

    Args:
        forward: The network.
        params: Its parameters.
        batch: seqio's encoder-decoder features, packed or not.
        rng: Key of dropout and noise. None, evaluation: the base objective alone.
        base: Gives the loss.
        law: "uniform" in the ball; "gaussian": independent components whose standard deviation is
            ``radius`` for the norm "linf" and ``radius / sqrt(dimensions)`` for "l2", so that the
            mean square norm is the radius's square. It leaves the ball now and then.
        norm: See ``adversarial``.
        scope: Likewise.
        radius: Likewise.
        relative: Likewise.

    Returns:
        The base objective's loss and logs.

    Raises:
        ValueError: An option is out of range.
    """
    _check(norm=norm, scope=scope, radius=radius, law=law)
    if rng is None:
        return base(forward, params, batch, rng)
    key = jax.random.fold_in(rng, _NOISE)
    ball = Ball(batch, norm, scope, radius, relative)
    draw = ball.uniform if law == "uniform" else ball.gaussian
    noise_BLD = draw(key, _width(forward, params, batch))
    return base(ball.moved(forward, noise_BLD), params, batch, rng)


@dataclass(frozen=True)
class Ball:
    """The perturbations of one batch, each in units of its radius: the unit ball of every token.

    Attributes:
        batch: With ``encoder_input_tokens`` and, of packed rows, ``encoder_segment_ids``, BL.
        norm: Of ``NORMS``.
        scope: Of ``SCOPES``.
        radius: Length of 1.
        relative: The radius is a share of the vectors' own norm.
    """

    batch: Batch
    norm: str
    scope: str
    radius: float
    relative: bool

    def moved(self, forward: Forward, unit_BLD: Array) -> Forward:
        """``forward`` with the token vectors moved by ``unit_BLD`` radii, one array for all calls.

        Raises:
            ValueError: When called with other encoder inputs than the batch's.
        """

        def perturb(embedded_BLD: Array) -> Array:
            radius = self.radius
            if self.relative:
                radius *= self.size(jax.lax.stop_gradient(embedded_BLD).astype(jnp.float32))
            return embedded_BLD + (radius * unit_BLD).astype(embedded_BLD.dtype)

        def perturbed(params: Params, batch: Batch, *args: Any, **options: Any) -> Outputs:
            if batch["encoder_input_tokens"] is not self.batch["encoder_input_tokens"]:
                raise ValueError(
                    "The base objective of robust training encodes other tokens than the batch's "
                    "inputs; take one that reads each input once, such as lm.objective."
                )
            return forward(params, batch, *args, perturb=perturb, **options)

        return perturbed

    def size(self, vectors_BLD: Array) -> Array:
        """Norm of what each token moves with, BL1 float32; padding counts for nothing."""
        vectors_BLD = jnp.where(self._is_token, vectors_BLD, 0.0)
        if self.norm == "linf":
            return self._together(jnp.abs(vectors_BLD).max(axis=-1), jax.ops.segment_max)
        return jnp.sqrt(self._together(jnp.square(vectors_BLD).sum(-1), jax.ops.segment_sum))

    def inside(self, unit_BLD: Array) -> Array:
        """The nearest point of the unit ball."""
        if self.norm == "linf":
            return unit_BLD.clip(-1.0, 1.0)
        return unit_BLD / jnp.maximum(self.size(unit_BLD), 1.0)

    def direction(self, gradient_BLD: Array) -> Array:
        """The unit move along which a linear function with this gradient grows most."""
        gradient_BLD = jnp.where(self._is_token, gradient_BLD, 0.0)
        if self.norm == "linf":
            return jnp.sign(gradient_BLD)
        # Divided by its largest component first: squares of small gradients are below float32.
        largest_BL1 = jnp.abs(gradient_BLD).max(axis=(1, 2), keepdims=True)
        gradient_BLD /= jnp.where(largest_BL1 > 0, largest_BL1, 1.0)
        size_BL1 = self.size(gradient_BLD)
        return gradient_BLD / jnp.where(size_BL1 > 0, size_BL1, 1.0)

    def uniform(self, key: Array, width: int) -> Array:
        """Points drawn uniformly from the unit ball, BLD float32, zero on padding."""
        if self.norm == "linf":
            return self._draw(jax.random.uniform, key, width, minval=-1.0, maxval=1.0)
        direction_BLD = self._draw(jax.random.normal, key, width)
        direction_BLD /= jnp.maximum(self.size(direction_BLD), _TINY)
        share_BL = self._draw(jax.random.uniform, jax.random.fold_in(key, 1), 1)[..., 0]
        if self.scope == "sentence":  # one for all its tokens: that of its segment's number
            number_BL = jnp.maximum(self._segments - 1, 0)
            share_BL = jnp.take_along_axis(share_BL, number_BL, axis=1)
        return direction_BLD * share_BL[..., None] ** (1.0 / self._dimensions(width))

    def gaussian(self, key: Array, width: int) -> Array:
        """Normal noise, BLD float32, whose mean square norm is 1; of "linf" each component's is."""
        draw_BLD = self._draw(jax.random.normal, key, width)
        if self.norm == "linf":
            return draw_BLD
        return draw_BLD / jnp.sqrt(self._dimensions(width))

    @property
    def _segments(self) -> Array:
        """Number of the example that a token belongs to, from 1; 0 on padding."""
        segments_BL = self.batch.get("encoder_segment_ids")
        is_token_BL = (self.batch["encoder_input_tokens"] > 0).astype(jnp.int32)
        return is_token_BL if segments_BL is None else segments_BL.astype(jnp.int32)

    @property
    def _is_token(self) -> Array:
        return (self.batch["encoder_input_tokens"] > 0)[..., None]

    def _together(self, values_BL: Array, reduce: Callable) -> Array:
        """The values of all tokens that move together, reduced, BL1."""
        if self.scope == "token":
            return values_BL[..., None]

        def of_row(values_L: Array, segments_L: Array) -> Array:
            return reduce(values_L, segments_L, num_segments=len(segments_L) + 1)[segments_L]

        return jax.vmap(of_row)(values_BL, self._segments)[..., None]

    def _dimensions(self, width: int) -> Array:
        """Of the space that each token moves in, BL1 float32, at least 1."""
        is_token_BL = self._is_token[..., 0].astype(jnp.float32)
        return jnp.maximum(width * self._together(is_token_BL, jax.ops.segment_sum), 1.0)

    def _draw(self, sample: Callable, key: Array, width: int, **options: float) -> Array:
        """Random numbers for the tokens of each row, BLD, zero on padding.

        A row's numbers depend on its tokens and the key, not on the rest of the batch, and those of
        a position not on later ones: padding, microbatches and devices change nothing.
        """
        tokens_BL = self.batch["encoder_input_tokens"]
        length = tokens_BL.shape[1]
        odd_L = np.multiply.accumulate(np.full(length, 2654435761, np.uint32), dtype=np.uint32)
        hash_B = (tokens_BL.astype(jnp.uint32) * odd_L).sum(axis=1, dtype=jnp.uint32)

        def of_row(hash_: Array) -> Array:
            return sample(jax.random.fold_in(key, hash_), (length, width), **options)

        return jnp.where(self._is_token, jax.vmap(of_row)(hash_B), 0.0)


def _width(forward: Forward, params: Params, batch: Batch) -> int:
    """D of the token vectors."""
    outputs = jax.eval_shape(lambda: forward(params, batch, None, probe=True))
    return outputs.embedded.shape[-1]


def _check(*, norm: str, scope: str, radius: float, law: str = LAWS[0]) -> None:
    for name, value, allowed in (
        ("norm", norm, NORMS),
        ("scope", scope, SCOPES),
        ("law", law, LAWS),
    ):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; give one of {allowed}.")
    if not 0 <= radius < float("inf"):
        raise ValueError(f"radius is {radius}: give 0 or a positive number.")
