"""The library and its command line: from what departments send to `lake.duckdb`."""
