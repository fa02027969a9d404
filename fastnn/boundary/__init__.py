"""Pictures of decision boundaries: rendered, traced as lines, and written to files."""
