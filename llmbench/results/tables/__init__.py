"""Files of columns, as Parquet: written a part at a time, read a column at a time."""
