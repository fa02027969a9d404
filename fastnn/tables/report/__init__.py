"""Report of a training on a table: one page of HTML that needs no other file."""
