"""From scores to the numbers of the report: means, differences, and what is left out of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from xlt_jax.metrics import aggregate
from xlt_jax.registry import languages
from xlt_jax.report.audit import Audit, Auditor, Exposure, Leak, canonical
from xlt_jax.report.intervals import (
    Estimate,
    estimate,
    resample_languages,
    resample_rows,
    resample_seeds,
    simultaneous,
)
from xlt_jax.report.runs import Study
from xlt_jax.report.scores import Cell, Key

SOURCE = "en"  # the language of the target training
_SEVERITY = list(Exposure)


@dataclass(frozen=True)
class SummaryRow:
    """One arm in one benchmark, or over all comparable ones (benchmark None).

    Attributes:
        source: Score in English, None when missing.
        others: Mean over the comparable other languages, None when there is none.
        above_chance: ``others`` minus the mean of their chance levels, None without chance.
        source_above_chance: Likewise in English.
        gap: English minus ``others``.
        by_language: ``others`` with the interval over languages instead of rows and seeds.
        by_seed: Seed -> ``others`` of that seed alone.
        num_languages: Of ``others``; pairs count as the languages in them.
        num_rows: Test rows behind ``others``, in each seed.
    """

    arm: str
    benchmark: str | None
    source: Estimate | None
    others: Estimate | None
    chance: float | None
    source_above_chance: Estimate | None
    above_chance: Estimate | None
    gap: Estimate | None
    by_language: Estimate | None
    by_seed: Mapping[int | None, float]
    num_languages: int
    num_rows: int

    @property
    def seed_deviation(self) -> float | None:
        """Standard deviation of ``others`` over seeds; None with fewer than two."""
        return deviation(self.by_seed)


@dataclass(frozen=True)
class Comparison:
    """Arm minus baseline.

    Attributes:
        overall: Mean over benchmarks of the mean over the other languages; interval over rows and
            seeds.
        by_language: The same with the interval over languages.
        by_seed: Seed -> ``overall`` of that seed alone, of the seeds that all benchmarks have.
        num_seeds: Fewest and most seeds of a benchmark.
        benchmarks: Of each benchmark.
        source: In English, of each benchmark that both have, with an interval of its own.
        cells: (benchmark, language) -> difference; the intervals hold all together.
        num_languages: Languages behind ``overall``.
        num_rows: Test rows of each arm and seed behind ``overall``.
    """

    arm: str
    baseline: str
    overall: Estimate
    by_language: Estimate
    by_seed: Mapping[int | None, float]
    num_seeds: tuple[int, int]
    benchmarks: Mapping[str, Estimate]
    source: Mapping[str, Estimate]
    cells: Mapping[Key, Estimate]
    num_languages: int
    num_rows: int

    @property
    def name(self) -> str:
        """``multitask − english``."""
        return f"{self.arm} − {self.baseline}"

    @property
    def seed_deviation(self) -> float | None:
        """Standard deviation of ``overall`` over seeds; None with fewer than two."""
        return deviation(self.by_seed)

    def holding(self, sign: int) -> list[Key]:
        """Cells whose difference has this sign after the correction."""
        return [key for key, found in self.cells.items() if found.sign == sign]


class Results:
    """Everything computed of a study; the rows of all arms and seeds are resampled together."""

    def __init__(self, study: Study):
        self.study = study
        self.arms = tuple(arm for arm in study.arms if study.cells.get(arm))
        self.benchmarks = tuple(sorted({b for arm in self.arms for b, _ in study.cells[arm]}))
        codes = {code for arm in self.arms for _, code in study.cells[arm]}
        self.codes = tuple(sorted(codes, key=lambda code: (code != SOURCE, code)))
        auditor = Auditor(study.stages)
        self._audits: dict[Path, Audit] = {}  # of scored stages, by folder
        self.audits: dict[str, tuple[Audit, ...]] = {}  # by arm: of all seeds and scored stages
        for arm in self.arms:
            mine = [stage for (a, _), found in study.scored.items() if a == arm for stage in found]
            for stage in mine:
                self._audits[stage.folder] = auditor.audit(stage)
            self.audits[arm] = tuple(self._audits[stage.folder] for stage in mine)
        self.comparisons = tuple(
            self._compare(arm, baseline)
            for arm, baseline in study.comparisons
            if arm in self.arms and baseline in self.arms and self._shared(arm, baseline)
        )

    # ------------------------------------------------------------------------------- one cell
    def value(self, arm: str, benchmark: str, code: str) -> float | None:
        """Score of the main metric, mean over seeds, 0..1."""
        cell = self.study.cells[arm].get((benchmark, code))
        return cell.value if cell else None

    def cell(self, arm: str, benchmark: str, code: str) -> Estimate | None:
        """Score with its interval over rows and seeds."""
        value = self.value(arm, benchmark, code)
        return None if value is None else estimate(value, self._samples[arm, benchmark, code])

    def exposure(self, arm: str, benchmark: str, code: str) -> Exposure:
        """How zero-shot the score is, in the seed where it is least so."""
        return self._exposures[arm, benchmark, code]

    @cached_property
    def _exposures(self) -> dict[tuple[str, str, str], Exposure]:
        return {
            (arm, b, code): max(
                (
                    self._audits[score.stage.folder].exposure(b, code, score)
                    for score in cell.seeds.values()
                ),
                key=_SEVERITY.index,
            )
            for arm in self.arms
            for (b, code), cell in self.study.cells[arm].items()
        }

    def audit_of(self, cell: Cell) -> dict[int | None, Audit]:
        """Seed -> audit of the stage that scored the cell."""
        return {seed: self._audits[score.stage.folder] for seed, score in cell.seeds.items()}

    def leaks(self, arm: str, benchmark: str, code: str) -> dict[Leak, None]:
        """Training tasks that hold rows of the cell by their hashes, in any seed, each once."""
        cell = self.study.cells[arm][benchmark, code]
        return {
            leak: None
            for seed, audit in self.audit_of(cell).items()
            for leak in audit.leaks(cell.seeds[seed].texts, cell.seeds[seed].n)
        }

    def gap(self, arm: str) -> str | None:
        """Why zero-shot cannot be checked for the arm; None when it can."""
        gaps = dict.fromkeys(audit.gap for audit in self.audits[arm] if audit.gap)
        return "; ".join(gaps) or None

    @cached_property
    def _samples(self) -> dict[tuple[str, str, str], np.ndarray]:
        """(arm, benchmark, language) -> resampled means_R over seeds, paired between arms."""
        samples = {}
        for benchmark in self.benchmarks:
            for code in self.codes:
                cells = {
                    arm: self.study.cells[arm][benchmark, code]
                    for arm in self.arms
                    if self._has(arm, benchmark, code)
                }
                rows = {
                    (a, s): score.rows for a, c in cells.items() for s, score in c.seeds.items()
                }
                means = resample_rows(rows, f"{benchmark}.{code}")
                for arm, cell in cells.items():
                    samples[arm, benchmark, code] = resample_seeds(
                        {seed: means[arm, seed] for seed in cell.seeds}
                    )
        return samples

    def _has(self, arm: str, benchmark: str, code: str) -> bool:
        return (benchmark, code) in self.study.cells[arm]

    # -------------------------------------------------------------------- what may be averaged
    @cached_property
    def zero_shot_codes(self) -> dict[str, tuple[str, ...]]:
        """Benchmark -> other languages that every arm with this benchmark has, with labels of it or
        rows that share its texts trained on in none: what means are over, in all arms alike."""
        result = {}
        for benchmark in self.benchmarks:
            arms = self._arms_with(benchmark)
            result[benchmark] = tuple(
                code
                for code in self.codes
                if code != SOURCE
                and all(self._has(arm, benchmark, code) for arm in arms)
                and not any(self.exposure(arm, benchmark, code).refused for arm in arms)
            )
        return result

    @cached_property
    def comparable(self) -> tuple[str, ...]:
        """Benchmarks that every arm has in some zero-shot language: the overall mean's."""
        return tuple(
            benchmark
            for benchmark in self.benchmarks
            if self._arms_with(benchmark) == self.arms and self.zero_shot_codes[benchmark]
        )

    def _arms_with(self, benchmark: str) -> tuple[str, ...]:
        return tuple(a for a in self.arms if any(b == benchmark for b, _ in self.study.cells[a]))

    def left_out(self) -> list[str]:
        """What is missing or not averaged, and why: sentences."""
        notes = list(self.study.notes)
        for benchmark in self.benchmarks:
            for arm in self.arms:
                notes += self._left_out_of(benchmark, arm)
        notes += [
            f"Zero-shot is not checked for arm {arm}: {self.gap(arm)}."
            for arm in self.arms
            if self.gap(arm)
        ]
        return notes

    def _left_out_of(self, benchmark: str, arm: str) -> list[str]:
        if arm not in self._arms_with(benchmark):
            return [
                f"Arm {arm} has no scores of {benchmark}, so {benchmark} is not in the mean over "
                "benchmarks."
            ]
        notes = []
        arms = self._arms_with(benchmark)
        expected = {code for a in arms for b, code in self.study.cells[a] if b == benchmark}
        missing = sorted(code for code in expected if not self._has(arm, benchmark, code))
        if missing:
            notes.append(
                f"Arm {arm} lacks {_tasks(benchmark, missing)}. The means of {benchmark} leave "
                f"{'this language' if len(missing) == 1 else 'these languages'} out in every arm."
            )
        reasons = {
            Exposure.TASK_SEEN: "labels of",
            Exposure.TEXT_SEEN: "rows that share texts with",
        }
        for exposure, what in reasons.items():
            seen = [
                code
                for code in sorted(expected - {SOURCE} - set(missing))
                if self.exposure(arm, benchmark, code) is exposure
            ]
            if seen:
                rows = self._leaked_rows(arm, benchmark, seen)
                notes.append(
                    f"Arm {arm} was trained on {what} {_tasks(benchmark, seen)}{rows}: not "
                    f"zero-shot, so no mean of {benchmark} contains "
                    f"{'it' if len(seen) == 1 else 'them'}, in any arm."
                )
        return notes

    def _leaked_rows(self, arm: str, benchmark: str, codes: Sequence[str]) -> str:
        """How many rows were found by their hashes; nothing where none were."""
        most = {}
        for code in codes:
            if found := self.leaks(arm, benchmark, code):
                leak = max(found, key=lambda leak: leak.rows)
                most[code] = f"{leak.rows:,} of {leak.of:,} rows of {code} in {leak.stage}"
        return f" ({', '.join(most.values())})" if most else ""

    # ------------------------------------------------------------------------------------ means
    def mean(
        self, arm: str, benchmarks: Sequence[str], codes: Collection[str] | None = None
    ) -> Estimate | None:
        """Mean over benchmarks of the mean over their zero-shot languages, or over those of
        ``codes``; None without any."""
        found = self._mean(arm, benchmarks, codes)
        return estimate(*found) if found else None

    def _tasks(
        self, arm: str, benchmarks: Sequence[str], codes: Collection[str] | None = None
    ) -> dict[str, Key]:
        return {
            f"{benchmark}.{code}": (benchmark, code)
            for benchmark in benchmarks
            for code in self.zero_shot_codes[benchmark]
            if (codes is None or code in codes) and self._has(arm, benchmark, code)
        }

    def _mean(
        self, arm: str, benchmarks: Sequence[str], codes: Collection[str] | None = None
    ) -> tuple[float, np.ndarray] | None:
        tasks = self._tasks(arm, benchmarks, codes)
        if not tasks:
            return None
        # The score itself and each of its resamples go through the same means.
        values = aggregate.by_benchmark({t: self.value(arm, *k) for t, k in tasks.items()})
        samples = aggregate.by_benchmark({t: self._samples[arm, *k] for t, k in tasks.items()})
        return float(np.mean([*values.values()])), np.mean([*samples.values()], axis=0)

    def _by_seed(self, arm: str, benchmarks: Sequence[str]) -> dict[int | None, float]:
        """Seed -> the mean of that seed alone, for the seeds that all its cells have."""
        cells = {t: self.study.cells[arm][k] for t, k in self._tasks(arm, benchmarks).items()}
        if not cells:
            return {}
        seeds = [
            s for s in next(iter(cells.values())).seeds if all(s in c.seeds for c in cells.values())
        ]
        means = {
            seed: aggregate.by_benchmark({t: c.seeds[seed].value for t, c in cells.items()})
            for seed in seeds
        }
        return {seed: float(np.mean([*mean.values()])) for seed, mean in means.items()}

    def _chance(self, arm: str, benchmark: str, codes: Sequence[str]) -> float | None:
        levels = [self.study.cells[arm][benchmark, code].chance for code in codes]
        return None if not levels or None in levels else float(np.mean(levels))

    @cached_property
    def summary(self) -> tuple[SummaryRow, ...]:
        """One row for each benchmark and arm, then the means over comparable benchmarks."""
        rows = [self._summary(a, b) for b in self.benchmarks for a in self._arms_with(b)]
        if len(self.comparable) > 1:
            rows += [self._overall(arm) for arm in self.arms]
        return tuple(rows)

    def _summary(self, arm: str, benchmark: str) -> SummaryRow:
        codes = self.zero_shot_codes[benchmark]
        chance = self._chance(arm, benchmark, codes)
        found = self._mean(arm, [benchmark])
        source = self.cell(arm, benchmark, SOURCE)
        source_chance = self._chance(arm, benchmark, [SOURCE]) if source else None
        table = {code: self.value(arm, benchmark, code) for code in codes}
        return SummaryRow(
            arm=arm,
            benchmark=benchmark,
            source=source,
            others=estimate(*found) if found else None,
            chance=chance,
            source_above_chance=_minus(source, source_chance),
            above_chance=_minus(estimate(*found) if found else None, chance),
            gap=self._gap(arm, [benchmark]),
            by_language=estimate(found[0], resample_languages([table])) if found else None,
            by_seed=self._by_seed(arm, [benchmark]),
            num_languages=num_languages(codes),
            num_rows=sum(self.study.cells[arm][benchmark, code].n for code in codes),
        )

    def _overall(self, arm: str) -> SummaryRow:
        rows = [self._summary(arm, benchmark) for benchmark in self.comparable]
        found = self._mean(arm, self.comparable)
        chances = [row.chance for row in rows]
        chance = None if None in chances else float(np.mean(chances))
        tables = [
            {code: self.value(arm, b, code) for code in self.zero_shot_codes[b]}
            for b in self.comparable
        ]
        source = self._source_mean(arm, self.comparable)
        return SummaryRow(
            arm=arm,
            benchmark=None,
            source=estimate(*source) if source else None,
            others=estimate(*found),
            chance=chance,
            source_above_chance=None,
            above_chance=_minus(estimate(*found), chance),
            gap=self._gap(arm, self.comparable),
            by_language=estimate(found[0], resample_languages(tables)),
            by_seed=self._by_seed(arm, self.comparable),
            num_languages=num_languages([code for table in tables for code in table]),
            num_rows=sum(row.num_rows for row in rows),
        )

    def _source_mean(self, arm: str, benchmarks: Sequence[str]) -> tuple[float, np.ndarray] | None:
        if not all(self._has(arm, benchmark, SOURCE) for benchmark in benchmarks):
            return None
        values = [self.value(arm, benchmark, SOURCE) for benchmark in benchmarks]
        samples = [self._samples[arm, benchmark, SOURCE] for benchmark in benchmarks]
        return float(np.mean(values)), np.mean(samples, axis=0)

    def _gap(self, arm: str, benchmarks: Sequence[str]) -> Estimate | None:
        source, others = self._source_mean(arm, benchmarks), self._mean(arm, benchmarks)
        if source is None or others is None:
            return None
        return estimate(source[0] - others[0], source[1] - others[1])

    # ------------------------------------------------------------------------------ differences
    def _shared(self, arm: str, baseline: str) -> list[str]:
        """Benchmarks of a comparison: the comparable ones, or what these two arms share."""
        both = [b for b in self.benchmarks if {arm, baseline} <= set(self._arms_with(b))]
        return list(self.comparable) or [b for b in both if self.zero_shot_codes[b]]

    def difference(
        self,
        arm: str,
        baseline: str,
        benchmarks: Sequence[str],
        codes: Collection[str] | None = None,
    ) -> Estimate | None:
        """Arm minus baseline of ``mean``, paired."""
        one = self._mean(arm, benchmarks, codes)
        other = self._mean(baseline, benchmarks, codes)
        if one is None or other is None:
            return None
        return estimate(one[0] - other[0], one[1] - other[1])

    def _compare(self, arm: str, baseline: str) -> Comparison:
        keys = [
            (b, code)
            for b in self.benchmarks
            for code in self.codes
            if self._has(arm, b, code) and self._has(baseline, b, code)
        ]
        values = {key: self.value(arm, *key) - self.value(baseline, *key) for key in keys}
        samples = {key: self._samples[arm, *key] - self._samples[baseline, *key] for key in keys}
        shared = self._shared(arm, baseline)
        tables = [{c: values[b, c] for c in self.zero_shot_codes[b]} for b in shared]
        overall = self.difference(arm, baseline, shared)
        per_benchmark = {b: self.difference(arm, baseline, [b]) for b in self.benchmarks}
        one, other = self._by_seed(arm, shared), self._by_seed(baseline, shared)
        counts = [
            len(self.study.cells[a][b, c].seeds)
            for a in (arm, baseline)
            for b in shared
            for c in self.zero_shot_codes[b]
        ]
        return Comparison(
            arm=arm,
            baseline=baseline,
            overall=overall,
            by_language=estimate(overall.value, resample_languages(tables)),
            by_seed={seed: one[seed] - other[seed] for seed in one if seed in other},
            num_seeds=(min(counts), max(counts)),
            benchmarks={b: found for b, found in per_benchmark.items() if found},
            source={
                b: estimate(values[b, code], samples[b, code]) for b, code in keys if code == SOURCE
            },
            cells=simultaneous(values, samples),
            num_languages=num_languages([code for table in tables for code in table]),
            num_rows=sum(
                self.study.cells[arm][b, c].n for b in shared for c in self.zero_shot_codes[b]
            ),
        )

    @property
    def num_seeds(self) -> int:
        """Seeds behind the means: one where no stage has a seed."""
        return max(len(c.seeds) for arm in self.arms for c in self.study.cells[arm].values())


