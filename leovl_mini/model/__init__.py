"""What does the language model read? Prompts, scene tokens, packing, answers, weights.

Explained in notebook 06 (scene to language).
"""
