"""The evaluator on a tiny random network: results are those of one row at a time."""

import dataclasses
import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import VOCAB, Numbers, benchmark, build

from xlt_jax.decoding import embed, rank, search
from xlt_jax.evaluation import zero_shot
from xlt_jax.metrics import classification, retrieval, span_qa
from xlt_jax.registry.benchmarks import Request
from xlt_jax.training.partition import Partitioner

EXACT = (classification.accuracy, classification.exact)
SHORT = benchmark("short", Request.GENERATE, *EXACT, max_target_tokens=3)
LONG = benchmark("long", Request.GENERATE, span_qa.squad, span_qa.f1, max_target_tokens=5)
PAIRS = benchmark("pairs", Request.RANK, *EXACT)
CHOICE = benchmark("choice", Request.RANK, *EXACT)
FIND = benchmark("find", Request.EMBED, retrieval.accuracy_at_1, classification.exact)
LANGUAGES = ("en", "de", "sw")


def table(bench, language, rows=11, longest=22):
    draw = np.random.default_rng(sum(map(ord, bench.name + language)))

    def text(most):
        return " ".join(map(str, draw.integers(3, VOCAB, draw.integers(1, most + 1))))

    texts = []
    for number in range(rows):
        example = {"id": f"{language}-{number}", "inputs": text(longest), "targets": text(4)}
        if bench is PAIRS:  # one set of answers for all rows
            example |= {"choices": ["5 6", "7 50", "8 9"], "targets": "7 50"}
        if bench is CHOICE:
            choices = [text(5) for _ in range(draw.integers(2, 4))]
            example |= {"choices": choices, "targets": choices[0]}
        texts.append(example)
    return build(bench, language, texts)


@pytest.fixture(scope="module")
def tables():
    benches = (SHORT, LONG, PAIRS, CHOICE, FIND)
    return {
        f"{bench.name}.{language}": table(bench, language)
        for bench in benches
        for language in LANGUAGES
    }


@pytest.fixture(scope="module")
def pooled(model, tables):
    return zero_shot.evaluate(model.network, model.params, tables, Numbers())


def one_of_each(tables):
    """A task of each way of asking: every shape is compiled anew in some tests."""
    return {task: tables[task] for task in ("long.de", "pairs.sw", "find.en")}


def answers(result):
    return [row.prediction for row in result.predictions]


def one_row(ids, length):
    return jnp.asarray(np.pad(ids, (0, length - len(ids))), jnp.int32)[None]


def naive_answers(model, made):
    """Row by row, each padded to the same length: no pooling, no buckets, no batches."""
    bench = made.benchmark
    encode = jax.jit(lambda ids: embed.embed(model.network, model.params, ids))
    score = jax.jit(lambda ids, choices: rank.rank(model.network, model.params, ids, choices))
    generate = jax.jit(
        lambda ids: search.greedy(
            model.network, model.params, ids, max_decode_len=bench.max_target_tokens
        )
    )
    inputs = [one_row(made.inputs[row], 50) for row in range(len(made))]
    if bench.request is Request.GENERATE:
        return [Numbers().decode(np.asarray(generate(ids)[0]).tolist()) for ids in inputs]
    if bench.request is Request.EMBED:
        targets = [one_row(made.targets[row], 50) for row in range(len(made))]
        queries = np.concatenate([encode(ids) for ids in inputs])
        candidates = np.concatenate([encode(ids) for ids in targets])
        return [made.texts[best]["targets"] for best in (queries @ candidates.T).argmax(axis=1)]
    found = []
    for row, text in enumerate(made.texts):
        first = made.choice_offsets[row]
        scores = [
            float(score(inputs[row], one_row(made.choices[first + number], 9)[None])[0, 0])
            for number in range(len(text["choices"]))
        ]
        found.append(text["choices"][int(np.argmax(scores))])
    return found


@pytest.mark.parametrize("task", ["short.en", "long.de", "pairs.sw", "choice.en", "find.de"])
def test_equals_one_row_at_a_time(model, tables, pooled, task):
    expected = naive_answers(model, tables[task])
    assert answers(pooled[task]) == expected
    assert len(set(expected)) > 1  # not a constant that anything would give


def test_a_task_alone_equals_all_pooled(model, tables, pooled):
    for task in ("short.sw", "long.en", "pairs.de", "choice.sw", "find.en"):
        made = tables[task]
        alone = zero_shot.evaluate(model.network, model.params, {task: made}, Numbers())
        assert alone == {task: pooled[task]}


@pytest.mark.parametrize("options", [{"tokens_per_batch": 1}, {"logits_per_batch": 1}])
def test_batch_sizes_change_nothing(model, tables, pooled, options):
    few = one_of_each(tables)
    result = zero_shot.evaluate(model.network, model.params, few, Numbers(), **options)
    assert result == {task: pooled[task] for task in few}


