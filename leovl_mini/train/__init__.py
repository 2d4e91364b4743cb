"""How does it learn? Batches, losses, the loop, the stages."""
