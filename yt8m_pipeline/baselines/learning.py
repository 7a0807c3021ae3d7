"""One training from its first step to its last: steps, checkpoints, validation after each epoch, best and last kept."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite, isnan
from typing import Any, TypeAlias

from yt8m_pipeline import files
from yt8m_pipeline.baselines.checkpoints import Place, Variables, find_checkpoint, save_checkpoint
from yt8m_pipeline.baselines.curves import write_curves
from yt8m_pipeline.baselines.history import METRICS, Epoch, best_epoch, is_over
from yt8m_pipeline.baselines.inputs import read, train_batches
from yt8m_pipeline.baselines.layers import fused, tf
from yt8m_pipeline.baselines.models import FAMILIES, LAST, Batch, Family, Network, optimizer_of, shrinkage
from yt8m_pipeline.baselines.networks import load_network, save_network
from yt8m_pipeline.baselines.plan import TrainingPlan
from yt8m_pipeline.baselines.saved import BEST, CARD
from yt8m_pipeline.baselines.saved import LAST as LAST_WEIGHTS
from yt8m_pipeline.baselines.scoring import Scorer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.jobs.progress import PROGRESS

Step: TypeAlias = Callable[[Batch], Any]

CHECKPOINT_SECONDS = 60.0
"""A checkpoint is written after this time, and at the end of an epoch. What a killed training has done since is done
again. The largest checkpoint here, of LSTMs with the paper's settings, has 250 MB."""

TOLD_SECONDS = 0.5
"""Progress is told at most this often: a step of a small model takes less than a millisecond."""


class Learner:
    """The network of a training, its optimizer, and one step of both.

    Attributes:
        network: The network.
        scorer: Asks the network for scores.
    """

    def __init__(self, plan: TrainingPlan) -> None:
        source, settings = plan.source, plan.settings
        family = FAMILIES[plan.model]
        tf.keras.utils.set_random_seed(settings.seed)
        self.network: Network = family.build(settings, source.dimensions, source.classes)
        if plan.init_from:
            take_weights(self.network, load_network(plan.init_from), plan)
        self._optimizer = optimizer_of(settings)
        self._optimizer.build(self.network.trainable_variables)
        self._step = self._compiled(family, plan)
        self.scorer = Scorer(family, self.network)

    @property
    def variables(self) -> Variables:
        """The values of all that a step changes."""
        return [variable.numpy() for variable in self._all]

    def restore(self, values: Variables) -> None:
        """Sets all that a step changes."""
        for variable, value in zip(self._all, values, strict=True):
            variable.assign(value)

    def step(self, batch: Batch) -> float:
        """Learns from a batch; returns the mean loss of its videos, without penalties."""
        return float(self._step({name: value for name, value in batch.items() if name != "id"}))

    @property
    def _all(self) -> Sequence[Any]:
        return [*self.network.variables, *self._optimizer.variables]

    def _compiled(self, family: Family, plan: TrainingPlan) -> Step:
        network, settings, videos = self.network, plan.settings, plan.source.videos(Partition.TRAIN)
        variables = network.trainable_variables

        @fused
        def update(gradients: Sequence[Any]) -> None:
            pairs = zip(gradients, variables, strict=True)
            self._optimizer.apply(
                [gradient + shrinkage(settings, variable, videos) * variable for gradient, variable in pairs], variables
            )

        def step(batch: Batch) -> Any:
            with tf.GradientTape() as tape:
                inputs = {name: value for name, value in batch.items() if name != "labels"}
                loss = tf.reduce_mean(family.loss(settings, network(inputs, training=True), batch))
            update(tape.gradient(loss, variables))
            return loss

        compiled: Step = tf.function(step)
        return compiled


def take_weights(network: Network, source: Network, plan: TrainingPlan) -> None:
    """Sets the weights of a new network to those of a trained one, but for the last layer if the classes are others.

    Raises:
        UsageError: if a layer has another shape.
    """
    for layer in network.layers:
        if layer.name == LAST and not plan.keeps_classes:
            continue
        theirs = source.get_layer(layer.name).get_weights()
        shapes = [[weights.shape for weights in own] for own in (theirs, layer.get_weights())]
        if shapes[0] != shapes[1]:
            raise UsageError(
                what="The weights of the other model do not fit this one",
                where=f"--init-from {plan.init_from}, layer {layer.name}",
                why=f"they have the shapes {shapes[0]}, and this model {shapes[1]}",
                fix="give the same settings with --set, or --small as there",
            )
        layer.set_weights(theirs)


def learn(plan: TrainingPlan, layout: Layout) -> None:
    """Trains a model in a folder that this process holds, from its checkpoint if there is one.

    Raises:
        DataError: a record is damaged, the loss is not a number, or the memory does not suffice.
    """
    with _explained(plan):
        learner, place = _begun(plan, layout)
        _announce(plan, place)
        while not is_over(place.history, plan.settings):
            place = _after_steps(plan, layout, learner, place)
            place = _after_epoch(plan, layout, learner, place)
    layout.write_bytes(CARD, plan.card.with_history(place.history).to_bytes())
    write_curves(layout, place.history)


