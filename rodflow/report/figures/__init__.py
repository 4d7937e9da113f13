"""Figures from the tables of an experiment; needs neither torch nor h5py."""
