"""The table of XTREME's tasks: sizes that the papers state, and names that exist."""

import pytest

from xlt_jax.registry import languages, xtreme


def test_sizes_of_the_papers():
    for version, tasks, codes in (("xtreme", 9, 40), ("xtreme-r", 10, 50)):
        table = xtreme.tasks(version)
        assert len(table) == tasks
        assert len({code for task in table.values() for code in task.languages}) == codes


def test_language_counts():
    counts = {name: len(task.languages) for name, task in xtreme.tasks("xtreme-r").items()}
    assert counts == {
        "xnli": 15,
        "xcopa": 11,
        "udpos": 38,
        "panx": 48,
        "xquad": 12,
        "mlqa": 7,
        "tydiqa": 9,
        "tatoeba": 41,
        "mewslix": 11,
        "lareqa": 11,
    }


@pytest.mark.parametrize("version", xtreme.VERSIONS)
def test_the_table_is_well_formed(version):
    table = xtreme.tasks(version)
    assert {task.group for task in table.values()} == set(xtreme.GROUPS)
    for name, task in table.items():
        assert task.name == name and task.metrics
        assert list(task.languages) == sorted(set(task.languages))
        assert all(languages.get(code).code == code for code in task.languages)
        assert task.suffix in ("tsv", "json", "jsonl")


def test_task_by_name():
    assert xtreme.task("pawsx") == xtreme.tasks("xtreme")["pawsx"]
    assert "ro" in xtreme.task("xquad").languages
    assert "ro" not in xtreme.task("xquad", "xtreme").languages
    assert xtreme.task("xcopa").file_name("et") == "test-et.jsonl"
    with pytest.raises(ValueError, match=r"'xqad' of XTREME and XTREME-R; did you mean 'xquad'\?"):
        xtreme.task("xqad")
    with pytest.raises(ValueError, match=r"'pawsx' of xtreme-r"):
        xtreme.task("pawsx", "xtreme-r")
    with pytest.raises(ValueError, match=r"no language 'en'; it has et ht"):
        xtreme.task("xcopa").file_name("en")
