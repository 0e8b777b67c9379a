"""Alignment by layer: of a language with itself, and by hand at the token vectors."""

import functools

import jax
import numpy as np
import pytest

import tasks  # noqa: F401 (registers)
from tasks.cldr import text
from xlt_jax.data import tokens, vocab
from xlt_jax.data.augmentation import MaskedPairs
from xlt_jax.evaluation import layers, measures
from xlt_jax.metrics import representation
from xlt_jax.models import mt5


@pytest.fixture(scope="module")
def vocabulary():
    return vocab.trained(text.corpus, 8192)


@pytest.fixture(scope="module", params=[False, True], ids=["apart", "scanned"])
def network(request):
    return mt5.Transformer(
        mt5.T5Config(
            vocab_size=8192, emb_dim=16, num_heads=2, num_encoder_layers=2, num_decoder_layers=1,
            head_dim=8, mlp_dim=16, scan_layers=request.param,
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def params(network):
    ones = np.ones((1, 2), np.int32)
    init = jax.jit(functools.partial(network.init, enable_dropout=False))
    return init(jax.random.key(0), ones, ones, ones)["params"]


def measured(network, params, vocabulary, mixture, pairs):
    tables = layers.open_tables(mixture, vocabulary)
    return layers.measures(network, params, tables, max_pairs=pairs)


def by_name(found, layer):
    return {one.name: one.value for one in found if one.layer == layer}


def test_states_are_those_of_every_depth(network, params):
    ids = np.array([[5, 6, 7, 0], [8, 9, 0, 0]], np.int32)
    states, _ = network.apply({"params": params}, ids, method="all_states", mutable=["probes"])
    assert states.shape == (3, 2, 4, 16)
    for layer in range(3):
        expected = network.apply({"params": params}, ids, layer, method="encoder_states")
        np.testing.assert_allclose(states[layer][ids > 0], expected[ids > 0], rtol=1e-5, atol=1e-5)


def test_a_language_is_aligned_with_itself(network, params, vocabulary, monkeypatch):
    table = tokens.tokens("cldr_parallel.sw", "test", vocabulary, [MaskedPairs()])

    class Same:
        name, language, benchmark = table.name, table.language, table.benchmark

        def __len__(self):
            return len(table)

        def row(self, number):
            row = table.row(number)
            words = row["words"][len(row["inputs"]) :]
            first = words.min()
            words = words - first
            count = words.max() + 1
            links = np.array([[w, w + count] for w in np.unique(words)])
            return {
                "inputs": row["targets"],
                "targets": row["targets"],
                "words": np.concatenate([words, words + count]),
                "links": links.ravel(),
            }

    monkeypatch.setattr(layers, "tokens", lambda *_: Same())
    found = measured(network, params, vocabulary, "cldr_parallel.sw", 60)
    unique = len({tuple(Same().row(n)["inputs"]) for n in range(60)})
    assert unique == 60 and {one.layer for one in found} == {0, 1, 2}
    for layer in range(3):
        values = by_name(found, layer)
        for name in ("accuracy_cosine", "accuracy_csls", "mrr_cosine", "cka", "svcca"):
            assert values[name] == pytest.approx(1.0, abs=1e-3), (layer, name)
        assert values["aer"] < 0.2 and values["word_accuracy"] > 0.9


def test_measures_at_the_token_vectors_are_those_of_mean_vectors(network, params, vocabulary):
    found = measured(network, params, vocabulary, "cldr_parallel.de", 40)
    table = tokens.tokens("cldr_parallel.de", "test", vocabulary, [MaskedPairs()])
    embedding = np.asarray(params["token_embedder"]["embedding"], np.float64)
    sides = [
        np.stack([embedding[table.row(n)[side]].mean(axis=0) for n in range(40)])
        for side in ("inputs", "targets")
    ]
    values = by_name(found, 0)
    expected = representation.retrieval(*sides)
    both = (expected["accuracy_forward"] + expected["accuracy_backward"]) / 2
    assert values["accuracy_cosine"] == pytest.approx(both)
    assert values["cka"] == pytest.approx(representation.debiased_cka(*sides), abs=1e-4)
    assert {one.n for one in found if one.name == "cka"} == {40}
    gold = sum(len(table.row(n)["links"]) // 2 for n in range(40))
    assert 0.5 * gold < next(one.n for one in found if one.name == "aer") <= gold


def test_results_are_kept_and_shown(network, params, vocabulary, tmp_path, capsys):
    found = measured(network, params, vocabulary, "cldr_parallel.th", 20)
    measures.write(tmp_path, found)
    assert measures.read(tmp_path) == found and measures.read(tmp_path / "none") == []
    layers.show(found)
    shown = capsys.readouterr().out
    assert "CSLS" in shown and f"{by_name(found, 2)['cka']:.3f}" in shown


def test_other_tasks_are_refused(network, params, vocabulary):
    with pytest.raises(ValueError, match="is of kind 'pair'"):
        layers.open_tables("cldr_pairs.de", vocabulary)


def test_what_cannot_be_measured_is_said_before(vocabulary, tmp_path, monkeypatch):
    monkeypatch.setenv("XLT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert layers.open_tables("parallel_text", vocabulary) == []  # a mixture that skips
    with pytest.raises(ValueError, match=r"No task of parallel_text\.sw has data"):
        layers.open_tables("parallel_text.sw", vocabulary)
    (tmp_path / "parallel").mkdir()
    (tmp_path / "parallel" / "sw.test.tsv").write_text("a\tb\n" * 3)
    with pytest.raises(ValueError, match=r"parallel_text\.sw has 3 pairs"):
        layers.open_tables("parallel_text", vocabulary)
