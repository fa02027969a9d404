"""Tables: networks on tables of numbers, categories, dates and text, streamed files, reports, commands."""
