"""Where units of work run: here, or on a Ray cluster."""
