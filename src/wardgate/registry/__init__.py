"""Which models there are, and proof that their files are what was declared."""
