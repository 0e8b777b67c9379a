"""Every benchmark with data runs through training and evaluation, up to XTREME's table."""

import itertools
import math
import pathlib

import jax
import numpy as np
import originals
import pytest

import tasks  # noqa: F401 (registers)
from tasks.xtreme_r import lareqa
from xlt_jax import evaluate as evaluate_program
from xlt_jax import train as train_program
from xlt_jax.data import mixtures, sources, tokens, vocab
from xlt_jax.evaluation import predictions, submission, summary, zero_shot
from xlt_jax.models import mt5
from xlt_jax.objectives import lm
from xlt_jax.registry import benchmarks, xtreme
from xlt_jax.registry.benchmarks import Request
from xlt_jax.training import step
from xlt_jax.training.config import DatasetConfig
from xlt_jax.training.partition import Partitioner

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_SHARED = (folder / "shared" / "data" for folder in [ROOT, *ROOT.parents])
SHARED = next((folder for folder in _SHARED if (folder / "MANIFEST.tsv").is_file()), None)
ROWS, SPLITS = 2, "test,validation,train"
LENGTHS = {"inputs": 128, "targets": 32}
VOCABULARY = vocab.byte_vocabulary()
ORIGINAL = [b for b in benchmarks.all_benchmarks() if not callable(b.source)]


def write_made_up_rows(folder):
    """Of the first format of every benchmark."""
    for benchmark in ORIGINAL:
        for name, text in originals.files(benchmark)[0][2].items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


@pytest.fixture(params=["made up", "shared"])
def there(request, monkeypatch, tmp_path):
    """A mixture of all tasks that have data, ``ROWS`` rows of each."""
    if request.param == "shared" and SHARED is None:
        pytest.skip("shared/data is not there")
    if request.param == "made up":
        write_made_up_rows(tmp_path / "data")
    folder = SHARED if request.param == "shared" else tmp_path / "data"
    monkeypatch.setenv("XLT_DATA_DIR", str(folder))
    monkeypatch.setenv("XLT_CACHE_DIR", str(tmp_path / "cache"))
    whole = tokens.prompted

    def prompted(benchmark, language, split, rows=None):
        read = sources.rows

        def first(*arguments):
            return list(itertools.islice(read(*arguments), 20))

        with monkeypatch.context() as patch:
            patch.setattr(lareqa, "_answers", answers)
            patch.setattr(sources, "rows", first)
            return whole(benchmark, language, split, first(benchmark, language, split))[:ROWS]

    answers = lareqa._answers.__wrapped__ if request.param == "made up" else lareqa._answers
    answers = dict_of(answers)
    monkeypatch.setattr(tokens, "prompted", prompted)
    names = [
        f"{benchmark.name}.{language}"
        for benchmark in ORIGINAL
        for language in benchmark.languages
        if request.param == "shared" or language == originals.files(benchmark)[0][0]
        if has_data(benchmark, language)
    ]
    mixture = mixtures.Mixture("everything_there", (mixtures.Part(tuple(names)),))
    monkeypatch.setitem(mixtures._MIXTURES, mixture.name, mixture)
    return mixture


def dict_of(answers):
    found = {}

    def get():
        if not found:
            found.update(answers())
        return found

    return get


def has_data(benchmark, language):
    pool = benchmarks.get(benchmark.candidates) if benchmark.candidates else None
    if benchmark.request is Request.CANDIDATES:
        return False
    splits = [split for split in SPLITS.split(",") if split in benchmark.splits]
    first = next((split for split in splits if sources.find(benchmark, language, split)), None)
    if pool is None or first is None:
        return first is not None
    codes = pool.languages if benchmark.candidates_pooled else (language,)
    return all(sources.find(pool, code, first) for code in codes)


@pytest.fixture(scope="module")
def network():
    config = mt5.T5Config(
        vocab_size=384,
        emb_dim=16,
        num_heads=2,
        num_encoder_layers=1,
        num_decoder_layers=1,
        head_dim=8,
        mlp_dim=32,
        mlp_activations=("gelu", "linear"),
        dropout_rate=0.0,
    )
    return mt5.Transformer(config)


@pytest.fixture(scope="module")
def params(network):
    ids = np.ones((1, 4), np.int32)
    make = jax.jit(lambda rng: network.init(rng, ids, ids, ids, enable_dropout=False))
    return make(jax.random.key(0))["params"]


def dataset(mixture, **changes):
    options = {"split": SPLITS, "batch_size": 64, "shuffle": True, "seed": 0, "pack": True}
    return DatasetConfig(mixture.name, LENGTHS, **(options | changes))


def test_all_run(there, network, params, tmp_path):
    # One batch of training, drawn from all tasks.
    stream, tables = train_program.open_stream(dataset(there), VOCABULARY)
    assert len(tables) == len(there.tasks)
    batch = next(stream).arrays
    forward = step.make_forward(network)
    loss = jax.jit(lambda p, b: lm.objective(forward, p, b, jax.random.key(1)))(params, batch)
    assert math.isfinite(float(loss.total)) and float(loss.weight) > 100

    # All of them scored.
    evaluator = zero_shot.of_mixture(
        network,
        VOCABULARY,
        dataset(there, pack=False, shuffle=False),
        Partitioner(devices=jax.devices()[:1]),
        missing="skip",
    )
    assert evaluator.missing == ()
    results = evaluator.run(params)
    scored = [t for t in there.tasks if benchmarks.split_task(t)[0].request.scored]
    assert list(results) == scored
    for task, result in results.items():
        assert 1 <= result.n <= ROWS, task
        assert all(math.isfinite(value) for value in result.metrics.values()), task
        held = benchmarks.split_task(task)[0].constraint and not result.truncated
        assert not (held and result.malformed), task
    predictions.write(tmp_path / "scores", 0, results)
    assert set(predictions.read_metrics(tmp_path / "scores")) == set(scored)

    # XTREME's files and table.
    evaluate_program.export(tmp_path / "submission", results, evaluator)
    known = xtreme.tasks("xtreme") | xtreme.tasks("xtreme-r")
    for task in scored:
        name, language = task.rsplit(".", 1)
        if name in known and language in known[name].languages:
            rows = submission.read_predictions(tmp_path / "submission", name, language)
            assert len(rows) == results[task].n or name == "bucc2018"
    table = summary.of_results(results)
    assert table.summary.overall.value is None
    assert any("mewslix" in name or "tydiqa" in name for name in table.summary.overall.missing)