def _begun(plan: TrainingPlan, layout: Layout) -> tuple[Learner, Place]:
    learner, found = Learner(plan), find_checkpoint(layout)
    has_weights = files.exists(layout.path(BEST))
    if found is None or found[0].key != plan.card.key or (found[0].history and not has_weights):
        layout.write_bytes(CARD, plan.card.to_bytes())
        return learner, Place(plan.card.key)
    learner.restore(found[1])
    return learner, found[0]


def _after_steps(plan: TrainingPlan, layout: Layout, learner: Learner, place: Place) -> Place:
    """Goes through what is left of an epoch. The place after it has the loss of the whole epoch."""
    start, saved_at, told = time.monotonic() - place.seconds, time.monotonic(), _Told("train")
    batches = train_batches(plan.source, plan.settings, place.epoch, place.batch)
    for batch in read(batches, plan.source.dataset.layout.root):
        videos = int(batch["labels"].shape[0])
        loss = learner.step(batch)
        _require_number(loss, plan, place)
        place = replace(place, batch=place.batch + 1, videos=place.videos + videos, loss=place.loss + loss * videos)
        told.advance(videos)
        if time.monotonic() - saved_at >= CHECKPOINT_SECONDS:
            save_checkpoint(layout, replace(place, seconds=time.monotonic() - start), learner.variables)
            saved_at = time.monotonic()
    told.advance(0, now=True)
    return replace(place, seconds=time.monotonic() - start)


def _after_epoch(plan: TrainingPlan, layout: Layout, learner: Learner, place: Place) -> Place:
    """Validates, keeps the weights, and writes the place where the next epoch begins."""
    values = learner.scorer.evaluation(plan.source, plan.settings, Partition.VALIDATE).values
    metrics = {name: None if isnan(values[name]) else values[name] for name in METRICS}
    epoch = Epoch(place.epoch, place.loss / place.videos, metrics, round(place.seconds, 3))
    history = (*place.history, epoch)
    save_network(layout, LAST_WEIGHTS, learner.network)
    if best_epoch(history, plan.settings.monitor) is epoch:
        save_network(layout, BEST, learner.network)
    after = Place(place.key, place.epoch + 1, history=history)
    save_checkpoint(layout, after, learner.variables)
    layout.write_bytes(CARD, plan.card.with_history(history).to_bytes())
    _say(plan, epoch)
    return after


def _require_number(loss: float, plan: TrainingPlan, place: Place) -> None:
    if not isfinite(loss):
        raise DataError(
            what="The loss is not a number",
            where=f"{plan.layout.root}, epoch {place.epoch}, batch {place.batch + 1}",
            why=f"it is {loss}: the weights have grown beyond all bounds, or a feature is no number",
            fix=f"train in a new folder with a smaller learning_rate (it is {plan.settings.learning_rate:g})",
        )


@contextmanager
def _explained(plan: TrainingPlan) -> Iterator[None]:
    """Tells a lack of memory as what it is, and what helps."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        size = plan.settings.batch_size
        raise DataError(
            what="There is not enough memory to train",
            where=plan.layout.root,
            why=" ".join(error.message.split())[:300],
            fix=f"train in a new folder with a smaller batch_size (it is {size}): --set batch_size={max(size // 2, 1)}",
        ) from None


class _Told:
    """Tells how many videos a stage has finished, not more often than anybody can see."""

    def __init__(self, stage: str) -> None:
        self._stage, self._videos, self._at = stage, 0, time.monotonic()

    def advance(self, videos: int, *, now: bool = False) -> None:
        self._videos += videos
        if self._videos and (now or time.monotonic() - self._at >= TOLD_SECONDS):
            extra = {"stage": self._stage, "done": self._videos, "frames": 0}
            PROGRESS.info("%s: %d done", self._stage, self._videos, extra=extra)
            self._videos, self._at = 0, time.monotonic()


def _announce(plan: TrainingPlan, place: Place) -> None:
    """Says how many videos are before the training if no early end comes."""
    left = (plan.settings.epochs - place.epoch + 1) * plan.source.videos(Partition.TRAIN) - place.videos
    PROGRESS.info("train: %d to do", left, extra={"stage": "train", "total": max(left, 0)})


def _say(plan: TrainingPlan, epoch: Epoch) -> None:
    PROGRESS.info(
        "epoch %d of at most %d: loss %.4g; validate %s",
        epoch.number,
        plan.settings.epochs,
        epoch.loss,
        told_metrics(epoch.metrics),
        extra={"ready": None},
    )


def told_metrics(metrics: Mapping[str, float | None]) -> str:
    """The metrics as a line: `map 0.412, hit@1 0.53`."""
    return ", ".join(f"{name} {'-' if value is None else format(value, '.3f')}" for name, value in metrics.items())
