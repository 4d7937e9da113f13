"""The description of a run: its sections, the cells that it holds, how it is read. Loads no torch."""

from rodflow.config.run import CELL_COLUMNS, Cell, Config, json_schema, load, parse, read

__all__ = ["CELL_COLUMNS", "Cell", "Config", "json_schema", "load", "parse", "read"]
