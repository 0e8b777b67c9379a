"""From scores to the numbers of the report: means, differences, groups, and the CSV."""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xlt_jax.metrics import aggregate
from xlt_jax.registry import languages
from xlt_jax.report.audit import Audit, Exposure, audit, canonical
from xlt_jax.report.intervals import (
    Estimate,
    estimate,
    resample_languages,
    resample_rows,
)
from xlt_jax.report.runs import Study

SOURCE = "en"  # the language of the target training
CSV_COLUMNS = ("arm", "benchmark", "language", "metric", "value", "chance", "n")
GROUPS = ("family", "script", "resource")


@dataclass(frozen=True)
class SummaryRow:
    """One arm in one benchmark, or over all comparable ones (benchmark None).

    Attributes:
        source: Score in English, None when missing.
        others: Mean over the comparable other languages, None when there is none.
        above_chance: ``others`` minus the mean of their chance levels, None without chance.
        source_above_chance: Likewise in English.
        gap: English minus ``others``.
        by_language: ``others`` with the interval over languages instead of rows.
        num_languages: Of ``others``.
        num_rows: Test rows behind ``others``.
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
    num_languages: int
    num_rows: int


@dataclass(frozen=True)
class Comparison:
    """Arm minus baseline.

    Attributes:
        overall: Mean over benchmarks of the mean over the other languages; interval over rows.
        by_language: The same with the interval over languages.
        benchmarks: Of each benchmark.
        source: In English, of each benchmark that both have.
        cells: (benchmark, language) -> difference.
        num_languages: Languages behind ``overall``.
        num_rows: Test rows of each arm behind ``overall``.
    """

    arm: str
    baseline: str
    overall: Estimate
    by_language: Estimate
    benchmarks: Mapping[str, Estimate]
    source: Mapping[str, Estimate]
    cells: Mapping[tuple[str, str], Estimate]
    num_languages: int
    num_rows: int


@dataclass(frozen=True)
class GroupRow:
    """Means over the languages of one group, over comparable benchmarks."""

    criterion: str
    group: str
    codes: tuple[str, ...]
    arms: Mapping[str, Estimate]
    difference: Estimate | None


class Results:
    """Everything computed of a study; each arm's rows are resampled together, once."""

    def __init__(self, study: Study):
        self.study = study
        self.arms = tuple(arm for arm in study.arms if study.cells.get(arm))
        self.benchmarks = tuple(sorted({b for arm in self.arms for b, _ in study.cells[arm]}))
        codes = {code for arm in self.arms for _, code in study.cells[arm]}
        self.codes = tuple(sorted(codes, key=lambda code: (code != SOURCE, code)))
        self.audits: dict[str, Audit] = {arm: audit(study.scored[arm]) for arm in self.arms}
        self.comparisons = tuple(
            self._compare(arm, baseline)
            for arm, baseline in study.comparisons
            if arm in self.arms and baseline in self.arms and self._shared(arm, baseline)
        )

    # ------------------------------------------------------------------------------- one cell
    def value(self, arm: str, benchmark: str, code: str) -> float | None:
        """Score of the main metric, 0..1."""
        cell = self.study.cells[arm].get((benchmark, code))
        return cell.value if cell else None

    def cell(self, arm: str, benchmark: str, code: str) -> Estimate | None:
        """Score with its interval over rows."""
        value = self.value(arm, benchmark, code)
        return None if value is None else estimate(value, self._samples[arm, benchmark, code])

    def exposure(self, arm: str, benchmark: str, code: str) -> Exposure:
        """How zero-shot the score is."""
        return self._exposures[arm, benchmark, code]

    @cached_property
    def _exposures(self) -> dict[tuple[str, str, str], Exposure]:
        return {
            (arm, b, code): self.audits[arm].exposure(b, code)
            for arm in self.arms
            for b, code in self.study.cells[arm]
        }

    @cached_property
    def _samples(self) -> dict[tuple[str, str, str], np.ndarray]:
        """(arm, benchmark, language) -> resampled means_R, paired between arms."""
        samples = {}
        for benchmark in self.benchmarks:
            for code in self.codes:
                key = benchmark, code
                rows = {a: self.study.cells[a][key].rows for a in self.arms if self._has(a, *key)}
                for arm, means_R in resample_rows(rows, f"{benchmark}.{code}").items():
                    samples[arm, benchmark, code] = means_R
        return samples

    def _has(self, arm: str, benchmark: str, code: str) -> bool:
        return (benchmark, code) in self.study.cells[arm]

    # -------------------------------------------------------------------- what may be averaged
    @cached_property
    def zero_shot_codes(self) -> dict[str, tuple[str, ...]]:
        """Benchmark -> other languages that every arm with this benchmark has, trained on it in
        none: what means are taken over, in all arms alike."""
        result = {}
        for benchmark in self.benchmarks:
            arms = self._arms_with(benchmark)
            result[benchmark] = tuple(
                code
                for code in self.codes
                if code != SOURCE
                and all(self._has(arm, benchmark, code) for arm in arms)
                and all(self.exposure(a, benchmark, code) is not Exposure.TASK_SEEN for a in arms)
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
                if arm not in self._arms_with(benchmark):
                    notes.append(
                        f"Arm {arm} has no scores of {benchmark}, so {benchmark} is not in the "
                        "mean over benchmarks."
                    )
                    continue
                expected = {c for a in self._arms_with(benchmark) for b, c in self.study.cells[a]
                            if b == benchmark}  # fmt: skip
                missing = sorted(c for c in expected if not self._has(arm, benchmark, c))
                if missing:
                    tasks = ", ".join(f"{benchmark}.{code}" for code in missing)
                    notes.append(
                        f"Arm {arm} lacks {tasks}. The means of {benchmark} leave "
                        f"{'this language' if len(missing) == 1 else 'these languages'} out in "
                        "every arm."
                    )
                seen = [
                    code
                    for code in sorted(expected - {SOURCE} - set(missing))
                    if self.exposure(arm, benchmark, code) is Exposure.TASK_SEEN
                ]
                if seen:
                    tasks = ", ".join(f"{benchmark}.{code}" for code in seen)
                    notes.append(
                        f"Arm {arm} was trained on labels of {tasks}: not zero-shot, so no mean "
                        f"of {benchmark} contains {'it' if len(seen) == 1 else 'them'}, in any arm."
                    )
        notes += [
            f"Zero-shot is not checked for arm {arm}: {self.audits[arm].gap}."
            for arm in self.arms
            if self.audits[arm].gap
        ]
        return notes

    # ------------------------------------------------------------------------------------ means
    def mean(
        self, arm: str, benchmarks: Sequence[str], codes: Collection[str] | None = None
    ) -> Estimate | None:
        """Mean over benchmarks of the mean over their zero-shot languages (those in ``codes``)."""
        found = self._mean(arm, benchmarks, codes)
        return estimate(*found) if found else None

    def _mean(
        self, arm: str, benchmarks: Sequence[str], codes: Collection[str] | None = None
    ) -> tuple[float, np.ndarray] | None:
        tasks = {
            f"{benchmark}.{code}": (benchmark, code)
            for benchmark in benchmarks
            for code in self.zero_shot_codes[benchmark]
            if (codes is None or code in codes) and self._has(arm, benchmark, code)
        }
        if not tasks:
            return None
        # The score itself and each of its resamples go through the same means.
        values = aggregate.by_benchmark({t: self.value(arm, *k) for t, k in tasks.items()})
        samples = aggregate.by_benchmark({t: self._samples[arm, *k] for t, k in tasks.items()})
        return float(np.mean([*values.values()])), np.mean([*samples.values()], axis=0)

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
            num_languages=len(codes),
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
            num_languages=len({code for table in tables for code in table}),
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
        cells = {
            (b, code): estimate(
                self.value(arm, b, code) - self.value(baseline, b, code),
                self._samples[arm, b, code] - self._samples[baseline, b, code],
            )
            for b in self.benchmarks
            for code in self.codes
            if self._has(arm, b, code) and self._has(baseline, b, code)
        }
        shared = self._shared(arm, baseline)
        tables = [{c: cells[b, c].value for c in self.zero_shot_codes[b]} for b in shared]
        overall = self.difference(arm, baseline, shared)
        per_benchmark = {b: self.difference(arm, baseline, [b]) for b in self.benchmarks}
        return Comparison(
            arm=arm,
            baseline=baseline,
            overall=overall,
            by_language=estimate(overall.value, resample_languages(tables)),
            benchmarks={b: found for b, found in per_benchmark.items() if found},
            source={b: found for (b, code), found in cells.items() if code == SOURCE},
            cells=cells,
            num_languages=len({code for table in tables for code in table}),
            num_rows=sum(
                self.study.cells[arm][b, c].n for b in shared for c in self.zero_shot_codes[b]
            ),
        )

    # ----------------------------------------------------------------------------------- groups
    def groups(self) -> list[GroupRow]:
        """Means by family, script, resource class, and by the arms with labels in the language."""
        comparison = self.comparisons[0] if self.comparisons else None
        zero_shot = sorted({c for b in self.comparable for c in self.zero_shot_codes[b]})
        rows = []
        for criterion in (*GROUPS, "labels in the language"):
            members: dict[str, list[str]] = {}
            for code in zero_shot:
                members.setdefault(self._group(criterion, code), []).append(code)
            for group in sorted(members, key=lambda name: _group_order(criterion, name)):
                codes = tuple(members[group])
                rows.append(
                    GroupRow(
                        criterion=criterion,
                        group=group,
                        codes=codes,
                        arms={arm: self.mean(arm, self.comparable, codes) for arm in self.arms},
                        difference=comparison
                        and self.difference(
                            comparison.arm, comparison.baseline, self.comparable, codes
                        ),
                    )
                )
        return rows

    def _group(self, criterion: str, code: str) -> str:
        if criterion in GROUPS:
            language = languages.LANGUAGES.get(canonical(code))
            return getattr(language, criterion) if language else "unknown"
        seen = [
            arm
            for arm in self.arms
            if any(trained.language == canonical(code) for trained in self.audits[arm].labelled)
        ]
        return f"in arm {', '.join(seen)}" if seen else "in no arm"

    # -------------------------------------------------------------------------------------- CSV
    def csv_text(self) -> str:
        """``scores.csv``: one line for each arm, benchmark and language."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for arm in self.arms:
            for (benchmark, code), cell in sorted(self.study.cells[arm].items()):
                chance = "" if cell.chance is None else f"{cell.chance:.6g}"
                value = f"{cell.value:.6g}"
                writer.writerow((arm, benchmark, code, cell.metric, value, chance, cell.n))
        return file.getvalue()


def language_name(code: str) -> str:
    """English name, or the code when the registry lacks it."""
    language = languages.LANGUAGES.get(canonical(code))
    return language.name if language else code


def _minus(found: Estimate | None, constant: float | None) -> Estimate | None:
    if found is None or constant is None:
        return None
    return Estimate(found.value - constant, found.low - constant, found.high - constant)


def _group_order(criterion: str, name: str) -> tuple:
    order = ("high", "mid", "low") if criterion == "resource" else ()
    return (order.index(name) if name in order else len(order), name == "unknown", name)
