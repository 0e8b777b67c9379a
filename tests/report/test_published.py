"""The table of XTREME-R and published scores beside ours, on synthetic tasks of those names."""

import numpy as np
import pytest
from synthetic import stage, write_json, write_task, write_training

from xlt_jax.registry import xtreme
from xlt_jax.report import published, runs, sheets, xtreme_r
from xlt_jax.report.tables import Results

TASKS = xtreme.tasks("xtreme-r")


def value(task, code, metric, seed):
    number = sorted(TASKS).index(task) + len(code) + ord(code[0]) / 10
    return (30 + number + (5 if metric == "em" else 0) + seed) / 100


def write(root, *, tasks=tuple(TASKS), seeds=(0, 1), trained=(), split="test", skip=()):
    """An arm 'one' with every language of ``tasks``; ``trained`` are labelled tasks besides."""
    stages = []
    for seed in seeds:
        labels = {f"{task}.en": True for task in tasks} | {task: True for task in trained}
        write_training(root / f"train.seed{seed}", None, labels)
        stages.append(stage(f"train.seed{seed}", "one", "train", None, seed))
        scored = f"score.seed{seed}"
        stages.append(stage(scored, "one", "evaluate", f"train.seed{seed}", seed))
        for name in tasks:
            for code in TASKS[name].languages:
                if (name, code) in skip:
                    continue
                metrics = {m: value(name, code, m, seed) for m in TASKS[name].metrics}
                main = next(iter(metrics.values()))
                write_task(
                    root / scored, name, code, [main] * 10, metrics=metrics,
                    main_metric=next(iter(metrics)), split=split,
                )  # fmt: skip
    recipe = {"name": "x", "description": "", "arms": {"one": ""}, "stages": stages}
    write_json(root / "recipe.json", recipe)
    return Results(runs.read([root]))


def mean(name, metric, codes):
    return 100 * np.mean([value(name, code, metric, 0.5) for code in codes])


def expected(name):
    """Questions count by the mean of F1 and EM."""
    metrics = ("f1", "em") if "em" in TASKS[name].metrics else TASKS[name].metrics[:1]
    return np.mean([mean(name, metric, TASKS[name].languages) for metric in metrics])


def test_table_of_xtreme_r_averages_as_its_authors_do(tmp_path):
    results = write(tmp_path)
    found = {(line.group, line.task): line.arms["one"] for line in xtreme_r.rows(results)}
    for name, task in TASKS.items():
        assert found[task.group, name].percent == pytest.approx(expected(name))
        assert found[task.group, name].deviation == pytest.approx(np.std([0, 1], ddof=1))
    for group in xtreme.GROUPS:
        of_group = [expected(name) for name, task in TASKS.items() if task.group == group]
        assert found[group, None].percent == pytest.approx(np.mean(of_group))
    assert found["all", None].percent == pytest.approx(np.mean([expected(name) for name in TASKS]))
    assert xtreme_r.missing(xtreme_r.rows(results)) == []


def test_what_is_missing_has_no_average_and_is_named(tmp_path):
    results = write(tmp_path, tasks=("xnli", "xquad", "xcopa"), skip=(("xnli", "ur"),))
    found = {(line.group, line.task): line.arms["one"] for line in xtreme_r.rows(results)}
    assert found["classification", "xnli"].percent is None
    assert found["classification", "xnli"].missing == ("ur",)
    assert found["classification", "xcopa"].percent == pytest.approx(expected("xcopa"))
    assert found["classification", None].missing == ("xnli",)
    assert found["all", None].percent is None
    (sentence,) = xtreme_r.missing(xtreme_r.rows(results))
    assert sentence.startswith("one lacks xnli (ur), ") and "panx" in sentence
    shown = {row[1]: row[2] for row in sheets.xtreme(results).rows}
    assert shown["xnli"] == "– (1 language missing)"
    assert shown["mean of 10 tasks"] == "– (8 tasks missing)"


def test_averages_with_scores_that_are_not_zero_shot_are_marked(tmp_path):
    results = write(tmp_path, tasks=("xnli", "xcopa"), trained=("xnli.de",))
    shown = {row[1]: row[2] for row in sheets.xtreme(results).rows}
    assert shown["xnli"].endswith("*") and not shown["xcopa"].endswith("*")
    assert "xnli" not in {row.published.benchmark for row in published.beside(results)}


def test_published_scores_stand_beside_ours_over_the_same_languages(tmp_path):
    rows = published.beside(write(tmp_path))
    assert len(rows) == len(published.records())
    for row in rows:
        one = row.published
        if one.benchmark == published.OVERALL:
            ours = np.mean([expected(name) for name in TASKS])
        else:
            ours = mean(one.benchmark, one.metric, one.languages)
        assert row.ours["one"] == pytest.approx(ours)
    assert ("xquad", 11) in {(r.published.benchmark, len(r.published.languages)) for r in rows}


@pytest.mark.parametrize(
    "options", [{"skip": (("xnli", "ur"),)}, {"split": "validation"}], ids=["language", "split"]
)
def test_published_scores_need_all_languages_and_the_test_set(tmp_path, options):
    assert published.beside(write(tmp_path, tasks=("xnli",), **options)) == []


def test_records_are_of_known_tasks_and_plausible():
    for one in published.records():
        assert 0 < one.percent < 100 and one.source and one.model
        if one.benchmark != published.OVERALL:
            assert one.metric in TASKS[one.benchmark].metrics
            assert set(one.languages) <= set(TASKS[one.benchmark].languages)


def test_a_task_counts_the_seeds_that_it_has(tmp_path):
    """A seed without one task leaves the others' averages as they are."""
    write(tmp_path, tasks=("xnli", "xcopa"), seeds=(0, 1, 2))
    for path in tmp_path.glob("score.seed2/inference_eval/xcopa*"):
        path.unlink()
    found = {line.task: line.arms["one"] for line in xtreme_r.rows(Results(runs.read([tmp_path])))}
    assert found["xcopa"].percent == pytest.approx(
        mean("xcopa", "accuracy", TASKS["xcopa"].languages)
    )
    assert found["xnli"].percent == pytest.approx(expected("xnli") + 0.5)  # seeds 0, 1 and 2
