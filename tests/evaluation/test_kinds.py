"""What the evaluator does besides plain generation: windows, tags, candidates, parts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import VOCAB, Numbers, benchmark, build

from xlt_jax.decoding import embed, search
from xlt_jax.evaluation import parts, pools, zero_shot
from xlt_jax.metrics import classification, retrieval, span_qa, tagging
from xlt_jax.registry.benchmarks import LabelledSpans, Request, TaggedWords

ANSWER = benchmark("answer", Request.GENERATE, span_qa.squad, span_qa.f1, max_target_tokens=4)
TAGS = ("60", "61 62", "61")


def parse_tags(example, text):
    try:
        words_and_tags(text, example["words"])
    except (AssertionError, IndexError):
        return text, False
    return text, True


TAG = benchmark(
    "tag",
    Request.GENERATE,
    tagging.tag_accuracy,
    tagging.sentence_accuracy,
    max_target_tokens=40,
    constraint=lambda row: TaggedWords(tuple(row["words"]), TAGS),
    parse=parse_tags,
)
SPAN = dataclasses.replace(
    TAG,
    name="span",
    constraint=lambda row: LabelledSpans(tuple(row["words"]), ("60", "61"), "62", "63"),
)


def texts_of(count, longest, seed=0, **fields):
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        words = [str(word) for word in draw.integers(3, 50, draw.integers(2, longest))]
        rows.append({"id": str(number), "inputs": " ".join(words), "targets": "5", "words": words})
    return [row | fields for row in rows]


def evaluate(model, tables, **options):
    return zero_shot.evaluate(model.network, model.params, tables, Numbers(), **options)


def words_and_tags(text, words):
    """The tags of a text that copies the words, or an assertion error."""
    rest, tags = text.split(), []
    for word in words:
        assert rest.pop(0) == word
        tag = [rest.pop(0)]
        if tag == ["61"] and rest[:1] == ["62"]:
            tag.append(rest.pop(0))
        assert " ".join(tag) in TAGS
        tags.append(" ".join(tag))
    assert not rest
    return tags


def test_tagged_words_are_always_well_formed(model):
    rows = texts_of(13, 9)
    free = evaluate(model, {"tag.en": build(TAG, "en", rows)}, constrain=False)["tag.en"]
    assert free.malformed > 0
    held = evaluate(model, {"tag.en": build(TAG, "en", rows)})["tag.en"]
    assert held.malformed == 0
    found = [
        words_and_tags(row.prediction, text["words"]) for row, text in zip(held.predictions, rows)
    ]
    assert len({tag for tags in found for tag in tags}) > 1


def test_labelled_spans_are_always_well_formed(model):
    rows = texts_of(13, 9, seed=1)
    held = evaluate(model, {"span.en": build(SPAN, "en", rows)})["span.en"]
    for row, text in zip(held.predictions, rows):
        if row.prediction == "63":
            continue
        place = 0
        for piece in row.prediction.split(" 62 "):
            label, *span = piece.split()
            assert label in ("60", "61") and span
            starts = [
                start
                for start in range(place, len(text["words"]))
                if text["words"][start : start + len(span)] == span
            ]
            assert starts
            place = starts[0] + len(span)


def test_a_long_context_is_read_in_windows(model):
    """The answer is that of the window whose answer has the largest log-probability."""
    draw = np.random.default_rng(3)
    context = " ".join(str(word) for word in draw.integers(3, 50, 20))
    rows = [
        {"id": "0", "inputs": f"50 51 {context}", "targets": "5", "context": context},
        {"id": "1", "inputs": "50 51 7 8", "targets": "5", "context": "7 8"},
    ]
    table = dataclasses.replace(build(ANSWER, "en", rows), context_starts=np.array([2, 2]))
    table.__dict__["texts"] = rows
    limit = pools.MIN_WINDOW + 2 + 1
    result = evaluate(model, {"answer.en": table}, max_input_length=limit)["answer.en"]
    assert result.truncated == 0

    ids = table.inputs[0]
    windows = [
        np.concatenate([ids[:2], ids[2 + start : 18 + start][: 22 - 2 - start], [1]])
        for start in (0, 8)
    ]
    assert all(len(window) <= limit for window in windows)
    assert {int(i) for window in windows for i in window} == {int(i) for i in ids}
    answers = []
    for window in windows:
        made, score = search.greedy_scored(
            model.network, model.params, jnp.asarray(window)[None], max_decode_len=4
        )
        answers.append((float(score[0]), Numbers().decode(made[0].tolist())))
    assert result.predictions[0].prediction == max(answers)[1]
    whole = evaluate(model, {"answer.en": table})["answer.en"]
    assert result.predictions[1].prediction == whole.predictions[1].prediction
    cut = dataclasses.replace(table, context_starts=None)
    cut.__dict__["texts"] = rows
    assert evaluate(model, {"answer.en": cut}, max_input_length=limit)["answer.en"].truncated == 1


def test_classification_by_generation_counts_what_is_no_choice(model):
    rows = [row | {"choices": ["5", "6"]} for row in texts_of(9, 9)]
    bench = benchmark("pairs", Request.RANK, classification.accuracy, classification.exact)
    table = build(bench, "en", rows)
    ranked = evaluate(model, {"pairs.en": table})["pairs.en"]
    assert ranked.malformed == 0
    assert {row.prediction for row in ranked.predictions} <= {"5", "6"}
    generated = evaluate(model, {"pairs.en": table}, classify_by="generate")["pairs.en"]
    outside = sum(row.prediction not in ("5", "6") for row in generated.predictions)
    assert generated.malformed == outside > 0


def candidates_of(count, seed):
    pool = benchmark("pool", Request.CANDIDATES, classification.accuracy, classification.exact)
    return build(pool, "en", texts_of(count, 12, seed))


def test_candidates_are_ranked_by_their_ids(model):
    candidates = candidates_of(30, seed=7)
    queries = [row | {"targets": "3 4"} for row in texts_of(5, 12, seed=8)]
    queries[0]["inputs"] = candidates.texts[4]["inputs"]
    bench = benchmark(
        "find", Request.EMBED, retrieval.map_at_20, retrieval.average_precision_at_20,
        candidates="pool", top_k=20,
    )  # fmt: skip
    table = build(bench, "en", queries)
    found = evaluate(model, {"find.en": table}, candidates={"find.en": [candidates]})["find.en"]
    ranked = found.predictions[0].prediction.split()
    assert ranked[0] == "4" and len(ranked) == len(set(ranked)) == 20

    def vector(ids):
        return np.asarray(embed.embed(model.network, model.params, jnp.asarray(ids)[None]))[0]

    products = [vector(table.inputs[1]) @ vector(candidates.inputs[row]) for row in range(30)]
    best = np.argsort(-np.array(products), kind="stable")[:20]
    assert found.predictions[1].prediction.split()[:3] == [str(row) for row in best[:3]]
    assert found.metrics["map_at_20"] == pytest.approx(
        np.mean([row.score for row in found.predictions])
    )


def test_mined_pairs_have_scores_and_each_candidate_once(model):
    candidates = candidates_of(12, seed=7)
    queries = [row | {"targets": "3"} for row in texts_of(9, 12, seed=8)]
    queries[2]["inputs"] = candidates.texts[4]["inputs"]
    bench = benchmark(
        "mine", Request.EMBED, classification.accuracy, classification.exact,
        candidates="pool", mined=True,
    )  # fmt: skip
    table = build(bench, "en", queries)
    found = evaluate(model, {"mine.en": table}, candidates={"mine.en": [candidates]})["mine.en"]
    pairs = [row.prediction.split() for row in found.predictions if row.prediction]
    assert len({candidate for candidate, _ in pairs}) == len(pairs)
    assert found.predictions[2].prediction.split()[0] == "4"
    assert float(found.predictions[2].prediction.split()[1]) > 1


@pytest.fixture
def mixed(model):
    rows = texts_of(9, 9)
    candidates = candidates_of(30, seed=7)
    find = benchmark(
        "find", Request.EMBED, retrieval.map_at_20, retrieval.average_precision_at_20,
        candidates="pool", top_k=3,
    )  # fmt: skip
    tables = {
        "tag.en": build(TAG, "en", rows),
        "answer.en": build(ANSWER, "en", texts_of(40, 20, seed=4)),
        "find.en": build(find, "en", texts_of(5, 12, seed=8)),
    }
    options = {"candidates": {"find.en": [candidates]}, "tokens_per_batch": 64}
    return lambda **more: zero_shot.Evaluator(model.network, Numbers(), tables, **options, **more)


def test_a_killed_evaluation_goes_on_where_it_stopped(model, mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "FLUSH_S", 0.0)
    whole = mixed().run(model.params)
    seen = []

    def die(done, total):
        seen.append(done)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mixed(on_progress=die).run(model.params, parts.Parts(tmp_path / "parts"))
    kept = len(list((tmp_path / "parts").glob("*.npz")))
    assert kept >= 4

    computed = []
    evaluator = mixed()
    outputs = evaluator._outputs
    monkeypatch.setattr(
        evaluator,
        "_outputs",
        lambda params, numbers: outputs(params, computed.extend(numbers) or numbers),
    )
    assert evaluator.run(model.params, parts.Parts(tmp_path / "parts")) == whole
    assert len(computed) == len(evaluator._batches) - kept


def test_shards_compute_each_batch_once_and_the_first_joins_them(model, mixed, tmp_path):
    whole = mixed().run(model.params)
    assert mixed().run(model.params, parts.Parts(tmp_path, (1, 3))) is None
    assert mixed().run(model.params, parts.Parts(tmp_path, (2, 3))) is None
    first = parts.Parts(tmp_path, (0, 3))
    assert mixed().run(model.params, first) == whole
    first.remove()
    assert not tmp_path.exists()


def test_fingerprint_changes_with_what_is_asked(mixed):
    same, other = mixed(), mixed()
    for table in (*same.tables.values(), *other.tables.values()):
        assert table.folder is None
    assert same.fingerprint == other.fingerprint
    assert mixed(pooling="max").fingerprint != same.fingerprint
    assert mixed(constrain=False).fingerprint != same.fingerprint


@pytest.mark.parametrize("text", ["4/4", "a/2", "1", "-1/2", "1/0"])
def test_bad_shard(text):
    with pytest.raises(ValueError, match="XLT_EVAL_SHARD"):
        parts.shard_of({"XLT_EVAL_SHARD": text})


def test_bad_options(model, mixed):
    for options in ({"classify_by": "vote"}, {"pooling": "cls"}, {"window_overlap": 1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} is"):
            mixed(**options)
    with pytest.raises(ValueError, match="Shard 3 of 3"):
        parts.Parts("x", (3, 3))
    assert model.network.config.vocab_size == VOCAB and jax.device_count()
