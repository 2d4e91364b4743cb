"""What is asked about a scene? Examples, benchmarks, bundled samples; and how files are written."""
