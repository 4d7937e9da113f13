"""The tables of all Markdown pages."""

from rodflow.report import markdown


def test_a_table_by_hand():
    rows = [{"flow": "rod", "cells": 27, "median ratio": "1.11"}, {"flow": "edge", "cells": 3, "median ratio": "–"}]
    assert markdown.table(rows).splitlines() == [
        "| flow | cells | median ratio |",
        "|---|---|---|",
        "| rod | 27 | 1.11 |",
        "| edge | 3 | – |",
    ]
