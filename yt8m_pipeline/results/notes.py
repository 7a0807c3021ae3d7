"""What stands above each table of the page."""

TABLE_3 = (
    "The rows, approaches and figures of the paper are those of its Table 3 (§5.2): the validate partition of "
    "YouTube-8M with 4,800 classes. Figures of another dataset are not better or worse than these, since other classes "
    "are easier or harder. The kept epoch of each model is the best one on the same videos, which makes ours a little "
    "too good. The paper has no GAP@20, which is the metric of the starter code and its challenges."
)

TABLE_4 = (
    "The same models against the labels that people gave, which are complete (§5.2.1), beside the paper's Table 4. The "
    "paper gives no mAP, since it is not reliable for a set of 8,000 videos."
)

COMPRESSION = (
    "The same models on the network's own features, on their PCA without quantization, and on the codes of the dataset "
    "(§3.3). Models of frames read codes alone, and have no row here."
)

LOSS = (
    "What compression costs: the figure on full-size features less that on compressed ones, in percentage points, with "
    "intervals of a bootstrap that is paired over videos. An interval that holds 0 shows no loss. The paper found that "
    "training on full-size data increases all metrics by less than 1 % (§3.3)."
)

TRANSFER = (
    "What is learnt on {source}, tried on the validate videos of {target}, which is in the place of the paper's "
    "Sports-1M and ActivityNet (Table 5, §5.3 and §5.4). A row “with …” stands below the same model that learns on "
    "{target} alone. All models read codes."
)
