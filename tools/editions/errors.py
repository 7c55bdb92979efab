"""What can go wrong with an edition."""


class EditionError(Exception):
    """Something that a teacher can mend; the message is one sentence that says how."""
