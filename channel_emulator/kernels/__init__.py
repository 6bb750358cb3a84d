"""What is compiled, see `compiling`: loops over a frame's elements, and what is measured of it."""
