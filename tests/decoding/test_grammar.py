"""Automata accept exactly the outputs that a plain enumeration lists."""

import itertools

import numpy as np
import pytest

from xlt_jax.decoding import grammar

EOS = 1
LABELS = ([50, 51], [50, 52], [53])


def transitions(automaton, state):
    """Token -> next state; checks that every token occurs once."""
    edges = slice(*automaton.offsets[state : state + 2])
    tokens = automaton.tokens[edges].tolist()
    assert tokens == sorted(set(tokens))
    return dict(zip(tokens, automaton.targets[edges].tolist()))


def accepted(automaton):
    """All outputs, as tuples without EOS; every path must reach the end."""
    outputs, paths = set(), [((), 0)]
    while paths:
        ids, state = paths.pop()
        following = transitions(automaton, state)
        assert following, f"{ids} cannot be completed"
        for token, target in following.items():
            if token == EOS:
                assert not transitions(automaton, target)
                assert ids not in outputs
                outputs.add(ids)
            else:
                paths.append(((*ids, token), target))
    return outputs


def join(parts):
    return tuple(token for part in parts for token in part)


def all_tagged(words, tags):
    return {
        join(part for pair in zip(words, chosen) for part in pair)
        for chosen in itertools.product(tags, repeat=len(words))
    }


def all_spans(words, labels, separator, begin=0):
    """Every labelled run of words from word ``begin`` on, with whatever may follow it."""
    outputs = {()}
    for first, last in itertools.combinations(range(begin, len(words) + 1), 2):
        span = join(words[first:last])
        for rest in all_spans(words, labels, separator, last):
            tail = (*separator, *rest) if rest else ()
            outputs |= {(*label, *span, *tail) for label in labels if span}
    return outputs


@pytest.mark.parametrize(
    "tags",
    [
        [[50], [51]],
        [[50, 51], [50, 52], [50, 51, 53], [54]],  # shared beginnings, one the whole of another
        [[50], [50, 5]],  # with a word that begins with 5, a tag or the word goes on
        [[5], [5, 5]],  # outputs that can be read in several ways
        [[50], [50]],
    ],
)
@pytest.mark.parametrize("words", [[], [[5]], [[5, 6], [7], [5]], [[], [5], [], [], [5, 6]]])
def test_tagged_words(words, tags):
    assert accepted(grammar.tagged_words(words, tags, EOS)) == all_tagged(words, tags)


def test_a_long_sentence_has_few_states():
    words = [[i, i + 1] for i in range(100, 200)]
    automaton = grammar.tagged_words(words, [[50, 51], [50, 52], [53]], EOS)
    assert automaton.num_states == 100 * (2 + 2) + 2
    assert all(array.dtype == np.int32 for array in vars(automaton).values())


@pytest.mark.parametrize(
    "words",
    [
        [],
        [[]],
        [[5]],
        [[5], [6], [7]],
        [[5], [5], [5]],
        [[5, 6], [5], [], [5, 6]],
        [[5], [6], [5], [7]],
        [[60], [5], [60]],  # the separator's first id is a word
        [[5], [50], [51]],  # a label's ids are words
    ],
)
def test_labelled_spans(words):
    expected = all_spans(words, LABELS, [60, 61])
    assert accepted(grammar.labelled_spans(words, LABELS, [60, 61], EOS)) == expected


@pytest.mark.parametrize("seed", range(30))
def test_labelled_spans_of_random_sentences(seed):
    """Few different ids, so that words, labels and separator are confused in every way."""
    rng = np.random.default_rng(seed)

    def words(most, shortest=1):
        return [
            rng.integers(5, 8, rng.integers(shortest, 3)).tolist()
            for _ in range(rng.integers(1, most + 1))
        ]

    sentence, labels, (separator, *_) = words(4, 0), words(2), words(1)
    expected = all_spans(sentence, labels, separator)
    assert accepted(grammar.labelled_spans(sentence, labels, separator, EOS)) == expected


@pytest.mark.parametrize("words", [[[5]] * 100, [[5], [6]] * 50, [[5, 5]] * 50], ids=str)
def test_recurring_words_do_not_multiply_states(words):
    automaton = grammar.labelled_spans(words, LABELS, [60, 61], EOS)
    assert automaton.num_states < 20 * len(words)


def test_one_of():
    choices = [[5], [5, 6], [7, 8], [7, 9], []]
    assert accepted(grammar.one_of(choices, EOS)) == set(map(tuple, choices))


def test_a_stack_holds_every_automaton():
    automata = [
        grammar.one_of([[5], [9, 6]], EOS),
        grammar.labelled_spans([[5], [6], [70]], LABELS, [60], EOS),
    ]
    stacked = grammar.stack(automata, rows=4)
    for array in stacked:
        assert array.shape[0] == 4 and array.dtype == np.int32
        assert array.shape[1] & (array.shape[1] - 1) == 0
    most = 0
    for row, automaton in enumerate(automata):
        one = grammar.Automaton(
            stacked.offsets[row],
            stacked.ids[row][stacked.tokens[row]],
            stacked.targets[row],
        )
        assert accepted(one) == accepted(automaton)
        most = max(most, np.diff(automaton.offsets).max())
    assert not np.diff(stacked.offsets[2:]).any()
    assert most <= stacked.max_choices < 2 * most


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: grammar.one_of([], EOS), "choices"),
        (lambda: grammar.tagged_words([[5]], [], EOS), "tags"),
        (lambda: grammar.tagged_words([[5]], [[50], []], EOS), "tags"),
        (lambda: grammar.labelled_spans([[5]], [[]], [60], EOS), "labels"),
        (lambda: grammar.labelled_spans([[5]], [[50]], [], EOS), "separator"),
        (lambda: grammar.stack([]), "0 automata"),
        (lambda: grammar.stack([grammar.one_of([[5]], EOS)] * 3, rows=2), "3 automata for 2 rows"),
    ],
)
def test_impossible_grammars_are_refused(make, name):
    with pytest.raises(ValueError, match=name):
        make()
