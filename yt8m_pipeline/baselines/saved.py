"""A model as it lies in its folder: what it is (model.json), its best and last weights, and its learning curves.

model.json is written anew after each epoch. A model is finished when its history is at its end (`history.is_over`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yt8m_pipeline import files
from yt8m_pipeline.baselines.history import Epoch, best_epoch, is_over
from yt8m_pipeline.baselines.settings import KINDS, ModelName, Settings, model_name
from yt8m_pipeline.baselines.sources import Identity
from yt8m_pipeline.dataset.typed_json import from_json, json_object, to_json
from yt8m_pipeline.errors import DataError, PipelineError, UsageError
from yt8m_pipeline.parsing import parse_json

FORMAT = 1
"""The number of the format of model.json."""

CARD, BEST, LAST, CHECKPOINT, CURVES = "model.json", "best.keras", "last.keras", "checkpoint.npz", "curves"
"""The files of a model's folder: curves.csv, .png and .svg are of one stem."""

CURVE_FILES = tuple(f"{CURVES}.{ending}" for ending in ("csv", "png", "svg"))


@dataclass(frozen=True)
class ModelCard:
    """What model.json says.

    Attributes:
        model: The name of the model.
        settings: All its settings, by name.
        identity: What the numbers and classes mean that it was trained on.
        dimensions: The length of the vectors that it reads.
        classes: The number of classes.
        key: A digest of everything that the weights depend on.
        history: One row for each epoch.
        best: The number of the epoch whose weights best.keras has; 0 where none has ended.
        warnings: What who uses the model should know.
        versions: The versions of this package and of TensorFlow that trained it.
    """

    model: str
    settings: Mapping[str, Any]
    identity: Identity
    dimensions: int
    classes: int
    key: str
    history: tuple[Epoch, ...]
    best: int
    warnings: tuple[str, ...]
    versions: Mapping[str, str]

    @property
    def name(self) -> ModelName:
        return model_name(self.model)

    @property
    def parsed_settings(self) -> Settings:
        return KINDS[self.name].model_validate(dict(self.settings))

    @property
    def is_finished(self) -> bool:
        return is_over(self.history, self.parsed_settings)

    def with_history(self, history: Sequence[Epoch]) -> "ModelCard":
        """The card of the same training, after more epochs."""
        best = best_epoch(history, self.parsed_settings.monitor)
        values = {**vars(self), "history": tuple(history), "best": best.number if best else 0}
        return ModelCard(**values)

    def to_bytes(self) -> bytes:
        """The text of model.json."""
        return (json.dumps({"format": FORMAT, **to_json(self)}, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def find(cls, folder: str) -> "ModelCard | None":
        """What model.json of a folder says; None where there is none.

        Raises:
            DataError: it is damaged, or a later version has written it.
        """
        path = files.join(folder, CARD)
        if not files.exists(path):
            return None
        try:
            values = json_object(parse_json(files.read_bytes(path)))
            version = from_json(int, values.pop("format", None))
            if version <= FORMAT:
                card = from_json(cls, values)
                _ = card.parsed_settings
                return card
        except (ValueError, PipelineError) as error:
            raise DataError(
                what="The description of a model cannot be read",
                where=path,
                why=" ".join(str(error).split()),
                fix="copy the folder again, or train the model in a new folder",
            ) from None
        raise DataError(
            what="The model has another format",
            where=path,
            why=f"format {version}, this version reads {FORMAT}",
            fix="upgrade yt8m_pipeline: a later version wrote it",
        )

    @classmethod
    def of(cls, folder: str) -> "ModelCard":
        """What model.json of a finished training says.

        Raises:
            UsageError: there is no model.
            DataError: its training has not ended, or the file is damaged.
        """
        card = cls.find(folder)
        if card is None:
            raise UsageError(
                what="There is no model",
                where=folder,
                why=f"the folder has no {CARD}",
                fix="give a folder that `yt8m train` has written",
            )
        if not card.is_finished:
            raise DataError(
                what="The training of this model has not ended",
                where=folder,
                why=f"{len(card.history)} epochs are done",
                fix="run the same `yt8m train` again: it goes on where it stopped",
            )
        return card
