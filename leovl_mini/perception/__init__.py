"""What does a frozen network see, and where? Features of frames, lifted to 3D; found segments."""
