"""Fits to Parquet files that are larger than memory."""
