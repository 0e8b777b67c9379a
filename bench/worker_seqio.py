"""Job of SeqIO: the mixture of files that xlt_jax opens too."""

import json
import pathlib
import time

import seqio
import tensorflow as tf

from bench.process import serve


def mixture(folder: str) -> dict:
    """Seconds from nothing to the first batch of the files' mixture."""
    folder = pathlib.Path(folder)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    start = time.perf_counter()
    vocabulary = seqio.SentencePieceVocabulary(facts["vocabulary"], extra_ids=100)
    feature = seqio.Feature(vocabulary)
    rates = []
    for (benchmark, language), rows in zip(facts["tasks"], facts["rows"]):
        name = f"{benchmark}.{language}"
        seqio.TaskRegistry.add(
            name,
            source=seqio.TextLineDataSource(
                {"train": str(folder / benchmark / f"{language}.train.tsv")}, skip_header_lines=1
            ),
            preprocessors=[
                _columns,
                seqio.preprocessors.tokenize,
                seqio.preprocessors.append_eos_after_trim,
            ],
            output_features={"inputs": feature, "targets": feature},
        )
        rates.append((name, rows))
    seqio.MixtureRegistry.add("bench_files", rates)
    dataset = seqio.get_dataset(
        "bench_files",
        facts["feature_lengths"],
        seqio.EncDecFeatureConverter(pack=True),
        dataset_split="train",
        shuffle=True,
        num_epochs=None,
        seed=0,
    )
    batches = dataset.batch(facts["batch_size"], drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    batch = next(batches.as_numpy_iterator())
    seconds = time.perf_counter() - start
    inputs = batch["encoder_input_tokens"]
    return {
        "seconds": seconds,
        "rows": sum(facts["rows"]),
        "batch_rows": len(inputs),
        "filled": float((inputs > 0).mean()),
    }


def _columns(dataset: tf.data.Dataset) -> tf.data.Dataset:
    def split(line):
        columns = tf.strings.split(line, "\t")
        return {"inputs": columns[0], "targets": columns[1]}

    return dataset.map(split, num_parallel_calls=tf.data.AUTOTUNE)


if __name__ == "__main__":
    serve({"tensorflow": tf.__version__}, {"mixture": mixture})
