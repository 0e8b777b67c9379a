"""SeqIO's registry: one seqio.Task per benchmark and language, one seqio.Mixture per mixture."""

import functools
import json
from collections.abc import Sequence

from xlt_jax.data import augmentation, features, mixtures, tokens
from xlt_jax.data.augmentation import Augmentation
from xlt_jax.data.vocab import Vocabulary
from xlt_jax.registry import benchmarks
from xlt_jax.registry.benchmarks import Benchmark, Request


def register_all(vocabulary: Vocabulary, augmentations: Sequence[Augmentation] = ()) -> None:
    """Registers everything that ``tasks`` holds with SeqIO, for T5X and other SeqIO programs.

    Our own programs read token tables and need neither SeqIO nor TensorFlow. Calling it again
    adds only what is new.

    Args:
        vocabulary: Of inputs and targets.
        augmentations: What is made of the rows; their features are then those of every task, with
            nothing in them where no augmentation applies. See ``feature_converter``.
    """
    import seqio

    seqio_vocabulary = vocabulary.as_seqio()
    augmentations = tuple(augmentations)
    extras = augmentation.extra_features(augmentations)
    known = set(seqio.TaskRegistry.names())
    for benchmark in benchmarks.all_benchmarks():
        feature = seqio.Feature(seqio_vocabulary, add_eos=not benchmark.noise)
        outputs = {"inputs": feature, "targets": feature} | {
            name: seqio.Feature(seqio_vocabulary, add_eos=name == "views") for name in extras
        }
        for name, language in zip(benchmark.task_names(), benchmark.languages):
            if seqio_name(name) not in known:
                _add_task(name, benchmark, language, vocabulary, outputs, augmentations)
    known = set(seqio.MixtureRegistry.names())
    for name in mixtures.names():
        if name not in known:
            mixture = mixtures.get(name)
            seqio.MixtureRegistry.add(
                name,
                [
                    (
                        seqio_name(task),
                        functools.partial(_rate, mixture, vocabulary, augmentations),
                    )
                    for task in mixture.tasks
                ],
            )


def seqio_name(task_name: str) -> str:
    """What SeqIO calls a task: it allows no hyphen, so ``xnli_pairs.en-sw`` ends in ``en_sw``."""
    return task_name.replace("-", "_")


def _rate(mixture: mixtures.Mixture, vocabulary: Vocabulary, augmentations: tuple, task) -> float:
    """The rate our own engine uses; SeqIO asks for it when it builds the mixture."""
    return _rates(mixture, vocabulary, augmentations)[task.name]


@functools.cache
def _rates(
    mixture: mixtures.Mixture, vocabulary: Vocabulary, augmentations: tuple
) -> dict[str, float]:
    sizes = {
        task: tokens.tokens(task, "train", vocabulary, augmentations).size for task in mixture.tasks
    }
    return {seqio_name(task): rate for task, rate in mixture.rates(sizes).items()}


def _add_task(
    name: str,
    benchmark: Benchmark,
    language: str,
    vocabulary: Vocabulary,
    outputs: dict,
    augmentations: tuple[Augmentation, ...],
) -> None:
    import seqio

    augment = augmentation.of_task(augmentations, benchmark, language, "train")
    noise = augment.noise(vocabulary) if augment else None

    # No functools.partial: SeqIO looks at the signature, and that of a partial takes it long.
    def dataset(split, shuffle_files, seed=None):
        if noise:
            table = tokens.tokens(name, split, vocabulary, augmentations)
            return _stored(table, shuffle_files, seed)
        return _dataset(benchmark, language, split, shuffle_files, seed)

    if noise:
        preprocessors = [functools.partial(_noised, noise=noise)]
    elif benchmark.noise:
        preprocessors = [
            seqio.preprocessors.tokenize,
            functools.partial(_noised, noise=tokens.span_corruption(vocabulary)),
        ]
    else:
        preprocessors = [
            *([functools.partial(perturbed, augment=augment, task=name)] if augment else []),
            seqio.preprocessors.tokenize,
            seqio.preprocessors.append_eos_after_trim,
        ]
    extras = [name for name in outputs if name not in ("inputs", "targets")]
    if extras:
        preprocessors.append(functools.partial(_with_extras, extras=extras))
    scored = benchmark.request.scored and benchmark.request is not Request.EMBED
    seqio.TaskRegistry.add(
        seqio_name(name),
        source=seqio.FunctionDataSource(dataset, splits=benchmark.splits),
        preprocessors=preprocessors,
        output_features=outputs,
        postprocess_fn=functools.partial(_answer, benchmark=benchmark) if scored else None,
        metric_fns=[benchmark.metric_of(language)] if scored else [],
    )


def _answer(prediction: str, example: dict, is_target: bool, benchmark: Benchmark):
    """What metrics compare: the references of a row, or what its generated text says."""
    row = json.loads(example["row"])
    if is_target:
        return row["references"]
    return benchmark.parse(row, prediction)[0] if benchmark.parse else prediction


# ------------------------------------------------------------------------------------- rows
def _dataset(benchmark: Benchmark, language: str, split: str, shuffle_files: bool, seed):
    import tensorflow as tf

    examples = tokens.prompted(benchmark, language, split)
    examples = [examples[row] for row in _order(len(examples), shuffle_files, seed)]
    texts = {name: [example[name] for example in examples] for name in ("inputs", "targets")}
    # With the row's own texts, which ``perturbed`` needs, only where it is trained on.
    keep_texts = split == "train"
    rows = [
        json.dumps(example, ensure_ascii=False) if keep_texts else tokens.row_text(example)
        for example in examples
    ]
    return tf.data.Dataset.from_tensor_slices({**texts, "row": rows})


