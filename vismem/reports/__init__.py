"""What a run leaves for people to look at: tables and figures, made from its files."""
