"""The loops over all elements of a frame, compiled: see `compiling`."""
