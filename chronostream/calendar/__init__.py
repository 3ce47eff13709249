"""The calendar: which instants are boundaries, in which order they come, how they are numbered, and what is absent.

It is pure: it asks no clock, and it knows no ring. docs/time.md has the rules.
"""
