"""What is measured: network shapes, training batches, evaluation sets; NumPy only.

All data is random ids. The first input id of an evaluation example carries the length of its answer
(``FIRST_LENGTH_ID`` plus tokens before end-of-sequence) and every system is made to end there, so
that random weights do not decide how long each of them decodes.
"""

import functools
from dataclasses import dataclass

import numpy as np

EOS_ID = 1
FIRST_LENGTH_ID = 3
FIRST_WORD_ID = 64
LAST_WORD_ID = 383  # words exist in the smallest vocabulary: both shapes read the same sets
FORBIDDEN = -1e9  # a logit that no real one is below

BATCH_SIZE, INPUT_TOKENS, TARGET_TOKENS = 8, 128, 32
TRAIN_TOKENS = BATCH_SIZE * (INPUT_TOKENS + TARGET_TOKENS)  # per step
# The methods whose step is compared with the plain one's: see worker_ours.
OBJECTIVES = (
    "random_perturbation", "adversarial, 3 steps", "push_pull", "consistency", "tlm", "weam",
    "distillation, same size", "layer_aggregation", "dual_encoder",
)  # fmt: skip
MASKED_SHARE = 0.15
DROPOUT_RATE, Z_LOSS, LEARNING_RATE = 0.1, 1e-4, 1e-3  # T5X's for mT5


@dataclass(frozen=True)
class Shape:
    """Sizes of an mT5: gated GELU, untied output, as many decoder as encoder layers."""

    name: str
    vocab_size: int
    emb_dim: int
    num_heads: int
    head_dim: int
    num_layers: int
    mlp_dim: int

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        attention, mlp, norm = self._attention, self._mlp, self.emb_dim
        encoder = self.num_layers * (attention + mlp + 2 * norm) + norm
        decoder = self.num_layers * (2 * attention + mlp + 3 * norm) + norm
        biases = 2 * 32 * self.num_heads  # 32 buckets of relative positions
        return 2 * self.vocab_size * self.emb_dim + encoder + decoder + biases

    @property
    def train_flops(self) -> float:
        """Matrix-product operations that one training step needs; looking up a token needs none."""
        inputs, targets = BATCH_SIZE * INPUT_TOKENS, BATCH_SIZE * TARGET_TOKENS
        joined = self.num_heads * self.head_dim
        cross_read = 2 * self.emb_dim * joined  # keys and values of the source
        weights = self.num_layers * (
            inputs * (self._attention + self._mlp + cross_read)
            + targets * (2 * self._attention - cross_read + self._mlp)
        )
        pairs = inputs * INPUT_TOKENS + targets * (TARGET_TOKENS + INPUT_TOKENS)
        scores = self.num_layers * pairs * 2 * joined  # queries by keys, weights by values
        output = targets * self.vocab_size * self.emb_dim
        return 3 * 2.0 * (weights + scores + output)  # forward and twice that backward

    @property
    def _attention(self) -> int:
        return 4 * self.emb_dim * self.num_heads * self.head_dim

    @property
    def _mlp(self) -> int:
        return 3 * self.emb_dim * self.mlp_dim


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("tiny", 384, 64, 4, 16, 2, 128),
        Shape("mt5_small", 250112, 512, 6, 64, 8, 1024),
    )
}


# Those of folders that are converted and loaded, never run.
FOLDERS = {
    "tiny": SHAPES["tiny"],
    "mt5_base": Shape("mt5_base", 250112, 768, 12, 64, 12, 2048),
}


@dataclass(frozen=True)
class SetSpec:
    """An evaluation set: ``languages`` tasks of ``rows`` examples, lengths log-normal.

    Attributes:
        name: "pairs" (short answers, one of few labels in practice) or "qa".
        languages: Number of tasks.
        rows: Per task.
        median: Of input tokens.
        longest: Of input tokens; some example has it.
        spread: Standard deviation of the logarithm of input tokens.
        answers: Tokens of the shortest and the longest answer, end-of-sequence not counted.
        t5x_rows: Examples, drawn at random, that T5X decodes where all take too long; None: all.
    """

    name: str
    languages: int
    rows: int
    median: int
    longest: int
    spread: float
    answers: tuple[int, int]
    t5x_rows: int | None = None

    @property
    def examples(self) -> int:
        """Of all tasks together."""
        return self.languages * self.rows

    @property
    def decode_length(self) -> int:
        """Tokens of the longest answer with its end-of-sequence."""
        return self.answers[1] + 1


