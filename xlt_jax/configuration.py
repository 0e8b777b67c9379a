"""Command line and gin files of the programs: T5X's flags, and errors that a person can act on."""

import argparse
import contextlib
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
from etils import epath

import gin
from xlt_jax import files
from xlt_jax.evaluation.tensorboard import ScalarWriter
from xlt_jax.registry import benchmarks
from xlt_jax.training import distributed, memory

# What ends alike however often it is tried: exit status 2, and launch/tpu_watch.sh does not.
USERS_ERRORS = (
    ValueError,
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
ROOT = pathlib.Path(__file__).resolve().parent.parent  # the folder of gin/ and tasks/


def parse(
    program: str, description: str, argv: Sequence[str], own_flags: Mapping[str, str] | None = None
) -> argparse.Namespace:
    """Flags of a program; ``--gin.NAME=VALUE`` becomes a binding, as in T5X.

    Args:
        program: As after ``python -m``.
        description: For ``-h``.
        argv: Command line without the program.
        own_flags: Flags with a value that only this program has, and what they mean.

    Exits with the usage on ``-h`` and on unknown flags.
    """
    parser = argparse.ArgumentParser(
        f"python -m {program}",
        description=description,
        epilog="--gin.NAME=VALUE sets a macro or a binding; strings need both kinds of quotes: "
        "--gin.MODEL_DIR=\"'runs/x'\"",
    )
    parser.add_argument("--gin_file", action="append", default=[], help="repeatable, later wins")
    parser.add_argument("--gin_bindings", action="append", default=[], help="'NAME = VALUE'")
    parser.add_argument("--gin_search_paths", default=".", help="comma-separated, before our own")
    parser.add_argument("--tfds_data_dir", help="folder of prepared TFDS data sets")
    parser.add_argument("--data_dir", help="folder of downloaded data; also $XLT_DATA_DIR")
    parser.add_argument(
        "--dry_run", action="store_true", help="print the resolved configuration and end"
    )
    parser.add_argument(
        "--distributed",
        choices=distributed.METHODS,
        help="how several processes find each other; default: this process is alone",
    )
    parser.add_argument("--coordinator_address", help="HOST:PORT of process 0, instead of that")
    parser.add_argument("--process_count", help="with --coordinator_address")
    parser.add_argument("--process_index", help="this one's number, from 0; likewise")
    for name, meaning in (own_flags or {}).items():
        parser.add_argument(f"--{name}", help=meaning)
    rewritten = [
        re.sub(r"^--gin\.([^=]+)=(.*)$", r"--gin_bindings=\1 = \2", argument, flags=re.S)
        for argument in argv
    ]
    flags = parser.parse_args(rewritten)
    if not flags.gin_file:
        parser.error("--gin_file is required, for example --gin_file=gin/finetune.gin")
    if flags.tfds_data_dir:
        os.environ["TFDS_DATA_DIR"] = flags.tfds_data_dir
    if flags.data_dir:
        os.environ["XLT_DATA_DIR"] = flags.data_dir
    return flags


def read_gin(flags: argparse.Namespace, last: Sequence[str] = ()) -> None:
    """Reads the gin files and bindings of the command line, and then the bindings ``last``.

    Raises:
        ValueError: A file, name or macro is unknown, a value does not parse, or a macro that the
            run file requires is not set.
    """
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))  # for `import tasks` away from the checkout
    for path in [*flags.gin_search_paths.split(","), str(ROOT)]:
        gin.add_config_file_search_path(path)
    for file in flags.gin_file:
        _check_file(file, flags.gin_search_paths.split(","))
    try:
        gin.parse_config_files_and_bindings(flags.gin_file, [], finalize_config=False)
        _check_macros(flags.gin_bindings)
        _parse_bindings([*flags.gin_bindings, *last])
    except (SyntaxError, ImportError, AttributeError, OSError) as error:
        raise ValueError(f"{', '.join(flags.gin_file)}: {_first_lines(error)}") from error
    for name in _required_macros():
        raise ValueError(f"{name} is not set: add --gin.{name}=\"'...'\" to the command.")
    gin.finalize()


