"""From what people have (folders, tables, published annotation files) to the tables and the config of a build."""
