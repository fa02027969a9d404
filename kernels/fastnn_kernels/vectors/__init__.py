"""Vector code: values of whole vectors, elementary functions, matrix products, tiles of samples."""