def deviation(by_seed: Mapping[int | None, float]) -> float | None:
    """Standard deviation of the values over seeds (divided by their number less one)."""
    return float(np.std([*by_seed.values()], ddof=1)) if len(by_seed) > 1 else None


def language_name(code: str) -> str:
    """English name, of a pair both, or the code when the registry lacks it."""
    if is_pair(code):
        return " – ".join(languages.LANGUAGES[part].name for part in _parts(code))
    language = languages.LANGUAGES.get(canonical(code))
    return language.name if language else code


def num_languages(codes: Collection[str]) -> int:
    """Languages other than the target training's, alone or in a pair."""
    return len({part for code in codes for part in _parts(code)} - {SOURCE})


def is_pair(code: str) -> bool:
    """Whether this is a pair of languages, as ``en-sw``."""
    first, _, second = code.partition("-")
    return first in languages.LANGUAGES and second in languages.LANGUAGES


def _parts(code: str) -> list[str]:
    return code.split("-") if is_pair(code) else [code]


def _minus(found: Estimate | None, constant: float | None) -> Estimate | None:
    if found is None or constant is None:
        return None
    return Estimate(found.value - constant, found.low - constant, found.high - constant)


def _tasks(benchmark: str, codes: Sequence[str]) -> str:
    return ", ".join(f"{benchmark}.{code}" for code in codes)
