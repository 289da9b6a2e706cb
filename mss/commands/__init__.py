"""What the command line does, without a terminal: values in, values out. `cli` reads the words and prints."""