def test_row_order_changes_nothing(model, tables, pooled):
    for task in ("long.en", "choice.de", "find.sw"):
        made = tables[task]
        order = np.random.default_rng(0).permutation(len(made))
        shuffled = build(made.benchmark, made.language, [made.texts[row] for row in order])
        result = zero_shot.evaluate(model.network, model.params, {task: shuffled}, Numbers())[task]
        assert result.predictions == [pooled[task].predictions[row] for row in order]
        assert result.metrics == pytest.approx(pooled[task].metrics)


def test_results_are_complete(tables, pooled):
    assert list(pooled) == list(tables)
    for task, result in pooled.items():
        bench = tables[task].benchmark
        targets = [row["targets"] for row in tables[task].texts]
        assert result.metrics == bench.metric(targets, answers(result))
        assert (result.n, result.chance, result.truncated) == (11, 0.25, 0)
        assert [row.id for row in result.predictions] == [r["id"] for r in tables[task].texts]
        mean = sum(row.score for row in result.predictions) / result.n
        assert mean == pytest.approx(result.metrics[result.main_metric])


def test_generation_respects_each_benchmarks_limit(pooled):
    assert max(len(answer.split()) for answer in answers(pooled["short.en"])) == 3
    assert max(len(answer.split()) for answer in answers(pooled["long.en"])) == 5


def test_few_compilations_and_none_in_a_second_call(model, tables):
    compiled = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.clear_caches()
    evaluator = zero_shot.Evaluator(model.network, Numbers(), tables)
    # 15 tasks ask in 8 ways at most (2 lengths of answers, 5 shapes of choices, embedding), and
    # each way has two lengths of inputs.
    assert evaluator.num_shapes <= 2 * 8
    functions = (zero_shot._greedy, zero_shot._rank, zero_shot._embed)
    evaluator.run(model.params)
    assert sum(function._cache_size() for function in functions) == evaluator.num_shapes
    later = jax.tree.map(lambda leaf: leaf + 0.1, model.params)
    jax.monitoring.register_event_duration_secs_listener(listen)
    evaluator.run(later)
    zero_shot.evaluate(model.network, later, tables, Numbers())  # another evaluator: shared
    jax.jit(lambda x: x * 3)(1.0)  # the listener does hear compilations
    assert len(compiled) == 1


def test_truncated_inputs_are_counted_and_keep_their_end(model):
    texts = [
        {"id": "0", "inputs": "5 6 7 8 9 10", "targets": "5"},  # 7 ids with the end
        {"id": "1", "inputs": "5 6 7", "targets": "5"},
    ]
    cut = [texts[0] | {"inputs": "5 6 7"}, texts[1]]
    evaluate = functools.partial(zero_shot.evaluate, model.network, model.params)
    for bench in (LONG, FIND):
        task = f"{bench.name}.en"
        long = {task: build(bench, "en", texts)}
        assert evaluate(long, Numbers(), max_input_length=7)[task].truncated == 0
        result = evaluate(long, Numbers(), max_input_length=4)[task]
        assert result.truncated == 1
        whole = evaluate({task: build(bench, "en", cut)}, Numbers())[task]
        assert answers(result) == answers(whole)
        assert result.predictions[0].inputs == "5 6 7 8 9 10"


@pytest.mark.parametrize("num_partitions", [1, 2])
def test_eight_devices_equal_one(model, tables, pooled, num_partitions):
    few = one_of_each(tables)
    partitioner = Partitioner(num_partitions=num_partitions)
    shardings = partitioner.param_shardings(model.axes, model.params)
    with partitioner.context():
        result = zero_shot.evaluate(
            model.network,
            jax.device_put(model.params, shardings),
            few,
            Numbers(),
            shard_batch=partitioner.shard_batch,
            row_multiple=partitioner.rows_multiple,
        )
    assert result == {task: pooled[task] for task in few}


def test_progress_ends_at_all_rows(model, tables):
    seen = []
    zero_shot.evaluate(
        model.network,
        model.params,
        {"short.en": tables["short.en"], "find.en": tables["find.en"]},
        Numbers(),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == 11 + 22  # find: inputs and targets


def test_bad_input(model, tables):
    make = functools.partial(zero_shot.Evaluator, model.network, Numbers())
    with pytest.raises(ValueError, match="No tasks to evaluate"):
        make({})
    with pytest.raises(ValueError, match="tokens_per_batch is 0"):
        make(tables, tokens_per_batch=0)
    unscored = dataclasses.replace(SHORT, request=Request.TRAIN_ONLY)
    training_only = dataclasses.replace(tables["short.en"], benchmark=unscored)
    with pytest.raises(ValueError, match=r"without a score of their own: short\.en"):
        make({"short.en": training_only})
    larger = Numbers()
    larger.vocab_size = VOCAB + 1
    with pytest.raises(ValueError, match="65 ids and the network only 64"):
        zero_shot.Evaluator(model.network, larger, tables)


def test_evaluation_does_not_import_tensorflow():
    program = (
        "import sys, tempfile\n"
        "from xlt_jax.evaluation import predictions, tensorboard, zero_shot\n"
        "tensorboard.ScalarWriter(tempfile.mkdtemp()).write(1, {'a': 1.0})\n"
        "print([m for m in ('tensorflow', 'seqio', 'keras') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
