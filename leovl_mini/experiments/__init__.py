"""What do the papers claim? Small experiments that put a claim to the test."""
