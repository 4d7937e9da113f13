"""The stages of the pipeline: each reads files, calls the library, writes files and their provenance."""
