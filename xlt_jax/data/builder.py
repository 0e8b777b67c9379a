"""SeqIO's registry: one seqio.Task per benchmark and language, one seqio.Mixture per mixture."""

import functools
import json

from xlt_jax.data import mixtures, noising, tokens
from xlt_jax.data.vocab import EOS_ID, Vocabulary
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Benchmark, Request


def register_all(vocabulary: Vocabulary) -> None:
    """Registers everything that ``tasks`` holds with SeqIO, for T5X and other SeqIO programs.

    Our own programs read token tables and need neither SeqIO nor TensorFlow. Calling it again
    adds only what is new.

    Args:
        vocabulary: Of inputs and targets.
    """
    import seqio

    seqio_vocabulary = vocabulary.as_seqio()
    known = set(seqio.TaskRegistry.names())
    for benchmark in benchmarks.all_benchmarks():
        feature = seqio.Feature(seqio_vocabulary, add_eos=not benchmark.noise)
        for name, language in zip(benchmark.task_names(), benchmark.languages):
            if seqio_name(name) not in known:
                _add_task(seqio_name(name), benchmark, language, vocabulary, feature)
    known = set(seqio.MixtureRegistry.names())
    for name in mixtures.names():
        if name not in known:
            mixture = mixtures.get(name)
            seqio.MixtureRegistry.add(
                name,
                [
                    (seqio_name(task), functools.partial(_rate, mixture, vocabulary))
                    for task in mixture.tasks
                ],
            )


def seqio_name(task_name: str) -> str:
    """What SeqIO calls a task: it allows no hyphen, so ``xnli_pairs.en-sw`` ends in ``en_sw``."""
    return task_name.replace("-", "_")


def _rate(mixture: mixtures.Mixture, vocabulary: Vocabulary, task) -> float:
    """The rate our own engine uses; SeqIO asks for it when it builds the mixture."""
    return _rates(mixture, vocabulary)[task.name]


@functools.cache
def _rates(mixture: mixtures.Mixture, vocabulary: Vocabulary) -> dict[str, float]:
    sizes = {task: tokens.tokens(task, "train", vocabulary).size for task in mixture.tasks}
    return {seqio_name(task): rate for task, rate in mixture.rates(sizes).items()}


def _add_task(
    name: str, benchmark: Benchmark, language: str, vocabulary: Vocabulary, feature
) -> None:
    import seqio

    # No functools.partial: SeqIO looks at the signature, and that of a partial takes it long.
    def dataset(split, shuffle_files, seed=None):
        return _dataset(benchmark, language, split, shuffle_files, seed)

    preprocessors = [seqio.preprocessors.tokenize]
    if benchmark.noise:
        preprocessors.append(functools.partial(_corrupt_spans, vocabulary=vocabulary))
    else:
        preprocessors.append(seqio.preprocessors.append_eos_after_trim)
    scored = benchmark.request.scored and benchmark.request is not Request.EMBED
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(dataset, splits=benchmark.splits),
        preprocessors=preprocessors,
        output_features={"inputs": feature, "targets": feature},
        postprocess_fn=functools.partial(_answer, benchmark=benchmark) if scored else None,
        metric_fns=[benchmark.metric_of(language)] if scored else [],
    )


def _answer(prediction: str, example: dict, is_target: bool, benchmark: Benchmark):
    """What metrics compare: the references of a row, or what its generated text says."""
    row = json.loads(example["row"])
    if is_target:
        return row["references"]
    return benchmark.parse(row, prediction)[0] if benchmark.parse else prediction


def _dataset(benchmark: Benchmark, language: str, split: str, shuffle_files: bool, seed):
    import numpy as np
    import tensorflow as tf

    examples = tokens.prompted(benchmark, language, split)
    if shuffle_files:
        # Once and here, as SeqIO shuffles every epoch in a small buffer: a buffer of all rows would
        # be a part of each checkpoint of the position in the data.
        order = np.random.default_rng(seed).permutation(len(examples))
        examples = [examples[row] for row in order]
    texts = {name: [example[name] for example in examples] for name in ("inputs", "targets")}
    rows = list(map(tokens.row_text, examples))
    return tf.data.Dataset.from_tensor_slices({**texts, "row": rows})


def _corrupt_spans(dataset, sequence_length, vocabulary: Vocabulary):
    """SeqIO preprocessor: span corruption of ``targets``, drawn anew every epoch."""
    import numpy as np
    import seqio
    import tensorflow as tf

    @seqio.map_over_dataset(num_seeds=1)
    def corrupt(example, seed):
        def noised(ids, seeds):
            return noising.span_corruption(
                ids,
                np.random.default_rng([int(part) & 0xFFFFFFFF for part in seeds]),
                first_sentinel=vocabulary.sentinel_id(0),
                eos_id=EOS_ID,
            )

        longest = noising.longest_noisable(sequence_length["inputs"], sequence_length["targets"])
        inputs, targets = tf.numpy_function(
            noised, [example["targets"][:longest], seed], [tf.int32, tf.int32], stateful=False
        )
        return {
            **example,
            "inputs": tf.ensure_shape(inputs, [None]),
            "targets": tf.ensure_shape(targets, [None]),
        }

    return corrupt(dataset)
