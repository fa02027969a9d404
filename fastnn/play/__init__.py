"""The playground: a page in the browser on which a network is changed while it learns."""
