"""Tables: networks on tables of numbers, categories, dates and text, Parquet files, reports, commands."""
