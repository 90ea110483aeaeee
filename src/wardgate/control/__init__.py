"""What all processes of a gateway agree on, and how far each of them has followed."""
