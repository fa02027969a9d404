"""What the rest of the package asks of the system and of its callers: threads, files, checks, messages."""
