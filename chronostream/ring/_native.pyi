# `Writer` and `Reader` are those of chronostream.ring.core, which loads this module by its name.
NAME: str
OFFSETS: dict[str, int]
