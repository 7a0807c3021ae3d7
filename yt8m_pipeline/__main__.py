"""`python -m yt8m_pipeline` is `yt8m`."""

from yt8m_pipeline.cli import main

main()
