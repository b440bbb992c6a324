"""Who may: access requests, deciders and credentials."""
