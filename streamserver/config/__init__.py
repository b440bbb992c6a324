"""Settings: frozen values with their units, read from file, environment and flags."""
