"""What a unit of flow time costs, and what it buys: ``python -m benchmarks --help``; results in docs/performance.md."""
