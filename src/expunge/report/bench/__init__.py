"""Tables, figures and the page of a benchmark, from plain numbers: nothing is measured here."""
