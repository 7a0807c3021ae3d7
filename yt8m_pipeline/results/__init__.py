"""The results page of a dataset: the tables of the paper's section 5 with one's own numbers beside the paper's."""
