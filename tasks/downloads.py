"""Sizes and checksums of the files that benchmarks are fetched from: ``downloads.tsv``.

Facts of tensorflow-datasets 4.9.10 for the same URLs, of pyconll for UD 2.7, and of the files
themselves for XCOPA, LAReQA, XQuAD's Romanian and the Tatoeba languages that TFDS lacks.
"""

import csv
import functools
import pathlib

from xlt_jax.registry.benchmarks import Download


def known(url: str, path: str, *, unpack: bool = False) -> Download:
    """A Download with the size and SHA-256 that the table has for ``url``, if it has it."""
    size_bytes, sha256 = _facts().get(url, (None, None))
    return Download(url, path, size_bytes, sha256, unpack)


@functools.cache
def _facts() -> dict[str, tuple[int | None, str]]:
    table = pathlib.Path(__file__).with_name("downloads.tsv")
    with open(table, encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {
            row["url"]: (int(row["size_bytes"]) if row["size_bytes"] else None, row["sha256"])
            for row in rows
        }
