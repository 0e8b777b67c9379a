"""SeqIO's registry holds what our token tables hold."""

import sys

import numpy as np
import pytest

seqio = pytest.importorskip("seqio")

import tasks  # noqa: E402, F401 (registers)
from tasks.cldr import text  # noqa: E402
from xlt_jax.data import builder, mixtures, tokens, vocab  # noqa: E402
from xlt_jax.registry import benchmarks  # noqa: E402

LENGTHS = {"inputs": 128, "targets": 64}


@pytest.fixture(scope="module")
def vocabulary():
    vocabulary = vocab.trained(text.corpus, 8192)
    builder.register_all(vocabulary)
    return vocabulary


def test_every_task_and_mixture_is_registered(vocabulary):
    expected = {n for item in benchmarks.all_benchmarks() for n in item.task_names()}
    assert set(map(builder.seqio_name, expected)) <= set(seqio.TaskRegistry.names())
    assert set(mixtures.names()) <= set(seqio.MixtureRegistry.names())
    builder.register_all(vocabulary)  # again: nothing new


@pytest.mark.parametrize("name", ["cldr_pairs.sw", "cldr_qa.ja", "cldr_tags.ar"])
def test_task_has_the_tokens_of_the_table(vocabulary, name):
    dataset = seqio.TaskRegistry.get(name).get_dataset(LENGTHS, split="test", shuffle=False)
    table = tokens.tokens(name, "test", vocabulary)
    count = 0
    for row, example in enumerate(dataset.as_numpy_iterator()):
        np.testing.assert_array_equal(example["inputs"], table.inputs[row])
        np.testing.assert_array_equal(example["targets"], table.targets[row])
        count += 1
    assert count == len(table)


def test_metric_runs_under_seqio(vocabulary):
    task = seqio.TaskRegistry.get("cldr_pairs.sw")
    targets = [row["targets"] for row in tokens.tokens("cldr_pairs.sw", "test", vocabulary).texts]
    (metric,) = task.metric_fns
    assert metric(targets, targets) == {"accuracy": 1.0}


def test_span_corruption_under_seqio(vocabulary):
    dataset = seqio.TaskRegistry.get("cldr_text.sw").get_dataset(
        LENGTHS, split="test", shuffle=False, seed=1
    )
    table = tokens.tokens("cldr_text.sw", "test", vocabulary)
    for row, example in zip(range(20), dataset.as_numpy_iterator()):
        both = np.concatenate([example["inputs"][:-1], example["targets"][:-1]])
        kept = both[both < vocabulary.vocab_size - 100]
        np.testing.assert_array_equal(np.sort(kept), np.sort(table.targets[row]))
        assert example["inputs"][-1] == example["targets"][-1] == 1


def test_mixture_has_our_rates(vocabulary):
    name = "cldr_english_intermediate"
    mixture = mixtures.get(name)
    sizes = {task: tokens.tokens(task, "train", vocabulary).size for task in mixture.tasks}
    ours = mixture.rates(sizes)
    theirs = seqio.MixtureRegistry.get(name)
    for task in theirs.tasks:
        assert theirs.get_rate(task) == pytest.approx(ours[task.name])


def test_registering_a_task_takes_few_calls(vocabulary):
    """T5X waits for it at every start; calls are counted, as times depend on the machine."""
    seqio.TaskRegistry.reset()
    seqio.MixtureRegistry.reset()
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        builder.register_all(vocabulary)
    finally:
        sys.setprofile(None)
    assert calls / len(seqio.TaskRegistry.names()) < 220  # 143 when written, 288 with partials
