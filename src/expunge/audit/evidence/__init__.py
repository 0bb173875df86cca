"""Arrays that a verdict rests on: files, checks, and tables read piece by piece."""
