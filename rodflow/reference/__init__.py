"""The committed run: collected from a finished one, and two of its cells run again and compared."""
