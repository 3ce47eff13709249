"""The calendar: which instants are boundaries, in which order events come, how they are numbered, and what is absent.

Everything here is pure: it reads no clock and knows no ring. docs/time.md has the rules.
"""
