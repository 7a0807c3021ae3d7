"""Reading a vocabulary.csv whose descriptions are as long as tables may have them."""

import subprocess
import sys

CODE = """
from yt8m_pipeline.dataset.vocabulary import vocabulary_rows
text = "é\\n" * 200_000
(row,) = vocabulary_rows(f'Index,WikiDescription\\n0,"{text}"\\n'.encode())
assert row == {"Index": "0", "WikiDescription": text}
"""


def test_a_long_description_is_read_in_a_process_that_reads_nothing_else() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
