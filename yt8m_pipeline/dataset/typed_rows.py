"""Rows of a Parquet file of a dataset, as the types that the format gives them: strangers may have written others."""

import pyarrow as pa


def typed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    r"""Rows whose columns have the types of a schema, and whose texts are UTF-8. Columns that it lacks keep theirs.

    >>> typed(pa.table({"frames": ["12"], "own": [1.5]}), pa.schema([("frames", pa.int64())])).to_pylist()
    [{'frames': 12, 'own': 1.5}]

    Raises:
        pa.ArrowException: a value cannot be of the type of its column: 1.5 is no integer, and b"\xff" no text.
    """
    own = [schema.field(name) if name in schema.names else rows.schema.field(name) for name in rows.column_names]
    found = rows.cast(pa.schema(own))
    found.validate(full=True)
    return found
