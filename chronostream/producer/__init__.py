"""The producer of a stream: the engine, the process that it runs in, and what that process asks of the system."""
