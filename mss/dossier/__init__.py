"""What documents a letter carries: XDM archives, CDA headers, and whose dossier they belong to. Pure."""
