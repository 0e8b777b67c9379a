"""Word alignment: fast_align against its formulas and its program's results, and the formats."""

import itertools
import math
import pathlib
import sys
from collections import defaultdict

import numpy as np
import pytest
from scipy import integrate, special, stats

import tasks  # noqa: F401 (registers)
from xlt_jax.data import alignment, pharaoh
from xlt_jax.data.alignment import align, fast_align, symmetrise, train
from xlt_jax.data.pharaoh import Gold
from xlt_jax.registry import benchmarks

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_PLACES = (folder / "shared" / "data" / "word_alignment" for folder in [ROOT, *ROOT.parents])
KFTT = next((folder for folder in _PLACES if (folder / "kftt_jaen.gold").is_file()), None)
PLAIN = dict(tension=None, alpha=None)  # IBM model 1 with maximum likelihood


def theta(model) -> dict:
    """(given word or None, predicted word) -> weight."""
    given, predicted = [*model.given_ids, None], list(model.predicted_ids)
    names = ((given[w // len(predicted)], predicted[w % len(predicted)]) for w in model.words)
    return dict(zip(names, model.theta[:-1].tolist(), strict=True))


def aer(found, gold) -> float:
    """Alignment error rate of all links together (Och and Ney 2003), by its formula."""
    pairs = list(zip(found, gold, strict=True))
    hits = sum(len({*a} & {*g.sure}) + len({*a} & {*g.possible}) for a, g in pairs)
    return 1 - hits / sum(len(a) + len(g.sure) for a, g in pairs)


def made_up(num_pairs: int, seed: int = 0):
    """Pairs in a made-up language and the gold: words swap places, and one of 8 is left out."""
    generator = np.random.default_rng(seed)
    pairs, gold = [], []
    for _ in range(num_pairs):
        words = np.minimum(generator.zipf(1.3, generator.integers(2, 15)), 200)
        order = np.argsort(np.arange(len(words)) + generator.normal(0, 0.7, len(words)))
        order = order[generator.random(len(order)) > 0.125]
        pairs.append(([f"s{word}" for word in words], [f"t{words[i]}" for i in order]))
        links = tuple(sorted((int(i), j) for j, i in enumerate(order)))
        gold.append(Gold(links, links))
    return pairs, gold


# ----------------------------------------------------------------------------------------- training
def test_one_iteration_by_hand():
    """x of the first pair comes from a, b, NULL with 1/3 each, of the second from a, NULL: 1/2."""
    pairs = [(["a", "b"], ["x", "y"]), (["a"], ["x"])]
    counts = {("a", "x"): 5 / 6, ("a", "y"): 1 / 3, ("b", "x"): 1 / 3, ("b", "y"): 1 / 3}
    counts |= {(None, "x"): 5 / 6, (None, "y"): 1 / 3}
    found = theta(train(pairs, iterations=2, **PLAIN))
    shares = {("a", "x"): 5 / 7, ("a", "y"): 2 / 7, ("b", "x"): 1 / 2, ("b", "y"): 1 / 2}
    assert found == pytest.approx(shares | {(None, "x"): 5 / 7, (None, "y"): 2 / 7})
    variational = theta(train(pairs, iterations=2, tension=None, alpha=0.5))
    of_given = {"a": 7 / 6 + 1, "b": 2 / 3 + 1, None: 7 / 6 + 1}
    assert variational == pytest.approx(
        {
            (given, word): math.exp(special.psi(count + 0.5) - special.psi(of_given[given]))
            for (given, word), count in counts.items()
        }
    )


def test_m_step_is_the_mean_of_the_log_under_the_dirichlet():
    """Whose marginals are beta distributions; integrated numerically."""
    counts = np.array([0.7, 2.0, 5.5, 0.9, 1.6])
    found = alignment.m_step(counts, np.array([0, 0, 0, 1, 1]), alpha=0.3)
    for place, others in enumerate(([1, 2], [0, 2], [0, 1], [4], [3])):
        density = stats.beta(counts[place] + 0.3, (counts[others] + 0.3).sum()).pdf
        log_mean, _ = integrate.quad(lambda p, d=density: math.log(p) * d(p), 0, 1)
        assert found[place] == pytest.approx(math.exp(log_mean), rel=1e-6)


def h(i, j, n, m) -> float:
    return -abs(i / n - j / m)


def test_closed_forms_equal_the_sums():
    lengths = [(j, m, n) for m in (1, 2, 5, 12, 80) for n in (1, 3, 5, 33) for j in range(1, m + 1)]
    for tension in (0.1, 1.0, 4.0, 14.0):
        total, moment = alignment.diagonal_sums(*np.array(lengths).T, tension)
        terms = [[h(i, j, n, m) for i in range(1, n + 1)] for j, m, n in lengths]
        assert total == pytest.approx([sum(math.exp(tension * x) for x in t) for t in terms])
        expected = [sum(x * math.exp(tension * x) for x in t) for t in terms]
        assert moment == pytest.approx(expected, abs=1e-9)


def slowly_trained(pairs, iterations: int, p0: float, tension: float, alpha: float):
    """Weights and tension, word by word with plain sums."""

    def exchanged(j, m, n):  # the normaliser with the lengths in each other's place
        below = j * m // n
        terms = [math.exp(tension * h(i, j, m, n)) for i in range(1, max(below, m) + 1)]
        beyond = math.exp(tension * h(below + 1, j, m, n)) / (1 - math.exp(-tension / m))
        return sum(terms) + (beyond if below > m else 0)

    weights = defaultdict(lambda: 1e-9)
    rows = [(s, t, j) for s, t in pairs for j in range(1, len(t) + 1)]
    for iteration in range(1, iterations):
        counts, close = defaultdict(float), 0.0
        for s, t, j in rows:
            n, m, word = len(s), len(t), t[j - 1]
            near = [math.exp(tension * h(i, j, n, m)) for i in range(1, n + 1)]
            joint = [(1 - p0) * x / sum(near) * weights[w, word] for w, x in zip(s, near)]
            null = p0 * weights[None, word]
            counts[None, word] += null / (null + sum(joint))
            for i, (w, x) in enumerate(zip(s, joint), start=1):
                counts[w, word] += x / (null + sum(joint))
                close += x / (null + sum(joint)) * h(i, j - 1, n, m)
        sums = defaultdict(float)
        for (w, _), count in counts.items():
            sums[w] += count + alpha
        for (w, word), count in counts.items():
            weights[w, word] = math.exp(special.psi(count + alpha) - special.psi(sums[w]))
        for _ in range(8 if iteration > 1 else 0):
            model = 0.0
            for s, t, j in rows:
                terms = [h(i, j, len(s), len(t)) for i in range(1, len(s) + 1)]
                up = sum(x * math.exp(tension * x) for x in terms)
                model += up / exchanged(j, len(t), len(s))
            tension = min(max(tension + 20 * (close - model) / len(rows), 0.1), 14.0)
    return dict(weights), tension


@pytest.mark.parametrize("reverse", [False, True])
def test_training_equals_a_slow_one(reverse):
    pairs, _ = made_up(12, seed=3)
    options = dict(iterations=4, p0=0.1, tension=3.0, alpha=0.02)
    model = train(pairs, reverse=reverse, **options)
    turned = [(target, source) for source, target in pairs] if reverse else pairs
    full = [pair for pair in turned if pair[0] and pair[1]]
    assert any(len(s) > len(t) for s, t in full) or reverse  # j beyond m, once exchanged
    weights, tension = slowly_trained(full, **options)
    assert model.tension == pytest.approx(tension, rel=1e-9) and tension not in (0.1, 14.0)
    assert theta(model) == pytest.approx(weights, rel=1e-7)


def test_the_languages_exchanged_are_the_reverse_direction():
    pairs, _ = made_up(60)
    turned = [(target, source) for source, target in pairs]
    expected = [tuple(sorted((i, j) for j, i in links)) for links in align(turned)]
    assert align(pairs, reverse=True) == expected != align(pairs)


def test_order_of_pairs_and_size_of_chunks_change_nothing(monkeypatch):
    pairs, _ = made_up(50)
    links, model = fast_align(pairs), train(pairs)
    order = np.random.default_rng(0).permutation(len(pairs))
    shuffled = [pairs[k] for k in order]
    assert fast_align(shuffled) == [links[k] for k in order]
    assert theta(train(shuffled)) == pytest.approx(theta(model), rel=1e-9)
    monkeypatch.setattr(alignment, "_CHUNK_CELLS", 40)
    assert fast_align(pairs) == links
    assert theta(train(pairs)) == pytest.approx(theta(model), rel=1e-9)


def test_pairs_with_an_empty_side_have_no_links_and_change_nothing():
    pairs, _ = made_up(30)
    links = fast_align(pairs)
    empty = [([], ["t1", "new"]), (["s1", "other"], []), ([], [])]
    assert fast_align([*empty, *pairs, *empty]) == [(), (), (), *links, (), (), ()]
    assert fast_align(empty) == [(), (), ()] and fast_align([]) == []
    assert train([]).align([(["a", "b"], ["x", "y"])]) == [((0, 0), (1, 1))]


def test_each_predicted_word_has_at_most_one_link():
    pairs, _ = made_up(50)
    for reverse in (False, True):
        for links in align(pairs, reverse=reverse):
            predicted = [link[0 if reverse else 1] for link in links]
            assert len(set(predicted)) == len(predicted) and list(links) == sorted(links)


def test_a_known_dictionary_is_found_also_in_new_pairs():
    pairs, gold = made_up(1000)
    known, known_gold, new, new_gold = pairs[:900], gold[:900], pairs[900:], gold[900:]
    assert aer(fast_align(known), known_gold) < 0.1
    models = [train(known, reverse=reverse) for reverse in (False, True)]
    directions = [model.align(new) for model in models]
    both = [symmetrise(*links, "grow-diag-final-and") for links in zip(*directions)]
    assert aer(both, new_gold) < 0.1
    assert [model.align(known) for model in models] == [align(known), align(known, reverse=True)]
    guessed = fast_align(known, iterations=1)  # the diagonal alone
    assert aer(guessed, known_gold) > 0.3


def test_new_words_lie_on_the_diagonal():
    model = train(made_up(100)[0])
    assert model.align([(["p", "q", "r"], ["u", "v", "w"])]) == [((0, 0), (1, 1), (2, 2))]
    model = train([(["a"], ["x", "y"]), (["b"], ["x"])])
    assert model.align([(["b", "new"], ["new"])]) == [((1, 0),)]


def test_words_that_never_met_are_seldom_linked():
    model = train([(["a"], ["x"]), (["b"], ["y"])])
    assert model.align([(["b", "a"], ["y"])]) == [((0, 0),)]  # though the last is at y's place


def test_of_equals_null_is_taken_or_else_the_first_word():
    pairs = [(["a", "b", "a", "c"], ["x", "y"]), (["a"], ["x"]), (["b"], ["z"]), (["c"], ["y"])]
    assert fast_align(pairs, iterations=1, tension=None) == [()] * 4
    links, *_ = align(pairs, optimise_tension=False)
    assert (0, 0) in links and (2, 0) not in links  # equally near, and the same word


def test_tension_stays_in_its_range():
    source, target = ([f"{side}{k}" for k in range(30)] for side in "st")
    assert train([(source, target)]).tension == 14
    lexicon = [([one], [other]) for one, other in zip(source, target)]
    assert train([(source, target[::-1]), *lexicon]).tension == 0.1


@pytest.mark.parametrize(
    "wrong", [dict(iterations=0), dict(p0=1.0), dict(p0=0.0), dict(tension=0.0), dict(alpha=-1.0)]
)
def test_wrong_options(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} .*must be positive"):
        fast_align([], **wrong)


def test_advance_names_every_step():
    steps = []
    fast_align(made_up(3)[0], iterations=2, advance=steps.append)
    each = ("words", "iteration 1 of 2", "iteration 2 of 2")
    assert sorted(steps) == sorted(f"{d}: {s}" for d in ("forward", "reverse") for s in each)


# ----------------------------------------------------------------------------- the original program
# What fast_align of 2020-01-08 (cab1e9a) with -d -o -v and atools -c grow-diag-final-and give: the
# tensions of both directions as printed, and AER in percent. All links were equal to ours.
KFTT_ORIGINAL = (10.4475, 4.57422, 71.206)
CLDR_ORIGINAL = {"fr": (2.50571, 4.04478, 19.443), "zh": (4.02062, 3.40626, 37.123)}


@pytest.mark.skipif(KFTT is None, reason="shared/data/word_alignment is not there")
def test_kftt_as_the_original():
    lines = (KFTT / "kftt_jaen.src-tgt").read_text(encoding="utf-8").split("\n")[:-1]
    gold = pharaoh.read_links((KFTT / "kftt_jaen.gold").read_text().splitlines(), first=1)
    pairs = pharaoh.read_pairs(lines)
    for links, (source, target) in zip(gold, pairs, strict=True):
        assert all(i < len(source) and j < len(target) for i, j in links.possible)
    *tensions, percent = KFTT_ORIGINAL
    found = [train(pairs, reverse=reverse).tension for reverse in (False, True)]
    assert found == pytest.approx(tensions, rel=1e-5)
    assert 100 * aer(fast_align(pairs), gold) == pytest.approx(percent, abs=0.1)


@pytest.mark.parametrize("language", CLDR_ORIGINAL)
def test_cldr_as_the_original(language):
    """Babel's version may move the pairs: hence the wide limits."""
    rows = list(benchmarks.get("cldr_parallel").source(language, "train"))
    pairs = [(row["source_tokens"], row["target_tokens"]) for row in rows]
    links = [tuple(map(tuple, row["alignment"])) for row in rows]
    *tensions, percent = CLDR_ORIGINAL[language]
    found = [train(pairs, reverse=reverse).tension for reverse in (False, True)]
    assert found == pytest.approx(tensions, rel=0.05)
    assert 100 * aer(fast_align(pairs), list(map(Gold, links, links))) < percent + 1


# --------------------------------------------------------------------------------- symmetrisation
def drawn(picture: str, marks: str):
    lines = picture.split()
    return tuple((i, j) for i, line in enumerate(lines) for j, c in enumerate(line) if c in marks)


# Rows are source words. F forward only, R reverse only, B both; then what is kept of them.
PICTURES = [
    (
        "B... .F.. ...R F...",
        {
            "intersection": "B... .... .... ....",
            "union": "B... .B.. ...B B...",
            "grow-diag": "B... .B.. .... ....",
            "grow-diag-final": "B... .B.. ...B B...",
            "grow-diag-final-and": "B... .B.. ...B ....",
        },
    ),
    (
        "BF. .B. ..R",
        {
            "intersection": "B.. .B. ...",
            "union": "BB. .B. ..B",
            "grow-diag": "B.. .B. ..B",
            "grow-diag-final": "B.. .B. ..B",
            "grow-diag-final-and": "B.. .B. ..B",
        },
    ),
    # Sorted order takes (0, 0) first, after which (0, 1) has no free word; Moses takes both.
    ("FR .B", {"grow-diag": "B. .B"}),
    # Nothing to grow from; the forward direction comes first.
    ("R.. F..", {"grow-diag": "", "grow-diag-final": "B.. B..", "grow-diag-final-and": "... B.."}),
    # Two sweeps: (0, 2) touches only what the first one adds.
    ("..F .F. B..", {"grow-diag": "..B .B. B.."}),
]


@pytest.mark.parametrize(("picture", "expected"), PICTURES, ids=[p for p, _ in PICTURES])
def test_symmetrisation_by_hand(picture, expected):
    forward, reverse = drawn(picture, "FB"), drawn(picture, "RB")
    assert symmetrise(forward, reverse, "forward") == forward
    assert symmetrise(forward, reverse, "reverse") == reverse
    for how, kept in expected.items():
        assert symmetrise(forward, reverse, how) == drawn(kept, "B"), how


def grown(forward, reverse, how):
    """On matrices, cell by cell."""
    size = 1 + max((max(link) for link in {*forward, *reverse}), default=0)
    either, links = np.zeros((2, size, size), bool)
    for i, j in {*forward, *reverse}:
        either[i, j] = True
        links[i, j] = (i, j) in forward and (i, j) in reverse
    changed = True
    while changed:
        changed = False
        for i, j in itertools.product(range(size), repeat=2):
            around = links[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].any()
            free = not (links[i].any() and links[:, j].any())
            if either[i, j] and not links[i, j] and around and free:
                links[i, j] = changed = True
    for direction in (forward, reverse) if "final" in how else ():
        for i, j in sorted(direction):
            linked = links[i].any(), links[:, j].any()
            links[i, j] |= not (any(linked) if how.endswith("and") else all(linked))
    return tuple(zip(*(axis.tolist() for axis in np.nonzero(links))))


def random_links(generator, cells: int):
    places = sorted(generator.choice(36, cells, replace=False).tolist())
    return tuple(divmod(place, 6) for place in places)


def test_symmetrisation_equals_a_slow_one():
    generator = np.random.default_rng(1)
    for _ in range(300):
        forward, reverse = (random_links(generator, generator.integers(0, 14)) for _ in "fr")
        both = set(forward) & set(reverse)
        for how in alignment.GROWN:
            found = symmetrise(forward, reverse, how)
            assert found == grown(forward, reverse, how)
            assert both <= set(found) <= {*forward, *reverse}


def test_choices_of_fast_align():
    pairs, _ = made_up(40)
    forward, reverse = align(pairs), align(pairs, reverse=True)
    for how in alignment.SYMMETRISATIONS:
        expected = [symmetrise(*links, how) for links in zip(forward, reverse)]
        assert fast_align(pairs, symmetrisation=how) == expected
    for function in (fast_align, alignment.eflomal_align):
        with pytest.raises(ValueError, match="Unknown symmetrisation 'grow'; known: forward, rev"):
            function(pairs, symmetrisation="grow")


# ---------------------------------------------------------------------------------- other aligners
def test_eflomal():
    pytest.importorskip("eflomal")
    pairs, gold = made_up(300)
    with_empty = [([], ["a"]), *pairs, (["a b"], [])]
    links = alignment.eflomal_align(with_empty)
    assert links[0] == links[-1] == () and alignment.eflomal_align([([], [])]) == [()]
    assert aer(links[1:-1], gold) < 0.1


def test_without_eflomal_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "eflomal", None)
    with pytest.raises(ImportError, match="pip install eflomal"):
        alignment.eflomal_align([(["a"], ["b"])])


def test_mutual_argmax_by_hand():
    """Cosines by row: 1 0.6 0, 0.6 1 0 (of half the length), and a third nearest to the first."""
    source = np.array([[1.0, 0.0, 0.0], [0.3, 0.4, 0.0], [0.9, 0.1, 0.0], [0.0, 0.0, 0.0]])
    target = np.array([[6.0, 8.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    assert alignment.mutual_argmax(source, target) == ((0, 1), (1, 0))
    assert alignment.mutual_argmax(target, source) == ((0, 1), (1, 0))
    assert alignment.mutual_argmax(source[1:], target) == ((0, 0), (1, 1))
    assert alignment.mutual_argmax(source[1:], target, threshold=0.999) == ((0, 0),)
    assert alignment.mutual_argmax(source[:0], target) == ()


def test_words_like_no_other_have_no_link():
    """The second row is opposite to the only column, the first has similarity 0 to it."""
    source, target = np.array([[0.0, 0.0], [-1.0, 0.0]]), np.array([[1.0, 0.0]])
    assert alignment.mutual_argmax(source, target) == ()
    assert alignment.mutual_argmax(target, source) == ()


def test_mutual_argmax_follows_its_words():
    generator = np.random.default_rng(2)
    target = generator.normal(size=(9, 16))
    order = generator.permutation(9)
    source = target[order] + generator.normal(0, 0.05, (9, 16))
    expected = tuple((i, int(j)) for i, j in enumerate(order))
    assert alignment.mutual_argmax(source, target.astype(np.float16)) == expected


def test_vector_of_a_word_is_the_mean_of_its_pieces():
    states = np.array([[9.0, 9.0], [1.0, 2.0], [3.0, 6.0], [5.0, 5.0], [7.0, 7.0]])
    vectors = alignment.word_vectors(states, [-1, 0, 0, 2, -1], num_words=4)
    assert vectors.tolist() == [[2, 4], [0, 0], [5, 5], [0, 0]]


# ------------------------------------------------------------------------------------------- files
@pytest.mark.parametrize("first", [0, 1])
def test_pharaoh_lines_are_read_as_written(first):
    generator = np.random.default_rng(3)
    alignments = [random_links(generator, cells) for cells in (0, 1, 5, 20)]
    lines = pharaoh.links_as_text(alignments, first=first)
    assert pharaoh.read_links(lines, first=first) == [Gold(a, a) for a in alignments]


def test_possible_links():
    found = pharaoh.read_links(["2-3 1?1 10p1 2-2\n", ""], first=1)
    sure = ((1, 1), (1, 2))
    assert found == [Gold(sure, ((0, 0), *sure, (9, 0))), Gold((), ())]
    assert pharaoh.links_as_text([sure], first=1) == ["2-2 2-3"]


@pytest.mark.parametrize("wrong", ["3", "1-", "-1-2", "1-2-3", "1:2", "a-b", "1-0"])
def test_wrong_links_name_their_line(wrong):
    with pytest.raises(
        ValueError, match=rf"Line 2: '{wrong}' is no link\. Allowed .* counted from 1"
    ):
        pharaoh.read_links(["1-1", f"1-2 {wrong}"], first=1)


def test_parallel_text():
    lines = ["a b\u3000c \u3000 ||| x  y\n", "||| x", "a\t|||\n", "|||"]
    first, *others = pharaoh.read_pairs(lines)
    assert first == (("a", "b\u3000c", "\u3000"), ("x", "y"))
    assert others == [((), ("x",)), (("a",), ()), ((), ())]


@pytest.mark.parametrize(("wrong", "times"), [("a b", 0), ("", 0), ("a ||| b ||| c", 2)])
def test_wrong_parallel_text_names_its_line(wrong, times):
    with pytest.raises(ValueError, match=rf"Line 2 has {times} times the word '\|\|\|'.*Allowed"):
        pharaoh.read_pairs(["a ||| b", wrong])
