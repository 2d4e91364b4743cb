"""Is it right, and did it look? Scores, controls, intervals."""
