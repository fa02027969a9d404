"""The command ``fastnn``: one module per subcommand, and ``main.py``, which parses and runs them."""
