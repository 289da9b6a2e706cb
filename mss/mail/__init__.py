"""How a letter is read and written: octets in, values out. Nothing here waits, looks up or remembers."""
