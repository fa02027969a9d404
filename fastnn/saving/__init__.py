"""Files that models are kept in: the container, the values in it, and the classes that can be saved."""
