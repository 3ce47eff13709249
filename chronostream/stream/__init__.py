"""A ring of events: what a stream is configured to be, what it says of itself, and how consumers read it."""
