"""Reading datasets that others made: files, columns and rows, each checked before it is used."""
