"""Decision boundaries: rendered as pictures, traced as lines, and written to files."""