def _stored(table: tokens.TokenTable, shuffle_files: bool, seed):
    """Rows of a table as they are stored: their noise comes later."""
    import numpy as np
    import tensorflow as tf

    names = list(table.row(0))

    def read(number: int) -> list:
        row = table.row(number)
        return [row[name].astype(np.int32) for name in names]

    def stored(number):  # no generator: T5X could not keep the position in it
        ids = tf.numpy_function(read, [number], [tf.int32] * len(names), stateful=False)
        return {name: tf.ensure_shape(x, [None]) for name, x in zip(names, ids)}

    order = np.asarray(_order(len(table), shuffle_files, seed), np.int64)
    return tf.data.Dataset.from_tensor_slices(order).map(stored)


def _order(rows: int, shuffle_files: bool, seed) -> Sequence[int]:
    """Row numbers; shuffled here, as SeqIO shuffles every epoch in a small buffer: one of all rows
    would be a part of each checkpoint of the position in the data.
    """
    import numpy as np

    return np.random.default_rng(seed).permutation(rows) if shuffle_files else range(rows)


# ----------------------------------------------------------------------------------- preprocessors
def perturbed(dataset, augment: augmentation.Copies, task: str):
    """SeqIO preprocessor: every training row as its copies, one after the other.

    Online, row by row; the draws are those of ``tokens.tokens`` with the same augmentation, which
    makes all rows at once. Rows of other splits stay as they are, and are their own views.
    """
    import tensorflow as tf

    names = ["inputs", "targets", "row", *(["views"] if "views" in augment.features else [])]

    def copies(text: bytes) -> list:
        row = json.loads(text.decode("utf-8"))
        made = augment.examples(task, [row], list) if "texts" in row else [row]
        columns = {
            "inputs": [one["inputs"] for one in made],
            "targets": [one["targets"] for one in made],
            "row": [tokens.row_text(one) for one in made],
            "views": [one.get("view", one["inputs"]) for one in made],
        }
        return [columns[name] for name in names]

    def expand(example):
        columns = tf.numpy_function(  # not stateful: T5X keeps the position in the data
            copies, [example["row"]], [tf.string] * len(names), stateful=False
        )
        return tf.data.Dataset.from_tensor_slices(
            {name: tf.ensure_shape(column, [None]) for name, column in zip(names, columns)}
        )

    return dataset.flat_map(expand)


def _noised(dataset, sequence_length, noise):
    """SeqIO preprocessor: noise on stored ids, drawn anew every epoch."""
    import numpy as np
    import seqio
    import tensorflow as tf

    names = sorted(
        dataset.element_spec.keys() - {"row", "inputs_pretokenized", "targets_pretokenized"}
    )
    made = ["inputs", "targets", *noise.extras]

    @seqio.map_over_dataset(num_seeds=1)
    def corrupt(example, seed):
        def noised(seeds, *ids):
            generator = np.random.default_rng([int(part) & 0xFFFFFFFF for part in seeds])
            row = noise(dict(zip(names, ids)), generator, sequence_length)
            return [row[name].astype(np.int32) for name in made]

        ids = tf.numpy_function(
            noised,
            [seed, *(example[name] for name in names)],
            [tf.int32] * len(made),
            stateful=False,
        )
        return {**example, **{name: tf.ensure_shape(x, [None]) for name, x in zip(made, ids)}}

    return corrupt(dataset)


def _with_extras(dataset, extras: Sequence[str]):
    """SeqIO preprocessor: every extra feature is there, as ``feature_converter`` reads it.

    Those at the inputs' positions are as long as the inputs and one larger, 1 where there is
    nothing: packing counts a row's ids that are not 0. The view of a row without is the row.
    """
    import tensorflow as tf

    def add(example):
        made = {}
        for name in extras:
            ids = example["inputs"]
            if name == "views":
                made[name] = example.get(name, ids)
            else:
                made[name] = 1 + example.get(name, tf.zeros_like(ids))
        return {**example, **made}

    return dataset.map(add, num_parallel_calls=tf.data.AUTOTUNE)


def feature_converter(extras: Sequence[str]):
    """SeqIO's encoder-decoder converter, with the features of ``features.EXTRA_FEATURES`` too."""
    import seqio
    import tensorflow as tf

    base = seqio.EncDecFeatureConverter
    if not extras:
        return base
    spec = seqio.FeatureConverter.FeatureSpec(dtype=tf.int32)
    names = {name: features.EXTRA_FEATURES[name] for name in extras}

    class FeatureConverter(base):
        TASK_FEATURES = base.TASK_FEATURES | dict.fromkeys(names, spec)
        MODEL_FEATURES = base.MODEL_FEATURES | dict.fromkeys(names.values(), spec)

        def __call__(self, dataset, task_feature_lengths):
            lengths = dict(task_feature_lengths)
            lengths |= dict.fromkeys(names, lengths["inputs"])
            return super().__call__(dataset, lengths)

        def _convert_example(self, example):
            converted = super()._convert_example(example)
            for name, feature in names.items():
                ids = example[name]
                converted[feature] = ids if name == "views" else tf.maximum(ids - 1, 0)
            return converted

        def get_model_feature_lengths(self, task_feature_lengths):
            lengths = dict(super().get_model_feature_lengths(task_feature_lengths))
            return lengths | dict.fromkeys(names.values(), task_feature_lengths["inputs"])

    return FeatureConverter