def run_program(
    program: str,
    description: str,
    function: Callable,
    own_flags: Mapping[str, str] | None = None,
    last: Sequence[str] = (),
) -> None:
    """Calls ``function`` with the arguments that gin binds; user errors end in one line.

    ``own_flags`` are those of ``parse``; each is an argument of ``function`` where it is given.
    ``last`` are bindings that this program sets whatever the files say.

    Set XLT_TRACEBACK=1 to see where an error came from.
    """
    with _errors_in_one_line():
        memory.reuse_freed_memory()
        configured = gin.configurable(function)
        flags = parse(program, description, sys.argv[1:], own_flags)
        read_gin(flags, last)
        if flags.dry_run:
            print(gin.config_str())
            return
        place = distributed.find(
            flags.distributed,
            flags.coordinator_address,
            flags.process_count,
            flags.process_index,
            os.environ,
        )
        distributed.start(place)
        enable_compilation_cache()
        given = {name: getattr(flags, name) for name in own_flags or {}}
        configured(**{name: value for name, value in given.items() if value is not None})


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Threads of a checkpoint being opened would add their tracebacks to an ordinary end, and
        # several processes would wait for each other there: hence os._exit.
        is_ours = isinstance(error, (ValueError, OSError))
        if os.environ.get("XLT_TRACEBACK") or not (is_ours or distributed.is_several()):
            raise
        code = 2 if isinstance(error, USERS_ERRORS) else 1
        if cause := distributed.lost_peer(error):
            code = distributed.PEER_LOST
            error = (
                f"Process {jax.process_index()} of {jax.process_count()} ends with code {code}: "
                "another one has ended or cannot be reached (see its output). Start all of them "
                f"again: they go on from the last checkpoint. Cause: {_first_lines(cause)}"
            )
        elif not is_ours:
            traceback.print_exc()
        print(f"\nerror: {_first_lines(error)}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(code)


def summarize_config(
    model_dir: str | os.PathLike, summary_writer: ScalarWriter | None, step: int
) -> None:
    """Writes what gin has bound so far to ``model_dir``/config.gin and to TensorBoard."""
    text = gin.operative_config_str()
    folder = epath.Path(model_dir)
    files.write_text(folder / "config.gin", text)
    if summary_writer is not None:
        summary_writer.text("config", f"```\n{text}\n```", step)


def enable_compilation_cache() -> None:
    """Compiled programs persist in the cache folder (XLT_CACHE_DIR), so a second start is quick."""
    from xlt_jax.data import cache

    jax.config.update("jax_compilation_cache_dir", str(cache.cache_dir() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def show_progress(line: str) -> None:
    """Replaces the terminal's last line; elsewhere, such as in a log, adds one."""
    if sys.stdout.isatty():
        print(f"\r{line:<110}", end="", flush=True)
    else:
        print(line, flush=True)


def end_progress() -> None:
    """Goes on to a new line after ``show_progress`` on a terminal."""
    if sys.stdout.isatty():
        print()


def _check_file(file: str, search_paths: Sequence[str]) -> None:
    folders = [pathlib.Path(path) for path in search_paths] + [ROOT]
    if any((folder / file).is_file() for folder in folders):
        return
    known = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "gin").rglob("*.gin"))
    raise ValueError(
        f"Gin file {file!r} does not exist{benchmarks.near(file, known)}. It was looked for in "
        f"{', '.join(str(folder.resolve()) for folder in folders)}; see gin/ for what there is."
    )


def _macros() -> list[str]:
    """Names of all macros that the files set."""
    names = re.findall(r"^([A-Za-z_]\w*) =", gin.config_str(max_line_length=1000), flags=re.M)
    return sorted(set(names))


def _required_macros() -> list[str]:
    """Names of the macros that still have ``%gin.REQUIRED`` for a value."""
    return sorted(re.findall(r"^([A-Za-z_]\w*) = %gin\.REQUIRED$", gin.config_str(), flags=re.M))


def _parse_bindings(bindings: Sequence[str]) -> None:
    for binding in bindings:
        try:
            gin.parse_config(binding)
        except SyntaxError as error:
            raise ValueError(
                f"--gin.{binding.replace(' = ', '=', 1)} does not parse ({_first_lines(error)}). "
                "A string needs both kinds of quotes: --gin.MODEL_DIR=\"'runs/x'\"."
            ) from error


def _check_macros(bindings: Sequence[str]) -> None:
    """A macro on the command line must exist in the files: gin would take a typing error."""
    known = _macros()
    for binding in bindings:
        name = binding.partition("=")[0].strip()
        if re.fullmatch(r"[A-Za-z_]\w*", name) and name not in known:
            raise ValueError(
                f"Unknown macro {name!r}{benchmarks.near(name, known)}. "
                f"These gin files have: {', '.join(known)}."
            )


def _first_lines(error: BaseException | str) -> str:
    """The message without gin's trail of who called whom."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("In call to configurable")]
    return "\n  ".join(lines[:6]) or type(error).__name__
