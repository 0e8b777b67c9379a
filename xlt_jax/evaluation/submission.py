"""XTREME's files of predictions and labels: ``FOLDER/TASK/test-LANGUAGE.tsv``, .json or .jsonl.

A file of predictions and its file of labels have one layout:

* xnli, pawsx: one label a line, in words (``entailment``) or numbers (``0``, ``1``), in the order
  of the test set; a blank line is an empty answer. tatoeba: one id a line, the nearest sentence.
* xcopa: one JSON object a line, with ``"label"`` 0 or 1; other fields do not count.
* udpos, panx: one tag a line, a blank line behind each sentence.
* bucc2018: source id, tab, target id, in any order.
* xquad, mlqa, tydiqa: one JSON object, question id -> answer; the labels are SQuAD's JSON.
* mewslix: one JSON object, mention id -> list of entity ids, best first; the labels hold one each.
* lareqa: as mewslix, question id -> list of candidate ids; the labels hold all right candidates.
  This is our extension: the official program does not score LAReQA from files.

Here an answer is text, as the metrics take it: a label, the tags or ids of one row separated by
spaces, or the answer of a question. Rows of files without ids are numbered from 1.

Source: mock_test_data and evaluate.py of github.com/google-research/xtreme.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from etils import epath

from xlt_jax import files
from xlt_jax.registry import xtreme

Gold = str | tuple[str, ...]  # several answers to one question, of which the best counts

LABELS = {
    "xnli": ("entailment", "neutral", "contradiction"),
    "pawsx": ("0", "1"),
    "xcopa": ("0", "1"),
}


@dataclass(frozen=True)
class Matched:
    """Predictions of one task in one language, beside their labels.

    Attributes:
        targets: Gold answers, in the order of the file of labels.
        predictions: The answer to each, None where the file has no such id.
        missing: Ids without a prediction.
        extra: Ids of predictions that the labels do not have.
    """

    targets: tuple[Gold, ...]
    predictions: tuple[str | None, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def path_of(folder: str | os.PathLike, task: str, language: str) -> epath.Path:
    """``FOLDER/TASK/test-LANGUAGE.SUFFIX``.

    Raises:
        ValueError: No version of XTREME has the task or the language in it.
    """
    return epath.Path(folder) / task / xtreme.task(task).file_name(language)


# ------------------------------------------------------------------------------------------ write
def write(
    folder: str | os.PathLike, task: str, language: str, answers: Sequence[tuple[str, str]]
) -> epath.Path:
    """Writes one file of predictions, whole or not at all; returns its path.

    Args:
        folder: Of the submission; made if needed.
        task: Name in ``registry/xtreme.py``.
        language: One of the task's.
        answers: (row id, prediction) in the order of the test set. Labels as in ``LABELS``; tags
            separated by spaces, as many as the sentence has (``metrics.tagging.fitted``); ids
            separated by spaces, best first: of those tatoeba's file holds the first, bucc2018's a
            line for each (none: the sentence has no partner).

    Raises:
        ValueError: Unknown task or language; no answer; a row id twice; a sentence without tags;
            no single answer is a label; the folder cannot be written.
    """
    path = path_of(folder, task, language)
    _check_answers(task, language, answers)
    text = _formatter(task)(answers)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
    except OSError as error:
        raise ValueError(f"Cannot write {path}: {error.strerror}. Name another folder.") from error
    return path


def _check_answers(task: str, language: str, answers: Sequence[tuple[str, str]]) -> None:
    where = f"Submission of {task}.{language}"
    if not answers:
        raise ValueError(f"{where}: no answers; give one for each row of the test set.")
    repeated = [row_id for row_id, count in Counter(i for i, _ in answers).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{where}: {len(repeated)} row ids come more than once, the first is {repeated[0]!r}; "
            "give one answer for each row."
        )
    labels = LABELS.get(task)
    if labels and not any(answer in labels for _, answer in answers):
        raise ValueError(
            f"{where}: not one answer is a label, the first is {answers[0][1]!r}; XTREME's are "
            f"{', '.join(labels)}. Translate the task's own words."
        )
    if xtreme.task(task).group == "structured":
        untagged = [row_id for row_id, tags in answers if not tags.split()]
        if untagged:
            raise ValueError(
                f"{where}: {len(untagged)} sentences have no tag, the first is row "
                f"{untagged[0]!r}, and a blank line means the end of a sentence. Pass predictions "
                "through metrics.tagging.fitted."
            )


def _formatter(task: str) -> Callable[[Sequence[tuple[str, str]]], str]:
    if xtreme.task(task).group == "structured":
        return _tag_text
    if xtreme.task(task).group == "qa":
        return lambda answers: _json_text(dict(answers))
    if xtreme.task(task).suffix == "json":
        return lambda answers: _json_text({row_id: text.split() for row_id, text in answers})
    return {"xcopa": _choice_text, "bucc2018": _pair_text, "tatoeba": _first_id_text}.get(
        task, _line_text
    )


def _line_text(answers: Sequence[tuple[str, str]]) -> str:
    return "".join(" ".join(answer.split()) + "\n" for _, answer in answers)


def _first_id_text(answers: Sequence[tuple[str, str]]) -> str:
    return "".join("".join(ids.split()[:1]) + "\n" for _, ids in answers)


def _choice_text(answers: Sequence[tuple[str, str]]) -> str:
    # An answer that is no label stays text: it is wrong to every scorer.
    labels = (int(answer) if answer in LABELS["xcopa"] else answer for _, answer in answers)
    return "".join(json.dumps({"label": label}, ensure_ascii=False) + "\n" for label in labels)


def _tag_text(answers: Sequence[tuple[str, str]]) -> str:
    return "".join("\n".join(tags.split()) + "\n\n" for _, tags in answers)


def _pair_text(answers: Sequence[tuple[str, str]]) -> str:
    return "".join(f"{source}\t{target}\n" for source, ids in answers for target in ids.split())


def _json_text(value: Mapping) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


# ------------------------------------------------------------------------------------------- read
def read_predictions(folder: str | os.PathLike, task: str, language: str) -> dict[str, str]:
    """Row id -> prediction. bucc2018: source id -> target ids, of the sources in the file.

    Raises:
        ValueError: Unknown task or language; the file is absent, not UTF-8 or not in its layout.
    """
    path = path_of(folder, task, language)
    if xtreme.task(task).group == "qa":
        return _read_answers(path)
    if xtreme.task(task).suffix == "json":
        return {row_id: " ".join(ids) for row_id, ids in _read_rankings(path).items()}
    if task == "bucc2018":
        targets: dict[str, list[str]] = {}
        for source, target in _read_pairs(path):
            targets.setdefault(source, []).append(target)
        return {source: " ".join(dict.fromkeys(ids)) for source, ids in targets.items()}
    return _numbered(_read_rows(path, task))


def read_labels(folder: str | os.PathLike, task: str, language: str) -> list[tuple[str, Gold]]:
    """(row id, gold answer) of every row; for questions a tuple of answers, of which any is right.

    bucc2018: (source id, target id) of every pair.

    Raises:
        ValueError: As ``read_predictions``; also a file without rows, an unknown label, a row
            without a gold answer, more than one gold entity in mewslix.
    """
    path = path_of(folder, task, language)
    if xtreme.task(task).group == "qa":
        rows = _read_questions(path)
    elif xtreme.task(task).suffix == "json":
        rows = _read_gold_ids(path, single=task == "mewslix")
    elif task == "bucc2018":
        rows = _read_pairs(path)
    else:
        rows = list(_numbered(_read_rows(path, task)).items())
    if not rows:
        raise ValueError(f"{path} has no rows; take the file of labels of the whole test set.")
    allowed = LABELS.get(task)
    for row_id, label in rows if allowed else ():
        if label not in allowed:
            raise ValueError(
                f"{path}, row {row_id}: label {label!r}; allowed: {', '.join(allowed)}. "
                "A file of labels has nothing else on a line."
            )
    return rows


def read_matched(
    predictions: str | os.PathLike, labels: str | os.PathLike, task: str, language: str
) -> Matched:
    """Predictions beside labels, by id or, where files have none, by position.

    Args:
        predictions: Folder of a submission.
        labels: Folder of the gold files, in the same layout.
        task: Any but bucc2018, whose files are two sets of pairs.
        language: One of the task's.

    Raises:
        ValueError: As the two readers; also another number of rows than labels in a file without
            ids, or no id at all in common.
    """
    golds = read_labels(labels, task, language)
    answers = read_predictions(predictions, task, language)
    known = {row_id for row_id, _ in golds}
    path, gold_path = path_of(predictions, task, language), path_of(labels, task, language)
    if xtreme.task(task).suffix != "json":
        if len(answers) != len(golds):
            rows = "sentences" if xtreme.task(task).group == "structured" else "lines"
            raise ValueError(
                f"{path} has {len(answers)} {rows}, {gold_path} has {len(golds)}: give one "
                f"prediction for each of the {rows}, in the same order."
            )
    elif answers and not known & answers.keys():
        raise ValueError(
            f"{path} and {gold_path} have no id in common: {next(iter(answers))!r} against "
            f"{golds[0][0]!r}. Are they of the same language and version?"
        )
    return Matched(
        targets=tuple(gold for _, gold in golds),
        predictions=tuple(answers.get(row_id) for row_id, _ in golds),
        missing=tuple(row_id for row_id, _ in golds if row_id not in answers),
        extra=tuple(row_id for row_id in answers if row_id not in known),
    )


def _read_rows(path: epath.Path, task: str) -> list[str]:
    if xtreme.task(task).group == "structured":
        return _read_sentences(path)
    lines = _read_lines(path)
    return [_choice(path, *line) for line in enumerate(lines, 1)] if task == "xcopa" else lines


def _numbered(rows: Sequence[str]) -> dict[str, str]:
    return {str(number): row for number, row in enumerate(rows, start=1)}


def _read_text(path: epath.Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}). Save it as UTF-8.") from error
    if text.startswith("\ufeff"):
        raise ValueError(f"{path} begins with a byte order mark. Save it as UTF-8 without.")
    return text


def _read_lines(path: epath.Path) -> list[str]:
    lines = _read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [line.strip() for line in (lines if lines[-1] else lines[:-1])]


def _read_sentences(path: epath.Path) -> list[str]:
    sentences, tags = [], []
    for number, line in enumerate([*_read_lines(path), ""], start=1):
        if len(line.split()) > 1:
            raise ValueError(
                f"{path}, line {number}: {line[:80]!r} is not one tag. Leave the words out."
            )
        if line:
            tags.append(line)
        else:
            sentences.append(" ".join(tags))
            tags = []
    return sentences if sentences[-1] else sentences[:-1]


def _read_pairs(path: epath.Path) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(_read_lines(path), start=1):
        ids = tuple(line.split("\t"))
        if len(ids) != 2 or " " in line:
            raise ValueError(
                f"{path}, line {number}: {line[:80]!r} is not a source id, a tab and a target id."
            )
        pairs.append(ids)
    return pairs


def _choice(path: epath.Path, number: int, line: str) -> str:
    try:
        label = json.loads(line)["label"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path}, line {number}: {line[:80]!r} is not a JSON object with "label", such as '
            '{"label": 0}.'
        ) from error
    if type(label) is int or (type(label) is str and label not in LABELS["xcopa"]):
        return str(label)
    raise ValueError(
        f"{path}, line {number}: label {json.dumps(label)} is no number. Write 0 or 1, unquoted."
    )


def _read_object(path: epath.Path) -> dict:
    value = _read_json(path)
    if not isinstance(value, dict):
        raise ValueError(
            f"{path} holds a JSON {type(value).__name__}; it must be one object, id -> answer."
        )
    return value


def _read_json(path: epath.Path):
    try:
        return json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}). Write it again.") from error


def _read_answers(path: epath.Path) -> dict[str, str]:
    answers = _read_object(path)
    for row_id, answer in answers.items():
        if not isinstance(answer, str):
            raise ValueError(
                f"{path}, id {row_id!r}: the answer is {json.dumps(answer)[:80]}; it must be one "
                'string, "" for no answer.'
            )
    return answers


def _read_questions(path: epath.Path) -> list[tuple[str, Gold]]:
    value = _read_json(path)
    try:
        articles = value["data"] if isinstance(value, dict) else value
        questions = [
            (question["id"], tuple(answer["text"] for answer in question["answers"]))
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not SQuAD's JSON, data > paragraphs > qas > id and answers > text: "
            f"{type(error).__name__} {error}."
        ) from error
    for row_id, golds in questions:
        if not golds or not all(isinstance(gold, str) for gold in golds):
            raise ValueError(
                f"{path}, question {row_id!r}: gold answers are {golds}; there must be at least "
                "one, each a string. Is this the file with the answers taken out?"
            )
    return questions


def _read_rankings(path: epath.Path) -> dict[str, list[str]]:
    rankings = _read_object(path)
    for row_id, ids in rankings.items():
        if not isinstance(ids, list) or not all(
            isinstance(key, str) and len(key.split()) == 1 for key in ids
        ):
            raise ValueError(
                f"{path}, id {row_id!r}: {json.dumps(ids)[:80]} is not a list of ids, each a "
                "string without spaces."
            )
    return {row_id: [key.strip() for key in ids] for row_id, ids in rankings.items()}


def _read_gold_ids(path: epath.Path, single: bool) -> list[tuple[str, str]]:
    rankings = _read_rankings(path)
    for row_id, ids in rankings.items():
        if not ids or (single and len(ids) > 1):
            raise ValueError(
                f"{path}, id {row_id!r}: {len(ids)} gold ids; there must be "
                f"{'one' if single else 'at least one'}."
            )
    return [(row_id, " ".join(ids)) for row_id, ids in rankings.items()]
