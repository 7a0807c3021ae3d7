"""The learning curves of a training, as a table and as pictures."""

from collections.abc import Sequence

from yt8m_pipeline.baselines.history import METRICS, Epoch, as_csv
from yt8m_pipeline.baselines.saved import CURVES
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.report.learning_curves import plot_learning_curves


def write_curves(layout: Layout, history: Sequence[Epoch]) -> None:
    """Writes curves.csv, curves.png and curves.svg."""
    metrics = {name: [epoch.metrics[name] for epoch in history] for name in METRICS}
    losses = [epoch.loss for epoch in history]
    layout.write_bytes(f"{CURVES}.csv", as_csv(history))
    for form in ("png", "svg"):
        layout.write_bytes(f"{CURVES}.{form}", plot_learning_curves(losses, metrics, form))
