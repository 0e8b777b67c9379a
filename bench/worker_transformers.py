"""Jobs of Hugging Face transformers' MT5 in PyTorch, on CPU."""

import itertools
import time

import torch
import transformers
from transformers.optimization import Adafactor

from bench import machine, shapes
from bench.process import serve

# Tried on the first tasks, the best is taken.
EVAL_BATCH_SIZES = {"tiny": (32, 64, 128), "mt5_small": (32,)}
TRIED_TASKS = 2
DTYPES = {"": torch.float32, " in bfloat16": torch.bfloat16}  # suffix of the set's name

_training = {}
_evaluation = {}


def train_setup(shape: str) -> dict:
    """Makes the model and takes two steps."""
    shape = shapes.SHAPES[shape]
    model = _model(shape).train()
    _training["model"] = model
    _training["optimizer"] = Adafactor(
        model.parameters(),
        lr=shapes.LEARNING_RATE,
        scale_parameter=True,
        relative_step=False,
        warmup_init=False,
    )
    _training["batches"] = itertools.cycle(
        [
            {name: torch.from_numpy(ids).long() for name, ids in batch.items()}
            for batch in shapes.train_batches(shape)
        ]
    )
    train(2)
    return {"parameters": sum(parameter.numel() for parameter in model.parameters())}


def train(steps: int) -> dict:
    """Seconds of so many steps."""
    model, optimizer = _training["model"], _training["optimizer"]
    start = time.perf_counter()
    for _ in range(steps):
        batch = next(_training["batches"])
        optimizer.zero_grad()
        loss = model(
            input_ids=batch["encoder_input_tokens"],
            decoder_input_ids=batch["decoder_input_tokens"],
            labels=batch["decoder_target_tokens"],
        ).loss
        loss.backward()
        optimizer.step()
    last = float(loss.detach())
    return {"seconds": time.perf_counter() - start, "loss": last}


class ForcedLength(transformers.LogitsProcessor):
    """Ends every generated answer at the length that the first input id carries."""

    def __init__(self, inputs_BL: torch.Tensor):
        self._answer_tokens_B1 = inputs_BL[:, :1] - shapes.FIRST_LENGTH_ID

    def __call__(self, input_ids, scores):
        """The logits of the next token."""
        position = input_ids.shape[1] - 1  # the first id is the decoder's start
        is_eos_V = torch.arange(scores.shape[1]) == shapes.EOS_ID
        ends_B1 = self._answer_tokens_B1 == position
        return torch.where(is_eos_V == ends_B1, scores, shapes.FORBIDDEN)


def evaluate_setup(shape: str, quick: bool, folder: str) -> dict:
    """Loads the parameters, in float32 and bfloat16, and finds the best batch size of each set."""
    sizes = {}
    for suffix, dtype in DTYPES.items():
        model = transformers.MT5ForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
        for spec in shapes.eval_specs(shape, quick):
            tasks = shapes.eval_set(spec)
            tried = [example for task in tasks[:TRIED_TASKS] for example in task]
            seconds = {}
            for size in EVAL_BATCH_SIZES[shape]:
                _generate(model, spec, tried[:size])
                start = time.perf_counter()
                if len(EVAL_BATCH_SIZES[shape]) > 1:
                    _generate_sorted(model, spec, tried, size)
                seconds[size] = time.perf_counter() - start
            name = f"{spec.name}{suffix}"
            sizes[name] = min(seconds, key=seconds.get)
            examples = [example for task in tasks for example in task]
            _evaluation[name] = (model, spec, examples, sizes[name])
    return {"batch_sizes": sizes}


def evaluate(name: str) -> dict:
    """Seconds of generating for the set, sorted by length over all tasks."""
    model, spec, examples, size = _evaluation[name]
    start = time.perf_counter()
    answers = _generate_sorted(model, spec, examples, size)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "rows": list(range(len(examples))),
        "answers": answers,
        "note": f"batch {size}, sorted by length",
    }


def load(folder: str) -> dict:
    """Seconds of loading a folder, all of it touched: a mapped file is read when it is used."""
    start = time.perf_counter()
    model = transformers.MT5ForConditionalGeneration.from_pretrained(folder)
    total = sum(float(parameter.detach().sum()) for parameter in model.parameters())
    return {"seconds": time.perf_counter() - start, "sum": total}


def _generate_sorted(
    model, spec: shapes.SetSpec, examples: list[shapes.Example], size: int
) -> list[list[int]]:
    """The answers, in the order of the examples."""
    order = sorted(range(len(examples)), key=lambda row: -len(examples[row].inputs))
    answers = [[]] * len(examples)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        chunk = [examples[row] for row in rows]
        for row, answer in zip(rows, _generate(model, spec, chunk)):
            answers[row] = answer
    return answers


@torch.inference_mode()
def _generate(model, spec: shapes.SetSpec, examples: list[shapes.Example]) -> list[list[int]]:
    """Ids of the answers before end-of-sequence."""
    longest = max(len(example.inputs) for example in examples)
    inputs_BL = torch.zeros(len(examples), longest, dtype=torch.long)
    for row, example in enumerate(examples):
        inputs_BL[row, : len(example.inputs)] = torch.from_numpy(example.inputs)
    ids_BT = model.generate(
        input_ids=inputs_BL,
        attention_mask=inputs_BL > 0,
        max_new_tokens=spec.decode_length,
        do_sample=False,
        num_beams=1,
        logits_processor=transformers.LogitsProcessorList([ForcedLength(inputs_BL)]),
    )
    return [ids[: ids.index(shapes.EOS_ID)] for ids in ids_BT[:, 1:].tolist()]


def _model(shape: shapes.Shape):
    config = transformers.MT5Config(
        vocab_size=shape.vocab_size,
        d_model=shape.emb_dim,
        d_kv=shape.head_dim,
        num_heads=shape.num_heads,
        num_layers=shape.num_layers,
        num_decoder_layers=shape.num_layers,
        d_ff=shape.mlp_dim,
        dropout_rate=shapes.DROPOUT_RATE,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=shapes.EOS_ID,
        decoder_start_token_id=0,
    )
    torch.manual_seed(0)
    model = transformers.MT5ForConditionalGeneration(config)
    # A model made from a configuration ties its output to the token table; mT5's is its own.
    model.lm_head = torch.nn.Linear(shape.emb_dim, shape.vocab_size, bias=False)
    return model


if __name__ == "__main__":
    torch.set_num_threads(machine.cores())
    serve(
        {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "threads": torch.get_num_threads(),
        },
        {job.__name__: job for job in (train_setup, train, evaluate_setup, evaluate, load)},
    )
