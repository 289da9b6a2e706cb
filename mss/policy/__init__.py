"""Policy: facts in, a typed decision with its rule's name out. It looks nothing up and logs nothing."""
