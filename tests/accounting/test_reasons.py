"""Whose fault a reason is: what may pass by itself is tried again, and nothing else is."""

import pytest

from yt8m_pipeline.accounting.reasons import DropReason, Retry

MAY_PASS = {"missing_file", "io_error", "decode_timeout", "decoder_crashed", "internal_error"}


@pytest.mark.parametrize("reason", DropReason)
def test_only_what_the_place_the_machine_or_the_program_did_may_pass(reason: DropReason) -> None:
    assert reason.is_transient == (reason.value in MAY_PASS)
    tried_again = {retry for retry in Retry if retry.covers(reason)}
    assert tried_again == ({Retry.ALL, Retry.TRANSIENT} if reason.value in MAY_PASS else {Retry.ALL})
