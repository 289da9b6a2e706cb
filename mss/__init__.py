"""mss: a complete MSSanté operator in one program."""

__version__ = "0.1.0"
