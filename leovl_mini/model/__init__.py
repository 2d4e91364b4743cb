"""What does the language model read? Prompts, scene tokens, packing, answers, weights."""
