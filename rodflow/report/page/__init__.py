"""The page of a run: all its claims, cells and figures in one HTML file that works wherever its folder goes."""
