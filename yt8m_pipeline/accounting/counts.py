"""The numbers of rows that each stage got, kept and rejected. They show that no row is lost."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from yt8m_pipeline.accounting.reasons import Stage


@dataclass(frozen=True, order=True, slots=True)
class StageCount:
    """The numbers of rows of one table that a stage kept, and rejected by reason.

    >>> count = StageCount(Stage.ELIGIBILITY, "videos", kept=7, rejected=(("too_long", 2), ("too_short", 1)))
    >>> count.rows_in
    10
    """

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
    """Adds up the counts of each stage and table, and sorts them."""
    kept: Counter[tuple[Stage, str]] = Counter()
    rejected: defaultdict[tuple[Stage, str], Counter[str]] = defaultdict(Counter)
    for count in counts:
        kept[count.stage, count.table] += count.kept
        for reason, number in count.rejected:
            rejected[count.stage, count.table][reason] += number
    return [StageCount(*key, kept[key], tuple(sorted(rejected[key].items()))) for key in sorted(kept)]
