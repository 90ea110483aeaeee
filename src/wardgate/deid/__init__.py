"""Find protected health information and replace it."""