def eval_specs(shape_name: str, quick: bool) -> tuple[SetSpec, ...]:
    """Sets of sentence pairs and of questions; ``quick`` has a tenth of the rows or less."""
    pairs = functools.partial(SetSpec, median=60, longest=256, spread=0.47, answers=(1, 3))
    qa = functools.partial(SetSpec, median=300, longest=512, spread=0.4, answers=(1, 31))
    sets = {
        ("tiny", False): (pairs("pairs", 15, 500), qa("qa", 11, 200)),
        ("tiny", True): (pairs("pairs", 3, 64), qa("qa", 2, 32)),
        ("mt5_small", False): (
            pairs("pairs", 10, 100, t5x_rows=64),
            qa("qa", 10, 50, t5x_rows=32),
            pairs("pairs, 128 examples", 2, 64, t5x_rows=0),
            qa("qa, 128 examples", 2, 64, t5x_rows=0),
        ),
        ("mt5_small", True): (pairs("pairs", 2, 16), qa("qa", 2, 8)),
    }
    return sets[shape_name, quick]


@dataclass(frozen=True)
class Example:
    """One evaluation example: its ids, end-of-sequence included, and the length of its answer."""

    inputs: np.ndarray
    answer_tokens: int


def eval_set(spec: SetSpec, seed: int = 0) -> list[list[Example]]:
    """Examples by task. Answers are uniform up to 3 tokens, else log-normal with median 6."""
    generator = np.random.default_rng([seed, spec.languages, spec.rows, spec.longest])
    lengths = np.exp(generator.normal(np.log(spec.median), spec.spread, spec.examples))
    lengths = np.clip(lengths.round().astype(int), 8, spec.longest)
    lengths[generator.integers(spec.examples)] = spec.longest
    low, high = spec.answers
    if high <= 3:
        answers = generator.integers(low, high + 1, spec.examples)
    else:
        drawn = np.exp(generator.normal(np.log(6), 0.7, spec.examples))
        answers = np.clip(drawn.round().astype(int), low, high)
    examples = []
    for length, answer in zip(lengths, answers):
        words = generator.integers(FIRST_WORD_ID, LAST_WORD_ID + 1, length - 2)
        ids = np.concatenate([[FIRST_LENGTH_ID + answer], words, [EOS_ID]]).astype(np.int32)
        examples.append(Example(ids, int(answer)))
    return [examples[start : start + spec.rows] for start in range(0, spec.examples, spec.rows)]


def t5x_rows(spec: SetSpec) -> list[int]:
    """Numbers of the examples that T5X decodes, over all tasks."""
    if spec.t5x_rows is None:
        return list(range(spec.examples))
    drawn = np.random.default_rng(0).choice(spec.examples, spec.t5x_rows, replace=False)
    return sorted(drawn.tolist())


def train_batches(
    shape: Shape, count: int = 4, seed: int = 0, objective: str = ""
) -> list[dict[str, np.ndarray]]:
    """Different batches of full rows: no padding, nothing packed; with what the objective reads."""
    generator = np.random.default_rng(seed)
    batches = []
    for _ in range(count):
        inputs, targets = (
            generator.integers(3, shape.vocab_size, (BATCH_SIZE, length), dtype=np.int32)
            for length in (INPUT_TOKENS, TARGET_TOKENS)
        )
        shifted = np.concatenate([np.zeros_like(targets[:, :1]), targets[:, :-1]], axis=1)
        batches.append(
            {
                "encoder_input_tokens": inputs,
                "decoder_input_tokens": shifted,
                "decoder_target_tokens": targets,
                "decoder_loss_weights": np.ones_like(targets),
            }
        )
        other = generator.integers(3, shape.vocab_size, inputs.shape, dtype=np.int32)
        if objective in ("push_pull", "consistency"):
            batches[-1]["encoder_view_tokens"] = other
        elif objective in ("tlm", "weam"):
            masked = generator.random(inputs.shape) < MASKED_SHARE
            batches[-1]["encoder_target_tokens"] = np.where(masked, inputs, 0)
            if objective == "weam":
                batches[-1]["encoder_aligned_tokens"] = np.where(masked, other, 0)
    return batches
