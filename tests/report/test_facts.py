"""Facts on languages that gains are plotted against, and the gains."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cosine
from synthetic import write_experiment

from xlt_jax.registry import languages, pretraining, typology
from xlt_jax.report import groups, runs
from xlt_jax.report.tables import Results

CODES = ("en", "de", "sw", "th", "ja", "qu")


def test_sizes_are_of_the_registry_s_languages_or_others_of_mc4():
    assert len(pretraining.TOKENS_B) == 101
    assert pretraining.TOKENS_B["en"] == max(pretraining.TOKENS_B.values()) == 2733
    assert pretraining.TOKENS_B["he"] == 17 and pretraining.TOKENS_B["tl"] == 2.1
    # Those of XTREME-R's 50 that mT5 was not pre-trained on.
    assert set(languages.XTREME_R) - pretraining.LANGUAGES == {"qu", "wo"}
    for code in pretraining.TOKENS_B:
        try:
            assert languages.get(code).code == code
        except ValueError:
            continue  # a language that no benchmark has


def test_every_language_has_its_features():
    assert set(languages.XTREME_R) <= set(typology.FEATURES)
    assert set(typology.FEATURES) <= set(languages.LANGUAGES)
    assert {len(features) for features in typology.FEATURES.values()} == {103}


def test_distance_is_one_less_the_cosine():
    for one, other in (("en", "de"), ("en", "ja"), ("sw", "zu")):
        expected = cosine(typology.FEATURES[one], typology.FEATURES[other])
        assert typology.distance(one, other) == pytest.approx(expected)
    for code in typology.FEATURES:
        assert typology.distance(code, code) == pytest.approx(0, abs=1e-12)
        assert 0 <= typology.distance("en", code) == typology.distance(code, "en") <= 1
    assert typology.distance("en", "xx") is None
    near = ("de", "nl", "sv", "fr")
    far = ("ja", "tr", "ko", "ta")
    assert max(typology.distance("en", c) for c in near) < min(
        typology.distance("en", c) for c in far
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    def level(arm, benchmark, code):
        """multitask gains more the farther the language is from English."""
        return 0.3 + (arm == "multitask") * round(0.4 * typology.distance("en", code), 2)

    root = tmp_path_factory.mktemp("run") / "x"
    return Results(runs.read([write_experiment(root, codes=CODES, score=level)]))


def test_gains_are_means_over_benchmarks_beside_each_property(results):
    found = {(g.comparison.name, g.property): g for g in groups.gains(results)}
    far = found["multitask − english", groups.TO_ENGLISH]
    assert set(far.points) == set(CODES) - {"en"}
    for code, (x, gain) in far.points.items():
        assert x == typology.distance("en", code)
        assert gain == pytest.approx(0.4 * x, abs=0.0051)
    assert far.correlation.value > 0.95  # scores are in steps of 1 of 200 rows
    size = found["multitask − english", groups.SIZE]
    assert size.lacking == ("qu",) and size.points["de"][0] == 347


def test_nearest_intermediate_language_is_that_of_labelled_training_before_the_target(results):
    assert groups.intermediate_languages(results, "multitask") == {"en", "de", "sw"}
    assert groups.intermediate_languages(results, "english") == {"en"}
    assert groups.intermediate_languages(results, "none") == set()
    found = {(g.comparison.name, g.property): g for g in groups.gains(results)}
    near = found["multitask − none", groups.TO_INTERMEDIATE].points
    assert near["de"][0] == near["sw"][0] == 0
    closest = min(typology.distance("ja", code) for code in ("en", "de", "sw"))
    assert near["ja"][0] == pytest.approx(closest)
    of_english = found["english − none", groups.TO_INTERMEDIATE].points
    assert of_english["ja"][0] == typology.distance("en", "ja")


def test_equal_gains_have_no_correlation(tmp_path):
    root = write_experiment(tmp_path / "x", codes=CODES, score=lambda *_: 0.5)
    for found in groups.gains(Results(runs.read([root]))):
        assert math.isnan(found.correlation.value)
        assert np.allclose([gain for _, gain in found.points.values()], 0)
