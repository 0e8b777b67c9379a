"""XGLUE's tasks that are in no other benchmark (Liang et al. 2020, arXiv:2004.01401).

News categories, query and advertisement, web pages, question and passage; question and title
generation to train on. Files as in its archive. The prompts are ours. Two of its metrics are left
out: nDCG of web pages, which needs graded scores (here the five ratings are classes), and BLEU-4.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from tasks import families
from xlt_jax.data import formats, prompts
from xlt_jax.registry.benchmarks import Benchmark, Download, Files, Request, Row, register

CATEGORIES = (
    "autos",
    "entertainment",
    "finance",
    "foodanddrink",
    "health",
    "lifestyle",
    "news",
    "sports",
    "travel",
    "video",
)
RATINGS = ("Bad", "Fair", "Good", "Excellent", "Perfect")  # 0 to 4 in the files
ANSWERS = ("no", "yes")  # 0 and 1
_DOWNLOAD = Download(
    "https://xglue.blob.core.windows.net/xglue/xglue_full_dataset.tar.gz",
    "xglue_full_dataset.tar.gz",
    size_bytes=875_905_871,
    sha256="e11016c02d8565d00119833a16679bbbe0fec437f5ad53c2d3f9eef6fa03f65b",
    unpack=True,
)
_ENGLISH = {"en": "en"}


def _files(folder: str, languages: Sequence[str], read, name: str) -> tuple[Files, ...]:
    """Training rows are English."""
    places = {code: code for code in languages}
    pattern = f"xglue_full_dataset/{folder}/{name}"
    return (
        Files(pattern, read, {"train": "train"}, _ENGLISH),
        Files(pattern, read, {"validation": "dev", "test": "test"}, places),
    )


def _classes(
    name: str,
    description: str,
    languages: str,
    columns: Sequence[str],
    labels: Mapping[str, str] | Sequence[str],
    text: Callable[[Row], str],
) -> Benchmark:
    """A task of one table; the last column is the label, ``labels`` how each is put in words."""
    words = labels if isinstance(labels, Mapping) else {label: label for label in labels}
    codes = tuple(languages.split())
    return Benchmark(
        name=f"xglue_{name}",
        description=description,
        languages=codes,
        source=_files(
            name.upper(),
            codes,
            formats.table(*columns, header=False),
            f"xglue.{name}.{{language}}.{{split}}",
        ),
        prompt=lambda row: prompts.classification(
            name,
            text(row),
            words[row["label"]],
            tuple(words.values()),
            texts=[row[column] for column in columns[:-1]],
        ),
        **families.CLASSES,
        kind="classification" if name == "nc" else "pair",
        chance=prompts.largest_class,
        max_target_tokens=8,
        domain="news" if name == "nc" else "general",
        english_training=(f"xglue_{name}.en",),
        citation="Liang et al. 2020",
        licence="see microsoft.github.io/XGLUE",
        downloads=(_DOWNLOAD,),
    )


def read_two_files(path, language: str) -> Iterator[Row]:
    """Lines of ``xglue.TASK.LANGUAGE.src.SPLIT`` with those of the .tgt file beside it."""
    other = formats.neighbour(path, path.name.replace(".src.", ".tgt."))
    lines = formats.in_step(formats.lines(path), formats.lines(other), f"{path} and {other}")
    for source, target in lines:
        yield {"source": source.strip(), "target": target.strip()}


def _generation(name: str, description: str, languages: str, prefix: str) -> Benchmark:
    codes = tuple(languages.split())
    return Benchmark(
        name=f"xglue_{name}",
        description=description,
        languages=codes,
        source=_files(
            name.upper(), codes, read_two_files, f"xglue.{name}.{{language}}.src.{{split}}"
        ),
        prompt=lambda row: {
            "inputs": f"{prefix}: {row['source']}",
            "targets": row["target"],
            "texts": (row["source"], row["target"]),
        },
        request=Request.TRAIN_ONLY,
        kind="generation",
        domain="news" if name == "ntg" else "general",
        citation="Liang et al. 2020",
        licence="see microsoft.github.io/XGLUE",
        downloads=(_DOWNLOAD,),
    )


BENCHMARKS = tuple(
    register(benchmark)
    for benchmark in (
        _classes(
            "nc",
            "Which category is a news article of?",
            "de en es fr ru",
            ("title", "body", "label"),
            CATEGORIES,
            lambda row: f"title: {row['title']} body: {row['body']}",
        ),
        _classes(
            "qadsm",
            "Is an advertisement relevant to a query?",
            "de en fr",
            ("query", "title", "description", "label"),
            ("Bad", "Good"),
            lambda row: (
                f"query: {row['query']} title: {row['title']} description: {row['description']}"
            ),
        ),
        _classes(
            "wpr",
            "How relevant is a web page to a query, of five ratings?",
            "de en es fr it pt zh",
            ("query", "title", "snippet", "label"),
            {str(number): rating for number, rating in enumerate(RATINGS)},
            lambda row: f"query: {row['query']} title: {row['title']} snippet: {row['snippet']}",
        ),
        _classes(
            "qam",
            "Does a passage answer a question?",
            "de en fr",
            ("question", "passage", "label"),
            {str(number): answer for number, answer in enumerate(ANSWERS)},
            lambda row: f"question: {row['question']} passage: {row['passage']}",
        ),
        _generation("qg", "Passages with a question that they answer.", "de en es fr it pt", "ask"),
        _generation("ntg", "News with their titles.", "de en es fr ru", "title"),
    )
)
