"""The explorer of a finished dataset (paper §3, Figure 1): a static site that needs no server and asks nobody.

`exploring.explore` writes it. The page itself is three files in `site/`; everything that is shown stands in chunks of
data, which are scripts, since a page opened from `file://` may load scripts and nothing else.
"""
