"""One training or evaluation step: batch -> (sum, weight) -> gradients -> state; jit is here."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from xlt_jax.arrays import (
    Array,
    Batch,
    Forward,
    Loss,
    Objective,
    Outputs,
    Params,
    UnscoredTokens,
)
from xlt_jax.models import layers
from xlt_jax.training.bad_steps import check_policy
from xlt_jax.training.optim import Schedule
from xlt_jax.training.partition import Partitioner
from xlt_jax.training.state import TrainState

Metrics = Mapping[str, Any]

# T5X's name of the only special normalizer that we have.
NUM_REAL_TARGET_TOKENS = "NUM_REAL_TARGET_TOKENS"

# Of how many earlier steps the gradient norm's median is taken, and from how many on it says much.
NORMS_KEPT, NORMS_NEEDED = 64, 16


def make_forward(network: nn.Module) -> Forward:
    """``forward(params, batch, rng)`` of an encoder-decoder, under teacher forcing.

    Segment ids and positions of packed rows are passed on where the batch has them. A batch of
    ``encoder_input_tokens`` alone is only encoded, up to ``encoder_layer`` (None: the final norm).

    The function's other arguments serve objectives: ``perturb`` maps the encoder's token vectors,
    BLD; ``probe`` returns those and the attention maps; at ``positions_BK`` of the encoder's output
    all tokens are scored; with ``may_chunk`` logits may be ``UnscoredTokens``.
    """

    def encode(
        module: nn.Module, batch: Batch, enable_dropout: bool, encoder_layer: int | None
    ) -> Outputs:
        states_BLD = module.encoder_states(
            batch["encoder_input_tokens"], encoder_layer, enable_dropout
        )
        return Outputs(logits=None, encoded=states_BLD)

    def teacher_force(
        module: nn.Module,
        batch: Batch,
        enable_dropout: bool,
        perturb: Callable[[Array], Array] | None,
        positions_BK: Array | None,
        may_chunk: bool,
    ) -> Outputs:
        encoded_BLD = module.encode(
            batch["encoder_input_tokens"],
            encoder_segment_ids=batch.get("encoder_segment_ids"),
            enable_dropout=enable_dropout,
            perturb=perturb,
        )
        is_chunked = may_chunk and network.config.logits_chunks > 1
        token_logits = None
        if positions_BK is not None:
            states_BKD = jnp.take_along_axis(encoded_BLD, positions_BK[..., None], axis=1)
            token_logits = (
                unscored(states_BKD, module.token_kernel())
                if is_chunked
                else module.token_scores(states_BKD)
            )
        hidden_BTD = module.hidden(
            encoded_BLD,
            batch["encoder_input_tokens"],
            batch["decoder_input_tokens"],
            batch["decoder_target_tokens"],
            encoder_segment_ids=batch.get("encoder_segment_ids"),
            decoder_segment_ids=batch.get("decoder_segment_ids"),
            enable_dropout=enable_dropout,
        )
        logits = (
            unscored(hidden_BTD, module.output_kernel())
            if is_chunked
            else module.logits(hidden_BTD)
        )
        return Outputs(logits=logits, encoded=encoded_BLD, token_logits=token_logits)

    def unscored(states_BTD: Array, kernel_DV: Array) -> UnscoredTokens:
        chunks = network.config.logits_chunks
        return UnscoredTokens(states_BTD, kernel_DV, chunks, layers.row_parts())

    def forward(
        params: Params,
        batch: Batch,
        rng: Array | None,
        encoder_layer: int | None = None,
        *,
        perturb: Callable[[Array], Array] | None = None,
        probe: bool = False,
        positions_BK: Array | None = None,
        may_chunk: bool = False,
    ) -> Outputs:
        variables, rngs = {"params": params}, {} if rng is None else {"dropout": rng}
        if batch.keys() == {"encoder_input_tokens"}:
            return network.apply(
                variables, batch, rng is not None, encoder_layer, rngs=rngs, method=encode
            )
        arguments = (batch, rng is not None, perturb, positions_BK, may_chunk)
        if not probe:
            return network.apply(variables, *arguments, rngs=rngs, method=teacher_force)
        outputs, found = network.apply(
            variables, *arguments, rngs=rngs, method=teacher_force, mutable=["probes"]
        )
        embedded_BLD, attentions = network.encoder_probes(found["probes"])
        return outputs.replace(embedded=embedded_BLD, attentions=attentions)

    return forward


def make_train_step(
    forward: Forward,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    partitioner: Partitioner,
    state: TrainState,
    *,
    num_microbatches: int = 1,
    loss_normalizer: float | str | None = None,
    clip_norm: float | None = None,
    learning_rate_fn: Schedule | None = None,
    bad_steps: str = "ignore",
    spike_factor: float | None = None,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """A jitted ``train_step(state, batch, base_rng) -> (state, metrics)``; it donates the state.

    Args:
        forward: See ``make_forward``.
        objective: Gives sums and weights, so that microbatches add up to the full batch.
        optimizer: Updates to be added to the parameters.
        partitioner: Its data axis splits the batch.
        state: A state or its description; only its shardings are read, and kept by the new state.
        num_microbatches: Parts of a batch whose gradients are computed one after the other, to need
            less memory.
        loss_normalizer: Divides the summed loss: None leaves the sum, as in T5X; a number; or
            "NUM_REAL_TARGET_TOKENS" for the batch's weight.
        clip_norm: Largest norm of the whole gradient, after the normalizer.
        learning_rate_fn: Only to report the rate.
        bad_steps: Of ``bad_steps.POLICIES``: "skip" keeps parameters and moments as before a bad
            step, and only counts it; whatever else is done about one is not done here.
        spike_factor: A gradient norm of so many times the median of the last steps that were not
            bad makes a step bad too. The function then has a fourth argument, ``no_norms()`` at
            first and ``metrics["norms"]`` of the step before thereafter.

    Returns:
        A function with ``lower`` for ahead-of-time compilation. Randomness is that of
        ``fold_in(base_rng, state.step)``. Metrics are scalars: ``loss`` after the normalizer,
        ``nll`` and other logs of the objective as (sum, weight), ``tokens`` that are not padding,
        ``grad_norm`` before clipping, ``learning_rate``, and ``bad``: loss or gradient is not
        finite, or a spike.

    Raises:
        ValueError: An unknown normalizer, or a value that is not positive.
    """
    if isinstance(loss_normalizer, str) and loss_normalizer != NUM_REAL_TARGET_TOKENS:
        raise ValueError(
            f"loss_normalizer is {loss_normalizer!r}; allowed: None (the plain sum), a number, or "
            f"{NUM_REAL_TARGET_TOKENS!r}."
        )
    for name, value in {
        "num_microbatches": num_microbatches,
        "loss_normalizer": loss_normalizer,
        "clip_norm": clip_norm,
        "spike_factor": spike_factor,
    }.items():
        if value is not None and not isinstance(value, str) and value <= 0:
            raise ValueError(f"{name} is {value}: give a positive number.")
    check_policy(bad_steps)

    def sums(params: Params, batch: Batch, rng: Array) -> tuple[Loss, Params]:
        def total(params):
            loss = objective(forward, params, batch, rng)
            return loss.total, loss

        (_, loss), gradients = jax.value_and_grad(total, has_aux=True)(params)
        return loss, gradients

    def train_step(state: TrainState, batch: Batch, base_rng: Array, norms: Array | None = None):
        rng = jax.random.fold_in(base_rng, state.step)
        if num_microbatches == 1:
            loss, gradients = sums(state.params, batch, rng)
        else:
            loss, gradients = _accumulate(
                sums, state.params, batch, rng, num_microbatches, partitioner
            )

        if loss_normalizer is None:
            scale = jnp.ones((), jnp.float32)
        elif loss_normalizer == NUM_REAL_TARGET_TOKENS:
            scale = 1.0 / jnp.maximum(loss.weight, 1e-9)
        else:
            scale = jnp.float32(1.0 / loss_normalizer)
        grad_norm = optax.global_norm(gradients) * scale
        bad = ~(jnp.isfinite(loss.total) & jnp.isfinite(grad_norm))
        if norms is not None:
            usual = jnp.where(
                jnp.isfinite(norms).sum() < NORMS_NEEDED, jnp.inf, jnp.nanmedian(norms)
            )
            bad |= grad_norm > spike_factor * usual
            norms = jnp.where(bad, norms, jnp.roll(norms, -1).at[-1].set(grad_norm))
        metrics = {
            "loss": loss.total * scale,
            **loss.logs,
            "tokens": num_tokens(batch),
            "grad_norm": grad_norm,
            "bad": bad,
        }
        if norms is not None:
            metrics["norms"] = norms
        if learning_rate_fn is not None:
            metrics["learning_rate"] = learning_rate_fn(state.step)
        if clip_norm is not None:
            scale *= jnp.minimum(1.0, clip_norm / jnp.maximum(grad_norm, 1e-9))
        if loss_normalizer is not None or clip_norm is not None:
            gradients = jax.tree.map(lambda gradient: gradient * scale, gradients)

        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if bad_steps == "skip":
            params, opt_state = jax.tree.map(
                # Counters go on, so that schedules follow the number of the step.
                lambda new, old: new if new.dtype == jnp.int32 else jnp.where(bad, old, new),
                (params, opt_state),
                (state.params, state.opt_state),
            )
        return TrainState(state.step + 1, params, opt_state), metrics

    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    norms_sharding = [] if spike_factor is None else [partitioner.replicated]
    return jax.jit(
        _traced_under(partitioner, train_step),
        in_shardings=(shardings, None, None, *norms_sharding),  # None: as it comes
        out_shardings=(shardings, partitioner.replicated),
        donate_argnums=0,
    )


def no_norms() -> np.ndarray:
    """Gradient norms of the last steps before the first one: none."""
    return np.full(NORMS_KEPT, np.nan, np.float32)


def make_eval_step(
    forward: Forward, objective: Objective, partitioner: Partitioner
) -> Callable[[Params, Batch], Metrics]:
    """A jitted ``eval_step(params, batch)``: ``loss`` and the objective's logs as (sum, weight).

    No dropout; add the sums of several batches and divide by the added weights.
    """

    def eval_step(params: Params, batch: Batch) -> Metrics:
        loss = objective(forward, params, batch, None)
        return {"loss": (loss.total, loss.weight), **loss.logs}

    return jax.jit(_traced_under(partitioner, eval_step), out_shardings=partitioner.replicated)


def _accumulate(
    sums: Callable[[Params, Batch, Array], tuple[Loss, Params]],
    params: Params,
    batch: Batch,
    rng: Array,
    num_microbatches: int,
    partitioner: Partitioner,
) -> tuple[Loss, Params]:
    """Loss and gradients added over microbatches.

    Microbatch i takes every ``num_microbatches``-th row, so that each device keeps its own rows.
    """
    rows = next(iter(batch.values())).shape[0]
    partitioner.check_batch_size(rows, num_microbatches)

    def split(x: Array) -> Array:
        x = x.reshape(-1, num_microbatches, *x.shape[1:]).swapaxes(0, 1)
        return jax.lax.with_sharding_constraint(x, partitioner.microbatches_sharding)

    def add(carry, microbatch_and_index):
        microbatch, index = microbatch_and_index
        return jax.tree.map(
            jnp.add, carry, sums(params, microbatch, jax.random.fold_in(rng, index))
        ), None

    microbatches = jax.tree.map(split, dict(batch))
    one = jax.tree.map(lambda x: x[0], microbatches)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(sums, params, one, rng)
    )
    total, _ = jax.lax.scan(add, zeros, (microbatches, jnp.arange(num_microbatches)))
    return total


def num_tokens(batch: Batch) -> Array:
    """Tokens that are not padding, of encoder and decoder together, int32."""
    return (batch["encoder_input_tokens"] > 0).sum() + (batch["decoder_target_tokens"] > 0).sum()


def _traced_under(partitioner: Partitioner, function: Callable) -> Callable:
    def traced(*args):
        with partitioner.context():
            return function(*args)

    traced.__name__ = function.__name__  # the name in profiles and compilation logs
    return traced
