"""The errors a user can meet. Each says what, where, why and what to do (four parts)."""

from yt8m_pipeline.data_model import DropReason


class PipelineError(Exception):
    """An error with four parts. Subclasses choose the exit code of the command line.

    Args:
        what: What happened, as one sentence. A step that Beam appends to it is left out.
        where: The file, row, id or config field.
        why: The cause.
        fix: What the user can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, where: str, why: str, fix: str) -> None:
        super().__init__(what, where, why, fix)
        self.what, self.where, self.why, self.fix = what.partition(" [while running")[0], where, why, fix

    def __str__(self) -> str:
        return f"{self.what}\n  where: {self.where}\n  why:   {self.why}\n  fix:   {self.fix}"


class UsageError(PipelineError):
    """The command, the config or a named file is wrong; nothing was started (exit code 2)."""

    exit_code = 2


class DataError(PipelineError):
    """The data fell short, or a file on disk is not what it must be (exit code 1)."""


class VideoRejected(Exception):
    """One video cannot be used. It costs that video only: the reason goes to the rejects table.

    Args:
        reason: A stable, enumerated reason.
        detail: One line for a person: what was seen, and where.
        decoded_fraction: The share of its frames that are sound; None where it is not known.
    """

    def __init__(self, reason: DropReason, detail: str, decoded_fraction: float | None = None) -> None:
        super().__init__(reason, detail, decoded_fraction)
        self.reason, self.detail, self.decoded_fraction = reason, detail, decoded_fraction
