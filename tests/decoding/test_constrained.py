"""Generation under an automaton against full logits without a cache; scores of greedy search."""

import functools

import jax
import numpy as np
import pytest

from xlt_jax.decoding import constrained, grammar, search
from xlt_jax.models import mt5

VOCAB, LENGTH, EOS = 48, 12, 1
FREQUENT = 6  # ends outputs of the untied network at many lengths
TAGS = [[40, 41], [40, 42], [40, 41, 43], [44]]
FORMS = {
    "untied": {},
    "tied": dict(logits_via_embedding=True),
    "scanned": dict(scan_layers=True, relative_bias="per_layer"),
}


@functools.cache
def case(form):
    """Network and random parameters."""
    sizes = dict(
        vocab_size=VOCAB,
        emb_dim=16,
        num_heads=2,
        num_encoder_layers=1,
        num_decoder_layers=2,
        head_dim=8,
        mlp_dim=24,
        mlp_activations=("gelu", "linear"),
    )
    network = mt5.Transformer(mt5.T5Config(**(sizes | FORMS[form])))
    ones = np.ones((1, 2), np.int32)
    init = jax.jit(functools.partial(network.init, enable_dropout=False))
    return network, init(jax.random.key(2), ones, ones, ones)["params"]


def sources(rows, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(2, VOCAB, (rows, 7)).astype(np.int32)
    return tokens * (np.arange(7) < rng.integers(1, 8, (rows, 1)))


def sentence(seed):
    rng = np.random.default_rng(seed)
    return [rng.integers(5, 12, rng.integers(1, 3)).tolist() for _ in range(2 + seed % 2)]


def automata(rows):
    """Of all three kinds in turn."""
    return [
        (
            lambda words: grammar.tagged_words(words, TAGS, EOS),
            lambda words: grammar.labelled_spans(words, TAGS, [45], EOS),
            lambda words: grammar.one_of([*words, [20, 21], [20]], EOS),
        )[row % 3](sentence(row))
        for row in range(rows)
    ]


@functools.partial(jax.jit, static_argnums=0)
def forward(network, params, encoder, inputs):
    return network.apply(
        {"params": params}, encoder, inputs, np.ones(inputs.shape, np.int32), enable_dropout=False
    )


def brute_force(network, params, encoder_row, automaton, length):
    """All logits at every step, from the beginning; those of other tokens are left out."""
    ids, state, score = [], 0, 0.0
    while len(ids) < length:
        edges = range(*automaton.offsets[state : state + 2])
        if not edges:
            break
        inputs = np.zeros((1, LENGTH), np.int32)
        inputs[0, 1 : len(ids) + 1] = ids
        logits = np.asarray(forward(network, params, encoder_row[None], inputs))[0, len(ids)]
        allowed = {int(automaton.tokens[edge]): edge for edge in edges}
        masked = np.full(VOCAB, -np.inf)
        masked[list(allowed)] = logits[list(allowed)]
        best = int(masked.argmax())
        score += masked[best] - np.log(np.exp(masked - masked.max()).sum()) - masked.max()
        ids.append(best)
        state = int(automaton.targets[allowed[best]])
    return ids + [0] * (length - len(ids)), score


def run(network, params, encoder, stacked, length=LENGTH):
    options = dict(max_choices=stacked.max_choices, max_decode_len=length)
    function = jax.jit(functools.partial(constrained.constrained, network, **options))
    return map(np.asarray, function(params, encoder, stacked))


@pytest.mark.parametrize("form", FORMS)
def test_equals_masking_all_logits_without_a_cache(form):
    network, params = case(form)
    encoder, rules = sources(24), automata(24)
    ids, scores = run(network, params, encoder, grammar.stack(rules))
    expected = [brute_force(network, params, e, rule, LENGTH) for e, rule in zip(encoder, rules)]
    np.testing.assert_array_equal(ids, [ids for ids, _ in expected])
    np.testing.assert_allclose(scores, [score for _, score in expected], rtol=1e-4, atol=1e-5)
    lengths = set(np.count_nonzero(ids, axis=1).tolist())
    assert len(lengths) > 4 and scores.min() < -1


def test_every_output_is_accepted():
    network, params = case("untied")
    rules = automata(48)
    ids, _ = run(network, params, sources(48), grammar.stack(rules), length=24)
    for row, rule in zip(ids.tolist(), rules):
        state = 0
        for token in row[: row.index(EOS) + 1]:
            edges = slice(*rule.offsets[state : state + 2])
            state = rule.targets[edges][rule.tokens[edges] == token].item()
        assert rule.offsets[state] == rule.offsets[state + 1]
        assert not any(row[row.index(EOS) + 1 :])


def test_an_automaton_that_allows_everything_changes_nothing():
    network, params = case("untied")
    encoder = sources(24)
    encoder[-1] = 0
    tokens = np.arange(VOCAB, dtype=np.int32)
    targets = (tokens == FREQUENT).astype(np.int32)
    everything = grammar.Automaton(np.array([0, VOCAB, VOCAB], np.int32), tokens, targets)
    ids, _ = run(network, params, encoder, grammar.stack([everything] * 24), length=6)
    greedy = jax.jit(lambda p, e: search.greedy(network, p, e, max_decode_len=6, eos_id=FREQUENT))
    np.testing.assert_array_equal(ids, greedy(params, encoder))
    assert len({list(row).index(FREQUENT) for row in ids if FREQUENT in row}) > 2


def test_rows_without_source_or_automaton_are_empty():
    network, params = case("untied")
    encoder = sources(4)
    encoder[0] = 0
    ids, scores = run(network, params, encoder, grammar.stack(automata(3), rows=4))
    assert not ids[[0, 3]].any() and not scores[[0, 3]].any()
    alone, score = run(network, params, encoder[1:2], grammar.stack(automata(3)[1:2]))
    np.testing.assert_array_equal(ids[1], alone[0])
    np.testing.assert_allclose(scores[1], score[0], rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_logits_of_given_ids_are_those_of_all(form):
    network, params = case(form)
    hidden = np.random.default_rng(0).normal(size=(3, 5, 16)).astype(np.float32)
    ids = np.array([0, 7, VOCAB - 1, 7])
    logits = network.apply({"params": params}, hidden, method="logits")
    vectors = network.apply({"params": params}, ids, method="output_vectors")
    np.testing.assert_allclose(hidden @ vectors.T, logits[..., ids], rtol=1e-4, atol=1e-5)


def test_scored_greedy_is_greedy_with_its_log_probability():
    network, params = case("untied")
    encoder = sources(24)
    encoder[-1] = 0
    options = dict(max_decode_len=6, eos_id=FREQUENT)
    scored = jax.jit(functools.partial(search.greedy_scored, network, **options))
    greedy = jax.jit(functools.partial(search.greedy, network, **options))
    ids, scores = map(np.asarray, scored(params, encoder))
    np.testing.assert_array_equal(ids, greedy(params, encoder))
    inputs = np.pad(ids, ((0, 0), (1, 0)))[:, :-1]
    logp = np.asarray(jax.nn.log_softmax(forward(network, params, encoder, inputs)))
    picked = np.take_along_axis(logp, ids[..., None], axis=-1)[..., 0]
    is_after_end = np.cumsum(ids == FREQUENT, axis=1) - (ids == FREQUENT) > 0
    expected = np.where(is_after_end, 0.0, picked).sum(axis=1)
    expected[-1] = 0.0
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    assert len(set(is_after_end.sum(axis=1))) > 2
