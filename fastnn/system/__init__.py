"""Services for all other folders: threads, files, random generators, messages, checks of arguments."""
