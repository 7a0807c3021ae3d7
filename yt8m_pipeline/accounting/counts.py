"""How many rows each stage got, kept and rejected: what shows that no row vanished."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from yt8m_pipeline.accounting.reasons import Stage


@dataclass(frozen=True, order=True, slots=True)
class StageCount:
    """How many rows of a table a stage got, kept, and rejected by reason: rows_in = kept + Σ rejected."""

    stage: Stage
    table: str
    kept: int
    rejected: tuple[tuple[str, int], ...] = ()

    @property
    def rows_in(self) -> int:
        return self.kept + sum(count for _, count in self.rejected)

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "table": self.table,
            "rows_in": self.rows_in,
            "kept": self.kept,
            "rejected": dict(self.rejected),
        }


def total_counts(counts: Iterable[StageCount]) -> list[StageCount]:
    """The sum of the counts of each stage and table."""
    kept: Counter[tuple[Stage, str]] = Counter()
    rejected: defaultdict[tuple[Stage, str], Counter[str]] = defaultdict(Counter)
    for count in counts:
        kept[count.stage, count.table] += count.kept
        for reason, number in count.rejected:
            rejected[count.stage, count.table][reason] += number
    return [StageCount(*key, kept[key], tuple(sorted(rejected[key].items()))) for key in sorted(kept)]
